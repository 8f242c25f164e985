"""A whole run, from a recipe to weights with their card. Read `_run`: it is the main line."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from photoglue.errors import ConfigError
from photoglue.files import as_json, from_json
from photoglue.matchers.lightglue import LightGlue
from photoglue.precision import choose_device
from photoglue.training.checkpoint import LAST, load_checkpoint
from photoglue.training.distributed import Processes, is_first, own_device
from photoglue.training.folder import RECIPE, RunRecord, prepare_folder, read_record, write_record
from photoglue.training.loop import Trainer
from photoglue.training.losses import LossConfig
from photoglue.training.model_card import RunFacts, write_results
from photoglue.training.objective import Objective
from photoglue.training.progress import Hooks, Outcome, Score
from photoglue.training.recipes import RECIPES
from photoglue.training.recipes.base import Recipe, RunData, command_line, with_absolute_paths
from photoglue.training.validation import Validation
from photoglue.training.warm_start import warm_start


def train(recipe: Recipe, *, out: str | os.PathLike[str], hooks: Hooks | None = None) -> Outcome:
    """Train by a recipe, from the beginning to weights with their card.

    Ctrl-C finishes the step or validation, saves, and returns an outcome that is not finished; ``resume`` goes on.

    Args:
        recipe: What to train on, and how.
        out: Folder of the run: caches, checkpoints, metrics, and in the end the weights. It holds no run yet.
        hooks: Functions that are called as the run goes on.

    Raises:
        ConfigError: If the recipe cannot work, or the folder holds a run already.
        WeightsError: If the weights to begin with cannot be had.
        OutputError: If something cannot be written; the message says how to go on.
        PhotoGlueError: If the loss is not finite several times in a row.
    """
    folder = Path(out)
    recipe.check()
    prepare_folder(folder)
    return _run(recipe, folder, hooks or Hooks(), None)


def resume(folder: str | os.PathLike[str], *, workers: int | None = None, hooks: Hooks | None = None) -> Outcome:
    """Go on with a run from its last checkpoint, exactly as if it had not been interrupted.

    Args:
        folder: Folder of the run; it may have been moved since.
        workers: Processes that read pairs ahead; None: as before.
        hooks: Functions that are called as the run goes on.

    Raises:
        ConfigError: If there is no run in the folder, or one that cannot be resumed.
        OutputError: If something cannot be written; the message says how to go on.
        PhotoGlueError: If the loss is not finite several times in a row.
    """
    folder = Path(folder)
    record = read_record(folder)
    if record.name not in RECIPES:
        raise ConfigError(
            f"The run in {str(folder)!r} is by the recipe {record.name!r}, which is unknown here; known are "
            f"{', '.join(RECIPES)}."
        )
    recipe = from_json(RECIPES[record.name], record.recipe, origin=repr(str(folder / RECIPE)))
    if workers is not None:
        recipe = replace(recipe, config=replace(recipe.config, workers=workers))
    return _run(recipe, folder, hooks or Hooks(), record)


def _run(recipe: Recipe, folder: Path, hooks: Hooks, record: RunRecord | None) -> Outcome:
    """The main line of a run; without a record it is a new one."""
    resuming = record is not None
    if not is_first():  # of several processes: the first one talks
        hooks = Hooks()
    device = own_device(choose_device(recipe.device))
    data = recipe.data(folder, device, hooks)
    torch.manual_seed(recipe.config.seed)
    # A run that goes on needs nothing of what it began with, which may have been moved since.
    shape = load_checkpoint(folder / LAST).network if resuming else recipe.network(data.example)
    model = LightGlue(shape=shape)
    if record is None:
        started = "random weights" if recipe.init is None else str(warm_start(model, recipe.init))
        stored = as_json(with_absolute_paths(recipe))
        record = RunRecord(name=recipe.name, recipe=stored, started_from=started)
    hooks.on_message(f"{'began' if resuming else 'begins'} with {record.started_from}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not recipe.heads_only or name.startswith("token_confidence."))
    objective = Objective(
        LossConfig(matcher=not recipe.heads_only), recipe.labels, turn=recipe.turned, seed=recipe.config.seed
    )
    processes = Processes.join(device)
    if hooks.validate is None and data.validation and is_first():
        hooks = replace(hooks, validate=_validator(data, recipe))
    trainer = Trainer(model, data.source, objective, recipe.config, folder, processes=processes, hooks=hooks)
    if resuming:
        trainer.resume()
        hooks.on_message(f"goes on after {trainer.position.pairs:,} pairs")
    elif is_first():
        write_record(folder, record)
    try:
        outcome = trainer.run()
    finally:
        processes.leave()
    if not outcome.finished or not is_first():
        return outcome
    return replace(outcome, files=tuple(write_results(folder, _facts(recipe, data, record))))


def _validator(data: RunData, recipe: Recipe) -> Callable[[LightGlue], Score]:
    """Measures how good weights are on the held-out pairs."""
    validation = Validation(data.validation, rules=recipe.labels)

    def score(model: LightGlue) -> Score:
        result = validation(model)
        if recipe.heads_only and result.confidence_loss is not None:  # matches at full depth do not change then
            return replace(result.score(), score=-result.confidence_loss)
        return result.score()

    return score


def _facts(recipe: Recipe, data: RunData, record: RunRecord) -> RunFacts:
    return RunFacts(
        command=command_line(recipe),
        features=data.example.kind or "unnamed features",
        data=data.facts,
        data_licence=recipe.data_licence,
        started_from=record.started_from,
    )
