"""What all training commands share: the options of the loop, and the main line of a run."""

import os
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import torch
from rich.console import Console

from photoglue.cli.train.progress import TrainingLine, duration
from photoglue.errors import ConfigError
from photoglue.matchers.lightglue import LightGlue, LightGlueShape
from photoglue.precision import Precision, choose_device
from photoglue.structs import Features
from photoglue.training.checkpoint import LAST, load_checkpoint
from photoglue.training.config import TrainingConfig
from photoglue.training.distributed import Processes, own_device
from photoglue.training.folder import Command, prepare_folder, read_command, write_command
from photoglue.training.loop import Trainer
from photoglue.training.losses import LossConfig
from photoglue.training.model_card import RunFacts, write_results
from photoglue.training.objective import Objective
from photoglue.training.pairs.base import PairSource, TrainingPair
from photoglue.training.progress import Hooks, Outcome, Score
from photoglue.training.recipes.presets import PRESETS
from photoglue.training.validation import PoseExample, Validation
from photoglue.training.warm_start import shape_of, warm_start

PresetName = Literal["official-homography", "official-megadepth", "warm-start", "warm-start-posed", "confidence"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RunData:
    """What a run learns from."""

    source: PairSource
    validation: tuple[TrainingPair, ...]
    """The same pairs each time; may be empty. None of their photos is in ``source``, unless there is only one scene."""
    posed: tuple[PoseExample, ...] = ()
    """Real photos with known poses, to measure the accuracy of poses with."""
    example: Features
    """Of any image: their kind, their width, whether they have scales."""
    facts: tuple[str, ...]
    """For the card: how many photos, views, points."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(ABC):
    """Options of every run; None: what the preset says."""

    command: ClassVar[str]

    out: Path = Path("run")
    """Folder of the run: checkpoints, metrics, and in the end the weights with their card."""
    preset: PresetName = "warm-start"
    """Recipe to begin with; the options below change single parts of it."""
    init: str | None = None
    """Begin with the weights of a released model (aliked, disk, …), a weight file, or another run's folder."""
    hours: float | None = None
    """Length of the run; the learning rate comes to its end with it."""
    pairs: int | None = None
    """Length of the run in pairs, instead of hours."""
    keypoints: int | None = None
    """Of each image, at most."""
    batch_size: int | None = None
    """Pairs in a step, all processes together."""
    accumulate: int | None = None
    """Work through each batch in so many parts, to save memory."""
    lr: float | None = None
    """Learning rate, at its highest."""
    warmup_steps: int | None = None
    """Steps until it is that high; at most a tenth of the run."""
    schedule: Literal["constant", "exponential", "cosine"] | None = None
    """How it falls afterwards."""
    weight_decay: float | None = None
    """Of AdamW."""
    clip_norm: float | None = None
    """Longer gradients are shortened to this."""
    ema: float | None = None
    """Average the weights with this decay, such as 0.999, and use the average."""
    precision: Precision | None = None
    """What to compute in; auto: bfloat16 where the hardware has it natively."""
    checkpointed: bool = False
    """Save memory by computing each layer twice."""
    seed: int | None = None
    """Of new weights, and of the choice and order of the pairs."""
    workers: int | None = None
    """Processes that read pairs ahead; None: what the preset says, on a GPU up to 8."""
    validate_every: int | None = None
    """Pairs between validations."""
    save_every: int | None = None
    """Pairs between checkpoints."""
    model: Literal["full", "edge"] = "full"
    """The network: 9 layers of width 256, or 5 of width 128 for small devices."""
    scale_orientation: Literal["auto", "yes", "no"] = "auto"
    """Let the network see the scale and orientation of each point; auto: if the features have them."""
    device: str | None = None
    """Where to compute, such as cpu or cuda; None: on a GPU if there is one."""
    data_licence: str = "not stated"
    """Under which terms the photos are, for the card."""

    @abstractmethod
    def data(self, console: Console, device: torch.device) -> RunData:
        """Prepare what the run learns from, and say so."""

    def check(self) -> None:
        """Refuse what cannot work before anything is built.

        Raises:
            ConfigError: If there are no weights to begin with.
        """
        if self.init is None and self.training_config().trained == "confidence":
            raise ConfigError(
                "The confidence heads of which network? Give its weights, or the folder of its run, as --init."
            )
        if self.init is not None:
            shape_of(self.init)

    @final
    def run(self, console: Console) -> int:
        """Train from the beginning."""
        config = self.training_config()
        self.check()
        prepare_folder(self.out)
        return self._go(console, config, resume=False)

    @final
    def go_on(self, console: Console) -> int:
        """Train on from the last checkpoint."""
        return self._go(console, self.training_config(), resume=True)

    def _go(self, console: Console, config: TrainingConfig, *, resume: bool) -> int:
        """The main line of a run."""
        if int(os.environ.get("RANK", "0")) > 0:  # one of several processes: the first one talks
            console = Console(quiet=True)
        device = own_device(choose_device(self.device))
        if self.workers is None:
            config = replace(config, workers=_readers(config.workers, device))
        data = self.data(console, device)
        torch.manual_seed(config.seed)
        # A run that goes on needs nothing of what it began with, which may have been moved since.
        shape = load_checkpoint(self.out / LAST).network if resume else self.network(data.example)
        model = LightGlue(shape=shape)
        command = read_command(self.out) if resume else self._started(model)
        console.print(f"{'began' if resume else 'begins'} with {command.started_from}", soft_wrap=True)
        processes = Processes.join(self.device)
        line = TrainingLine(console)
        hooks = Hooks(
            validate=_validator(data, config) if data.validation and processes.rank == 0 else None,
            on_report=line.report,
            on_validation=line.validation,
        )
        objective = Objective(LossConfig(matcher=config.trained == "all"))
        trainer = Trainer(model, data.source, objective, config, self.out, processes=processes, hooks=hooks)
        if resume:
            trainer.resume()
            console.print(f"goes on after {trainer.position.pairs:,} pairs")
        elif processes.rank == 0:
            write_command(self.out, command)
        try:
            with line.shown():
                outcome = trainer.run()
        finally:
            processes.leave()
        if processes.rank > 0:
            return 0
        return self._end(console, data, outcome, command)

    def _end(self, console: Console, data: RunData, outcome: Outcome, command: Command) -> int:
        position = outcome.position
        if not outcome.finished:
            console.print(
                f"Interrupted after {position.pairs:,} pairs; all is saved. Go on with:\n"
                f"  photoglue train resume {self.out}",
                soft_wrap=True,
            )
            return 130
        facts = RunFacts(
            command=self.command_line(),
            features=data.example.kind or "unnamed features",
            data=data.facts,
            data_licence=self.data_licence,
            started_from=command.started_from,
        )
        files = write_results(self.out, facts)
        console.print(f"{position.pairs:,} pairs in {duration(position.elapsed_s)}")
        for path in files:
            console.print(f"  → {path}", soft_wrap=True)
        return 0

    @final
    def command_line(self) -> str:
        """What was typed, for the card: without options that have their defaults, folders and files by their names."""
        words = ["photoglue", "train", self.command]
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            words.append(f"--{field.name.replace('_', '-')}")
            if value is not True:
                named = field.name in ("init", "features")
                items = value if isinstance(value, tuple) else (value,)
                words += [Path(item).name if named or isinstance(item, Path) else str(item) for item in items]
        return shlex.join(words)

    def training_config(self) -> TrainingConfig:
        """The preset with the changes asked for.

        Raises:
            ConfigError: If they make no sense.
        """
        config = PRESETS[self.preset].config
        if self.hours is not None and self.pairs is not None:
            raise ConfigError("--hours and --pairs both say how long the run is; give one of them.")
        length: dict[str, Any] = {}
        if self.hours is not None or self.pairs is not None:
            length = {"hours": self.hours, "total_pairs": self.pairs}
        renamed = {"lr": "learning_rate", "ema": "ema_decay"}
        given = {renamed.get(name, name): value for name, value in vars(self).items() if value is not None}
        known = {field.name for field in fields(TrainingConfig)} - {"hours", "checkpointed"}
        changes = {name: value for name, value in given.items() if name in known}
        return replace(config, **changes, **length, checkpointed=self.checkpointed or config.checkpointed)

    def network(self, example: Features) -> LightGlueShape:
        """Of the shape that was asked for, for these features.

        Raises:
            ConfigError: If it shall see scales that the features do not have.
        """
        has_scales = example.scales is not None and example.orientations is not None
        if self.scale_orientation == "yes" and not has_scales:
            raise ConfigError(
                f"{example.kind!r} features have no scale and orientation; leave --scale-orientation auto."
            )
        make = LightGlueShape.edge if self.model == "edge" else LightGlueShape
        return make(
            input_dim=example.descriptors.shape[1],
            add_scale_ori=has_scales and self.scale_orientation != "no",
            kinds=None if example.kind is None else (example.kind,),
        )

    def _started(self, model: LightGlue) -> Command:
        started = "random weights" if self.init is None else str(warm_start(model, self.init))
        return Command(name=self.command, options=as_json(self), started_from=started)

    @property
    def keypoints_of_image(self) -> int:
        """``keypoints``, or the preset's."""
        return PRESETS[self.preset].keypoints if self.keypoints is None else self.keypoints


def _readers(preset: int, device: torch.device) -> int:
    """Processes that read for one that trains: a core reads and labels some 250 pairs a second, GPUs train on more."""
    if device.type == "cpu":
        return preset
    cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(preset, min(8, cores - 1))


def _validator(data: RunData, config: TrainingConfig) -> Callable[[LightGlue], Score]:
    """What says how good the weights are."""
    validation = Validation(data.validation, data.posed)

    def score(model: LightGlue) -> Score:
        found = validation(model)
        if config.trained == "confidence" and found.confidence_loss is not None:
            # Matches at full depth do not change in this stage.
            return replace(found.score(), score=-found.confidence_loss)
        return found.score()

    return score


def as_json(options: RunOptions) -> dict[str, Any]:
    """Options as JSON can say them; paths become absolute, so that a run can be resumed from anywhere."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return str(value.resolve()) if isinstance(value, Path) else value

    stored = {name: plain(value) for name, value in asdict(options).items()}
    place, _, class_name = str(stored.get("features")).rpartition(":")
    if place.endswith(".py"):  # a class of the user's, path/file.py:Class
        stored["features"] = f"{Path(place).resolve()}:{class_name}"
    return stored


def from_json(kind: type[RunOptions], stored: dict[str, Any]) -> RunOptions:
    """The options that ``as_json`` gave.

    Raises:
        ConfigError: If they are those of another version.
    """
    types = {field.name: str(field.type) for field in fields(kind)}
    unknown = sorted(set(stored) - set(types))
    if unknown:
        raise ConfigError(f"The run has options unknown to this version of PhotoGlue: {', '.join(unknown)}.")

    def typed(value: Any, wanted: str) -> Any:
        if isinstance(value, list):
            return tuple(typed(item, wanted) for item in value)
        return Path(value) if isinstance(value, str) and "Path" in wanted else value

    return kind(**{name: typed(value, types[name]) for name, value in stored.items()})
