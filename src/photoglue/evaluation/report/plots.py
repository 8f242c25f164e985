"""Cumulative error curves as SVG: small, sharp at any size, in the colours of the reader's light or dark theme.

Written by hand rather than by matplotlib, whose SVG cannot follow the theme of the page that it stands in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float64

from photoglue.evaluation.benchmarks.metric import Metric
from photoglue.evaluation.report.groups import Group
from photoglue.metrics import recall_curve

SERIES: tuple[tuple[str, str, str], ...] = (
    ("#0b6fb8", "#5db1ee", ""),
    ("#c94f00", "#ff8f52", "7 3"),
    ("#00805a", "#3fcf9f", "2 2.5"),
    ("#a4508b", "#e48fc8", "9 3 2 3"),
    ("#8a6500", "#e6b93c", "4 2"),
    ("#2487b0", "#9bdcff", "12 4"),
    ("#59636e", "#b4bdc9", "1 3"),
    ("#8c2d3f", "#f08a9b", "9 3 2 3 2 3"),
)
"""(colour on white, colour on black, dashes) of each method: told apart by the colour-blind, and without colour. After
the last they start again."""

STYLE = """
.chart text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:var(--muted)}
.chart .grid{stroke:var(--line);stroke-width:1}
.chart .axis{stroke:var(--muted);stroke-width:1}
.chart .curve{fill:none;stroke-width:2.2;stroke-linejoin:round}
""".strip()
"""Style sheet of a chart; the page that it stands in, or its own file, defines the colours (``palette``)."""

LEFT, TOP, WIDTH, HEIGHT = 44.0, 12.0, 420.0, 250.0
"""Place and size of the area that curves are drawn in, in units of the drawing: CSS pixels at its natural size."""
RIGHT, BOTTOM, LINE = 16.0, 44.0, 20.0
"""Room at the right, for the numbers of the axis, and for a line of the legend."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The pairs of one method, by their errors."""

    label: str
    """Name of the method."""
    series: int
    """Which of ``SERIES``."""
    errors: Float64[np.ndarray, " n"]
    """Errors of all pairs, in the unit of the chart; infinite for failures."""

    def points(self, limit: float) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
        """(errors, shares of pairs) up to ``limit``, whose area divided by ``limit`` is the AUC at that limit."""
        x, y = recall_curve(self.errors)
        inside = x < limit
        return np.append(x[inside], limit), np.append(y[inside], y[inside][-1])


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The curves of all methods on one data set."""

    title: str
    """What is measured, for readers of the screen."""
    axis: str
    """What stands below the horizontal axis: the error and its unit."""
    limit: float
    """Where the horizontal axis ends."""
    curves: tuple[Curve, ...]
    """The curves, in the order of the table."""


def chart_of(group: Group, error: Metric) -> Chart:
    """The curves of one error of all methods on a data set."""
    curves = tuple(
        Curve(
            label=label,
            series=series,
            errors=np.array([record.error(error.name) for record in result.records], dtype=np.float64),
        )
        for label, series, result in zip(group.labels, group.series, group.results, strict=True)
    )
    return Chart(
        title=f"Share of pairs below each {error.words}: {group.dataset}",
        axis=f"{error.words} [{error.symbol}]",
        limit=float(max(group.benchmark.limits)),
        curves=curves,
    )


def chart_svg(chart: Chart, *, standalone: bool) -> str:
    """The chart as SVG.

    Args:
        chart: What to draw.
        standalone: For a file of its own: with legend, colours and background. Else for a page that has these.
    """
    height = TOP + HEIGHT + BOTTOM + (LINE * len(chart.curves) if standalone else 0)
    width = LEFT + WIDTH + RIGHT
    size = f' width="{width:g}" height="{height:g}"' if standalone else ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {width:g} {height:g}"{size} role="img">',
        f"<title>{escape(chart.title)}</title>",
    ]
    if standalone:
        parts += [f"<style>{palette('svg')}\n{STYLE}</style>", '<rect width="100%" height="100%" fill="var(--paper)"/>']
    parts += _axes(chart)
    # The first method is drawn last, over the others.
    parts += [_curve(curve, chart.limit) for curve in reversed(chart.curves)]
    if standalone:
        for i, curve in enumerate(chart.curves):
            y = TOP + HEIGHT + BOTTOM + LINE * i + 4
            parts.append(f'<path class="curve" d="M{LEFT:g} {y:g}h28" {stroke(curve.series)}/>')
            parts.append(f'<text x="{LEFT + 36:g}" y="{y + 4:g}">{escape(_shortened(curve.label))}</text>')
    return "\n".join([*parts, "</svg>"])


def palette(root: str) -> str:
    """CSS that defines the colours under the element ``root``, for both themes."""
    light = "".join(f"--s{i}:{colours[0]};" for i, colours in enumerate(SERIES))
    dark = "".join(f"--s{i}:{colours[1]};" for i, colours in enumerate(SERIES))
    return (
        f"{root}{{color-scheme:light dark;--paper:#ffffff;--muted:#5a6472;--line:#e3e6ea;{light}}}\n"
        f"@media (prefers-color-scheme:dark){{{root}{{--paper:#14171c;--muted:#a3acb8;--line:#2c323b;{dark}}}}}"
    )


def stroke(series: int) -> str:
    """The attributes of the line of a method."""
    dashes = SERIES[series % len(SERIES)][2]
    return f'stroke="var(--s{series % len(SERIES)})"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _axes(chart: Chart) -> list[str]:
    """Grid, numbers and names of both axes."""
    parts = []
    for tick in np.linspace(0, 1, 6):
        y = TOP + HEIGHT * (1 - tick)
        parts.append(f'<path class="grid" d="M{LEFT:g} {y:g}h{WIDTH:g}"/>')
        parts.append(f'<text x="{LEFT - 8:g}" y="{y + 4:g}" text-anchor="end">{100 * tick:.0f}</text>')
    bottom = TOP + HEIGHT
    for tick in _ticks(chart.limit):
        x = LEFT + WIDTH * tick / chart.limit
        parts.append(f'<path class="axis" d="M{x:.2f} {bottom:g}v5"/>')
        parts.append(f'<text x="{x:.2f}" y="{bottom + 19:g}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<path class="axis" d="M{LEFT:g} {bottom:g}h{WIDTH:g}"/>')
    middle = LEFT + WIDTH / 2
    parts.append(f'<text x="{middle:g}" y="{bottom + 37:g}" text-anchor="middle">{escape(chart.axis)}</text>')
    y = TOP + HEIGHT / 2
    parts.append(f'<text transform="translate(12 {y:g}) rotate(-90)" text-anchor="middle">pairs [%]</text>')
    return parts


def _ticks(limit: float) -> Sequence[float]:
    """Round numbers from 0 to the end of the axis, three to six of them."""
    power = 10.0 ** np.floor(np.log10(limit))
    step = next(power * factor for factor in (0.2, 0.5, 1.0, 2.0) if limit / (power * factor) <= 5)
    return [float(tick) for tick in np.arange(0, limit * (1 + 1e-9), step)]


def _curve(curve: Curve, limit: float) -> str:
    x, y = curve.points(limit)
    columns = LEFT + WIDTH * x / limit, TOP + HEIGHT * (1 - y)
    points = " ".join(f"{px:.2f},{py:.2f}" for px, py in zip(*columns, strict=True))
    name = escape(curve.label)
    return f'<polyline class="curve" points="{points}" {stroke(curve.series)}><title>{name}</title></polyline>'


def _shortened(label: str) -> str:
    return label if len(label) <= 56 else label[:55] + "…"
