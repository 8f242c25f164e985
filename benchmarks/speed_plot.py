"""The picture of `speed.py`: how many times faster than the official code, by number of keypoints."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

COLOURS = {
    "kornia": "#c3c9d1",
    "transformers": "#98a2ae",
    "ours float32": "#5fa8d3",
    "ours bfloat16": "#1b4f8a",
    "ours int16": "#0b2545",
}
LABELS = {f"ours {name}": f"PhotoGlue, {name}" for name in ("float32", "bfloat16", "int16")}
TITLES = {"full": "All 9 layers, all points", "adaptive": "Early exit and pruning (default)"}
INK, FAINT = "#22272e", "#8b949e"


def plot(results: dict[str, Any], path: Path) -> None:
    """Bars with quartiles, one panel a mode; at most 1200 pixels wide."""
    rows = [row for row in results["match"] if row["name"] != "official" and row["speedup"] is not None]
    modes = [mode for mode in TITLES if any(row["mode"] == mode for row in rows)]
    names = [name for name in COLOURS if any(row["name"] == name for row in rows)]
    figure = Figure(figsize=(11.8, 4.6), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(modes), sharey=True, squeeze=False)[0]
    for axes, mode in zip(panels, modes, strict=True):
        _panel(axes, [row for row in rows if row["mode"] == mode], names)
        axes.set_title(TITLES[mode], loc="left", fontsize=11, color=INK, pad=10)
    panels[0].set_ylabel("times as fast as the official code", color=INK)
    machine = results["machine"]
    threads = machine["threads"]
    flags = [flag for flag in machine["cpu_flags"] if flag in ("avx512_bf16", "amx_bf16")]
    told = ", ".join(
        [machine["cpu"], f"{threads} thread{'s' * (threads > 1)}", *flags, f"torch {machine['versions']['torch']}"]
    )
    figure.suptitle("LightGlue with the released ALIKED weights", x=0.055, y=0.975, ha="left", fontsize=14, color=INK,
                    weight="bold")  # fmt: skip
    figure.text(0.055, 0.875, f"{told}; medians and quartiles of {results['rounds']} rounds in turns", fontsize=9.5,
                color=FAINT)  # fmt: skip
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", bbox_to_anchor=(0.99, 0.985), ncols=len(names), frameon=False,
                  fontsize=9.5, columnspacing=1.4, handlelength=1.1)  # fmt: skip
    figure.subplots_adjust(left=0.055, right=0.985, top=0.77, bottom=0.12, wspace=0.05)
    figure.savefig(path)


def _panel(axes: Axes, rows: list[dict[str, Any]], names: list[str]) -> None:
    counts = sorted({row["points"] for row in rows})
    width = 0.82 / len(names)
    for i, name in enumerate(names):
        drawn = [row for row in rows if row["name"] == name]
        places = [counts.index(row["points"]) + (i - (len(names) - 1) / 2) * width for row in drawn]
        ratios = [row["speedup"] for row in drawn]
        heights = [ratio["median"] for ratio in ratios]
        spread = [
            [max(0.0, r["median"] - r["low"]) for r in ratios],
            [max(0.0, r["high"] - r["median"]) for r in ratios],
        ]
        bars = axes.bar(places, heights, width * 0.92, color=COLOURS[name], label=LABELS.get(name, name), zorder=3)
        axes.errorbar(places, heights, spread, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2, alpha=0.7, zorder=4)
        for bar, ratio in zip(bars, ratios, strict=True):
            axes.annotate(f"{ratio['median']:.1f}", (bar.get_x() + bar.get_width() / 2, ratio["high"]), (0, 3),
                          textcoords="offset points", ha="center", va="bottom", fontsize=9, color=INK, zorder=6,
                          path_effects=[withStroke(linewidth=3, foreground="white")])  # fmt: skip
    axes.axhline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=5)
    axes.annotate("official", (1, 1), (-2, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
                  ha="right", fontsize=8.5, color=INK)  # fmt: skip
    axes.set_xticks(range(len(counts)), [f"{count}" for count in counts])
    axes.set_xlabel("keypoints in each image", color=INK)
    axes.set_xlim(-0.55, len(counts) - 0.28)
    axes.margins(y=0.12)
    axes.grid(axis="y", color="#e3e6ea", zorder=0)
    axes.tick_params(length=0, colors=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
