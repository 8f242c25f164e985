"""All that a run needs to go on as if it had never stopped, in one file that is there whole or not at all."""

import errno
import glob
import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from photoglue.errors import ConfigError, OutputError
from photoglue.matchers.lightglue import LightGlueShape
from photoglue.matchers.lightglue.config import options_from_json
from photoglue.training.config import TrainingConfig, differences
from photoglue.weights import load_state

FORMAT = "photoglue-training"
VERSION = 1
LAST = "last.pt"
"""Where a run goes on."""
BEST = "best.pt"
"""The best so far by validation."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a run has come."""

    step: int = 0
    """Steps of the optimiser, those that were skipped included."""
    pairs: int = 0
    """Pairs that it has seen; the next one has this number, from which the source's epoch and index follow."""
    elapsed_s: float = 0.0
    """Seconds that it has run, interruptions not counted."""
    skipped: int = 0
    """Steps that were skipped because something was not finite."""
    skipped_in_a_row: int = 0
    """How many of them just now."""
    best_score: float | None = None
    """The highest score of a validation so far."""
    best_pairs: int = 0
    """When that was, in pairs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A run at a moment."""

    config: TrainingConfig
    network: LightGlueShape
    """Shape of the network, and the features that it is for."""
    position: Position
    model: dict[str, Tensor]
    """The network's state dict."""
    averaged: dict[str, Tensor] | None
    """The running average of it, if there is one: the weights to use."""
    optimizer: dict[str, Any]
    """AdamW's state dict."""
    scaler: dict[str, Any] | None
    """The gradient scaler's state dict; only with float16."""
    random: dict[str, Tensor]
    """States of torch's random generators, by device type."""


def random_states() -> dict[str, Tensor]:
    """Of torch's generators in this process."""
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def restore_random_states(states: dict[str, Tensor]) -> None:
    """What ``random_states`` gave."""
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available() and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write it under a temporary name, make sure that it is on the disk, and move it into place.

    Raises:
        OutputError: If it cannot be written; what was there before is still there.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "config": checkpoint.config.to_json(),
        "network": json.dumps(asdict(checkpoint.network)),
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
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path, config: TrainingConfig | None = None) -> Checkpoint:
    """Read it; no code in it is run.

    Args:
        path: Of the file.
        config: That of the run that wants to go on; None: whatever it is.

    Raises:
        WeightsError: If the file cannot be read.
        ConfigError: If it is no checkpoint of a training run, or of one with another config; the message says in what.
    """
    content: dict[str, Any] = load_state(path)
    if content.get("format") != FORMAT:
        raise ConfigError(
            f"{str(path)!r} is no checkpoint of a training run; `photoglue train resume` needs its folder."
        )
    if content["version"] != VERSION:
        raise ConfigError(
            f"{str(path)!r} has format version {content['version']}; this PhotoGlue reads {VERSION}. "
            "Go on with the version that began the run."
        )
    stored = TrainingConfig.from_json(content["config"])
    different = [] if config is None else differences(stored, config)
    if different:
        raise ConfigError(
            f"{str(path)!r} is of a run with another config ({'; '.join(different)}). Go on with the config that it "
            "has, or begin a new run in another folder."
        )
    return Checkpoint(
        config=stored,
        network=options_from_json(content["network"], repr(str(path)))[0],
        position=Position(**content["position"]),
        model=content["trained"] or content["model"],
        averaged=content["model"] if content["trained"] else None,
        optimizer=content["optimizer"],
        scaler=content["scaler"],
        random=content["random"],
    )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears when it is whole and on the disk.

    Raises:
        OutputError: If it cannot be written; the message says how to go on.
    """
    for left_over in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):  # by a process that was killed
        left_over.unlink(missing_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except KeyboardInterrupt:
        temporary.unlink(missing_ok=True)
        raise
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = "the disk is full" if error.errno == errno.ENOSPC else str(error.strerror or error)
        kept = " The one before it is whole." if path.exists() else ""
        raise OutputError(
            f"{str(path)!r} cannot be written: {reason}.{kept} When that is mended, {how_to_go_on(path.parent)}"
        ) from error


def how_to_go_on(folder: Path) -> str:
    """The end of a sentence for people: what to type for a run that had to stop."""
    if (folder / LAST).is_file():
        return f"go on with: photoglue train resume {folder}"
    return "give the same command again: there is no checkpoint yet, but what was extracted is used again."
