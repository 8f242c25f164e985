"""What a run leaves behind: weights to use, and a page that says where they come from and what they can do."""

import io
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from photoglue.errors import MissingExtra, require
from photoglue.matchers.lightglue import LightGlue
from photoglue.training.checkpoint import BEST, LAST, Checkpoint, load_checkpoint, write_in_run
from photoglue.training.log import read_metrics
from photoglue.training.progress import BASELINE
from photoglue.version import __version__

CARD = "model_card.md"
CURVES = "curves.png"
WEIGHTS = "model.safetensors"
HALF_WEIGHTS = "model-fp16.safetensors"


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Facts for the card that only those know who started the run."""

    command: str
    """Command that trains by the same recipe."""
    features: str
    """Kind of features that the model was trained for, such as "sift-opencv"."""
    data: tuple[str, ...]
    """Photos, views, points and scenes that it has seen, a sentence each."""
    data_licence: str
    """Terms that the photos are under."""
    started_from: str
    """Weights that the run began with."""


def write_results(folder: Path, facts: RunFacts) -> list[Path]:
    """Write the weights of a finished run, in full and half precision, and its card.

    The weights are the best by validation; without validation, the last.

    Args:
        folder: Folder of the run.
        facts: What the card says beside the config and the validations.

    Returns:
        The files written.

    Raises:
        OutputError: If one cannot be written.
        WeightsError: If the run has no checkpoint.
    """
    chosen = folder / (BEST if (folder / BEST).is_file() else LAST)
    checkpoint = load_checkpoint(chosen)
    model = LightGlue(shape=checkpoint.network)
    model.load_state_dict(checkpoint.averaged or checkpoint.model)
    files = [folder / WEIGHTS, folder / HALF_WEIGHTS]
    model.save(files[0])
    model.half().save(files[1])
    lines = read_metrics(folder)
    if _draw_curves(lines, folder / CURVES):
        files.append(folder / CURVES)
    text = _card(folder, facts, checkpoint, lines, curves=folder / CURVES in files)
    write_in_run(folder / CARD, text.encode())
    return [*files, folder / CARD]


def _card(
    folder: Path, facts: RunFacts, checkpoint: Checkpoint, lines: Sequence[Mapping[str, Any]], *, curves: bool
) -> str:
    sections = {
        "": _summary(folder, facts, checkpoint),
        "## Data": [*(f"- {sentence}" for sentence in facts.data), f"- Terms of the photos: {facts.data_licence}"],
        "## Began with": [f"{facts.started_from}."],
        "## Licence": [
            "Not decided by this program: it follows from the terms of the photos and of the weights that it began "
            "with, both named above. The released LightGlue weights are under Apache-2.0."
        ],
        "## Validation": [
            *_validation_table(lines, checkpoint.position.pairs),
            *(["", f"![Curves]({CURVES})"] if curves else []),
        ],
        "## Recipe": _table(
            ["option", "value"],
            [[name, str(value)] for name, value in asdict(checkpoint.config).items() if value is not None],
        ),
        "## Made with": [
            f"PhotoGlue {__version__}, torch {torch.__version__}, Python {platform.python_version()}, "
            f"{platform.system()} {platform.machine()}."
        ],
    }
    parts = ["\n".join([title, "", *content] if title else content) for title, content in sections.items()]
    return "\n\n".join([f"# LightGlue for {facts.features}", *parts]) + "\n"


def _summary(folder: Path, facts: RunFacts, checkpoint: Checkpoint) -> list[str]:
    last = load_checkpoint(folder / LAST).position
    which = "with the best validation" if (folder / BEST).is_file() else "at the end; no validation gave a score"
    return [
        f"Trained with `{facts.command}` by PhotoGlue {__version__}. The weights are those {which}, after "
        f"{checkpoint.position.pairs:,} of {last.pairs:,} pairs ({last.elapsed_s / 3600:.2f} hours, {last.skipped} "
        "steps skipped).",
        "",
        "```python",
        f'matcher = photoglue.LightGlue.from_checkpoint("{WEIGHTS}")',
        "```",
    ]


def _validation_table(lines: Sequence[Mapping[str, Any]], chosen_pairs: int) -> list[str]:
    """A row for each number: the baseline, before training, the weights that are here, the end of the run."""
    rows = [line for line in lines if line["kind"] == "validation"]
    if not rows:
        return ["None was made."]
    chosen = next((row for row in rows if row["pairs"] == chosen_pairs), rows[-1])
    names = [name for name in chosen if name not in ("kind", "pairs") and not name.startswith(BASELINE)]
    head = ["", "baseline", *(f"{row['pairs']:,} pairs" for row in (rows[0], chosen, rows[-1]))]
    cells = [
        [name.replace("_", " "), *("" if x is None else f"{x:.4g}" for x in (chosen.get(BASELINE + name), *columns))]
        for name, *columns in ((name, rows[0].get(name), chosen.get(name), rows[-1].get(name)) for name in names)
    ]
    return [
        *_table(head, cells),
        "",
        "Of the pairs that were kept out. The baseline is mutual nearest neighbours; the middle column is of the "
        "weights here.",
    ]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows]]


def _draw_curves(lines: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Draw loss and score over pairs, if matplotlib is installed; says whether it did."""
    try:
        figure_module = require("matplotlib.figure", extra="viz")
    except MissingExtra:
        return False
    train = [line for line in lines if line["kind"] == "train"]
    checks = [line for line in lines if line["kind"] == "validation"]
    figure = figure_module.Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([line["pairs"] for line in train], [line["last_layer"] for line in train], linewidth=1)
    left.set(xlabel="pairs", ylabel="loss of the last layer, nats", ylim=(0, None))
    right.plot([line["pairs"] for line in checks], [line["score"] for line in checks], marker=".", linewidth=1)
    right.set(xlabel="pairs", ylabel="score of the validation")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    write_in_run(path, buffer.getvalue())
    return True
