"""All that a run needs to go on as if it had never stopped, in one file that is there whole or not at all."""

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from photoglue.errors import ConfigError
from photoglue.files import from_json, to_json, write_whole
from photoglue.matchers.lightglue import LightGlueShape
from photoglue.training.config import TrainingConfig, differences
from photoglue.weights import load_state

FORMAT = "photoglue-training"
VERSION = 2
LAST = "last.pt"
"""File of the state from which a run goes on."""
BEST = "best.pt"
"""File of the best state so far by validation."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """Progress of a run."""

    step: int = 0
    """Steps of the optimiser so far, those that were skipped included."""
    pairs: int = 0
    """Pairs seen so far; the next one has this number, from which the source's epoch and index follow."""
    elapsed_s: float = 0.0
    """Seconds that the run has taken, interruptions not counted."""
    skipped: int = 0
    """Steps that were skipped because something was not finite."""
    skipped_in_a_row: int = 0
    """Steps that were skipped one after the other just now."""
    best_score: float | None = None
    """The highest score of a validation so far."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """State of a run at a moment."""

    config: TrainingConfig
    network: LightGlueShape
    """Shape of the network, and the features that it is for."""
    position: Position
    model: dict[str, Tensor]
    """The network's state dict."""
    averaged: dict[str, Tensor] | None
    """State dict of the running average, if there is one: the weights to use."""
    optimizer: dict[str, Any]
    """AdamW's state dict."""
    scaler: dict[str, Any] | None
    """The gradient scaler's state dict; only with float16."""
    random: dict[str, Tensor]
    """States of torch's random generators, by device type."""


def random_states() -> dict[str, Tensor]:
    """States of torch's generators in this process, by device type."""
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def restore_random_states(states: dict[str, Tensor]) -> None:
    """Set torch's generators to what ``random_states`` gave."""
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available() and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint, so that its file is whole or as it was before.

    Raises:
        OutputError: If it cannot be written; what was there before is still there.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "config": to_json(checkpoint.config),
        "network": to_json(checkpoint.network),
        "position": asdict(checkpoint.position),
        # Under these names, LightGlue.from_checkpoint() reads the weights to use.
        "model": checkpoint.averaged or checkpoint.model,
        "trained": checkpoint.model if checkpoint.averaged else None,
        "optimizer": checkpoint.optimizer,
        "scaler": checkpoint.scaler,
        "random": checkpoint.random,
    }
    # Through memory (about 150 MB), so that a full disk is an OSError that says so; torch's own writer hides it.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_in_run(path, buffer.getvalue())


def load_checkpoint(path: Path, config: TrainingConfig | None = None) -> Checkpoint:
    """Read a checkpoint; no code in it is run.

    Args:
        path: The file.
        config: Config of the run that wants to go on, which must be that of the checkpoint; None: any.

    Raises:
        WeightsError: If the file cannot be read.
        ConfigError: If it is no checkpoint of a training run, or of one with another config; the message says in what.
    """
    content: dict[str, Any] = load_state(path)
    if content.get("format") != FORMAT:
        raise ConfigError(
            f"{str(path)!r} is no checkpoint of a training run; `photoglue train resume` needs its folder."
        )
    if content.get("version") != VERSION:
        raise ConfigError(
            f"{str(path)!r} has format version {content.get('version')}; this PhotoGlue reads {VERSION}. "
            "Go on with the version that began the run."
        )
    try:
        found = _checkpoint_of(content, repr(str(path)))
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{str(path)!r} is not complete or damaged ({type(error).__name__}: {error}).") from error
    different = [] if config is None else differences(found.config, config)
    if different:
        raise ConfigError(
            f"{str(path)!r} is of a run with another config ({'; '.join(different)}). Go on with the config that it "
            "has, or begin a new run in another folder."
        )
    return found


def _checkpoint_of(content: dict[str, Any], origin: str) -> Checkpoint:
    parts = {name: content[name] for name in ("model", "optimizer", "random")}
    for name, part in {**parts, "trained": content["trained"], "scaler": content["scaler"]}.items():
        if not isinstance(part, dict) and not (part is None and name not in parts):
            raise TypeError(f"{name} is {type(part).__name__}")
    return Checkpoint(
        config=from_json(TrainingConfig, content["config"], origin=origin),
        network=from_json(LightGlueShape, content["network"], origin=origin),
        position=from_json(Position, content["position"], origin=origin),
        model=content["trained"] or content["model"],
        averaged=content["model"] if content["trained"] else None,
        optimizer=content["optimizer"],
        scaler=content["scaler"],
        random=content["random"],
    )


def write_in_run(path: Path, content: bytes) -> None:
    """Write a file of a run, which appears when it is whole and on the disk.

    Raises:
        OutputError: If it cannot be written; the message says how to go on.
    """
    kept = "The one before it is whole. " if path.exists() else ""
    write_whole(path, content, advice=f"{kept}When that is mended, {how_to_go_on(path.parent)}")


def how_to_go_on(folder: Path) -> str:
    """End of a sentence for people that says what to type for a run that had to stop."""
    if (folder / LAST).is_file():
        return f"go on with: photoglue train resume {folder}"
    return "give the same command again: there is no checkpoint yet, but what was extracted is used again."
