"""The training loop. Read `Trainer.run`, then `Trainer._step`: all else serves them.

The trainer knows neither photos nor geometry. It gets a network, a source of pairs, an objective that turns pairs into
a loss, and, if wanted, a function that says how good the network is. What it adds: learning rate, mixed precision,
parts of a batch, clipping, a guard against numbers that are not finite, a running average of the weights, several
processes, checkpoints, and leaving at any moment without losing anything.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, Protocol, runtime_checkable

import torch

from photoglue.errors import ConfigError, PhotoGlueError
from photoglue.matchers.lightglue import LightGlue
from photoglue.precision import choose_precision
from photoglue.training.batches import Batches
from photoglue.training.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    Position,
    load_checkpoint,
    random_states,
    restore_random_states,
    save_checkpoint,
)
from photoglue.training.config import TrainingConfig
from photoglue.training.distributed import Processes
from photoglue.training.interrupt import StopRequest
from photoglue.training.log import RunLog
from photoglue.training.losses import LossTerms
from photoglue.training.pairs.base import PairSource, TrainingPair
from photoglue.training.progress import Hooks, Outcome, Report, Score
from photoglue.training.schedule import learning_rate, progress

FAILURES_IN_A_ROW = 5
"""Number of steps one after the other, with numbers that are not finite, that end a run."""


@runtime_checkable
class Objective(Protocol):
    """A loss that the network learns from pairs by."""

    def prepare(self, pair: TrainingPair, number: int) -> Any:
        """Make of a pair, with its number in the run, what the loss needs; called in the processes that read."""

    def __call__(self, model: LightGlue, pairs: Sequence[Any], *, checkpointed: bool = False) -> LossTerms:
        """The loss of some prepared pairs, a mean over them."""


class Trainer:
    """One run, from its beginning or from its last checkpoint, to its end or to an interruption."""

    def __init__(
        self,
        model: LightGlue,
        source: PairSource,
        objective: Objective,
        config: TrainingConfig,
        folder: Path,
        *,
        processes: Processes | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        """
        Args:
            model: Trained in place, those of its parameters that require a gradient; moved to the device.
            source: Gives the pairs.
            objective: Turns pairs into the loss.
            config: Schedule, precision and sizes of the run.
            folder: Folder of the run, for checkpoints and metrics; it exists.
            processes: The processes that train together; None: this one alone, where the model is.
            hooks: Functions that measure how good weights are, and that hear how the run stands.

        Raises:
            ConfigError: If something of the config is impossible here, or there is nothing to train.
        """  # noqa: D205, D212
        self.config, self.folder, self.source, self.objective = config, folder, source, objective
        self.processes = processes or Processes(device=model.device)
        self.device, self.leads = self.processes.device, self.processes.rank == 0
        self.hooks = hooks or Hooks()
        self.dtype = choose_precision(config.precision, self.device)
        if self.dtype == torch.float16 and self.device.type != "cuda":
            raise ConfigError("Training in float16 works on CUDA only; use --precision bfloat16 or float32 here.")
        self.model = model.to(self.device)
        self.processes.share(self.model)
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        if not self.parameters:
            raise ConfigError("A network with one layer has no confidence heads: there is nothing to train.")
        self.averaged = copy.deepcopy(self.model) if config.ema is not None else None
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.position = Position()
        self.stop_request = StopRequest(talks=self.leads)
        self._recent: list[tuple[float, float, float]] = []
        self._measured_from = (0.0, 0, 0.0)

    def resume(self) -> None:
        """Go back to the last checkpoint in the folder.

        Raises:
            WeightsError: If there is none that can be read.
            ConfigError: If it is of a run with another config.
        """
        checkpoint = load_checkpoint(self.folder / LAST, self.config)
        self.model.load_state_dict(checkpoint.model)
        if self.averaged is not None and checkpoint.averaged is not None:
            self.averaged.load_state_dict(checkpoint.averaged)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        if checkpoint.scaler is not None:
            self.scaler.load_state_dict(checkpoint.scaler)
        restore_random_states(checkpoint.random)
        self.position = checkpoint.position

    def run(self) -> Outcome:
        """Train to the end of the run, or until Ctrl-C or SIGTERM asks to leave.

        Raises:
            OutputError: If something cannot be written.
            PhotoGlueError: If the loss is not finite several times in a row.
        """
        config = self.config
        began = self.hooks.clock() - self.position.elapsed_s
        done, stopping = self._look_around(began)
        log = RunLog(self.folder, pairs=self.position.pairs, tensorboard=self.hooks.tensorboard) if self.leads else None
        start = self.position.pairs // config.batch_size
        batches = Batches(self.source, config, self.processes, start=start, prepare=self.objective.prepare)
        self._measured_from = (self.position.elapsed_s, self.position.pairs, 0.0)
        try:
            with self.stop_request.listening():
                # Before the first step: what the training has to improve on. After the last one: what it came to.
                last = self._validate(log) if self.position.step == 0 or done >= 1 else None
                while done < 1 and not stopping:
                    self._step(next(batches), learning_rate(config, self.position.step, done), log)
                    done, stopping = self._look_around(began)
                    leaving = done >= 1 or stopping
                    if leaving or self._due(config.log_every):
                        self._report(log, batches, done)
                    if done >= 1 or self._due(config.validate_every):
                        last = self._validate(log)
                    if leaving or self._due(config.save_every):
                        self._save(LAST)
            return Outcome(position=self.position, finished=done >= 1, last=last if done >= 1 else None)
        finally:
            batches.close()
            if log is not None:
                log.close()

    def _step(self, pairs: list[Any], rate: float, log: RunLog | None) -> None:
        """One step of the optimiser, or none if something is not finite."""
        config = self.config
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        part = len(pairs) // config.accumulate
        numbers = torch.zeros(2, device=self.device)
        for start in range(0, len(pairs), part):
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                terms = self.objective(self.model, pairs[start : start + part], checkpointed=config.checkpointed)
            if terms.total.requires_grad:  # not if none of these pairs has points in both images
                self.scaler.scale(terms.total / config.accumulate).backward()  # type: ignore[no-untyped-call]
            numbers += torch.stack([terms.total.detach(), terms.last]) / config.accumulate
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        self.processes.average([*gradients, numbers])
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, config.clip_norm or math.inf)
        # The one moment of a step in which the host waits for the device.
        loss, last_layer, gradient_norm = torch.cat([numbers, norm[None]]).tolist()
        finite = math.isfinite(loss) and math.isfinite(gradient_norm)
        if finite:
            self.scaler.step(self.optimizer)
            self._average_weights()
            if log is not None:
                self._recent.append((loss, last_layer, gradient_norm))
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self._advance(finite, math.isfinite(loss))
        if log is not None and not finite:
            log.write("skipped", self.position.pairs, {"loss": loss, "gradient_norm": gradient_norm})
        if self.position.skipped_in_a_row >= FAILURES_IN_A_ROW:
            self._give_up("gradient" if math.isfinite(loss) else "loss")

    def _advance(self, finite: bool, finite_loss: bool) -> None:
        """Count the step."""
        # In float16 the scaler tries how far it can go: then gradients overflow now and then, and it goes down.
        harmless = finite_loss and self.scaler.is_enabled() and self.scaler.get_scale() >= 1
        position = self.position
        self.position = replace(
            position,
            step=position.step + 1,
            pairs=position.pairs + self.config.batch_size,
            skipped=position.skipped + (not finite),
            skipped_in_a_row=0 if finite else position.skipped_in_a_row + (not harmless),
        )

    def _give_up(self, what: str) -> NoReturn:
        saved = (self.folder / LAST).is_file()
        kept = f"its last checkpoint in {str(self.folder)!r} is from before" if saved else "it has no checkpoint yet"
        raise PhotoGlueError(
            f"The {what} was not finite in {FAILURES_IN_A_ROW} steps in a row, up to pair {self.position.pairs}. The "
            f"run was stopped; {kept}. Most often the learning rate ({self.config.learning_rate:g}) is too high or the "
            f"warm-up ({self.config.warmup_steps} steps) too short; else try --precision float32 (now "
            f"{str(self.dtype).removeprefix('torch.')}), or look for descriptors that are not finite."
        )

    def _look_around(self, began: float) -> tuple[float, bool]:
        """Say how much of the run is over, and whether to leave, alike in all processes."""
        elapsed_s, stopping = self.processes.agree(self.hooks.clock() - began, self.stop_request.made)
        self.position = replace(self.position, elapsed_s=elapsed_s)
        return progress(self.config, self.position.pairs, elapsed_s), stopping

    def _average_weights(self) -> None:
        """One step of the running average; it follows faster in the beginning, so as to forget where it began."""
        if self.averaged is None or self.config.ema is None:
            return
        decay = min(self.config.ema, (1 + self.position.step) / (10 + self.position.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.model.parameters()), 1 - decay)

    def _due(self, every: int) -> bool:
        """Whether a multiple of ``every`` pairs has just been passed."""
        pairs = self.position.pairs
        return pairs // every > (pairs - self.config.batch_size) // every

    def _report(self, log: RunLog | None, batches: Batches, done: float) -> None:
        if log is None or not self._recent:
            return
        elapsed_s, pairs, waited_s = self._measured_from
        seconds = max(self.position.elapsed_s - elapsed_s, 1e-9)
        loss, last_layer, gradient_norm = (
            sum(column) / len(self._recent) for column in zip(*self._recent, strict=True)
        )
        report = Report(
            pairs=self.position.pairs,
            progress=done,
            elapsed_s=self.position.elapsed_s,
            left_s=self._seconds_left(done, (self.position.pairs - pairs) / seconds),
            pairs_per_s=(self.position.pairs - pairs) / seconds,
            waiting=min(1.0, (batches.waited_s - waited_s) / seconds),
            learning_rate=self.optimizer.param_groups[0]["lr"],
            gradient_norm=gradient_norm,
            loss=loss,
            last_layer=last_layer,
            skipped=self.position.skipped,
        )
        self._recent.clear()
        self._measured_from = (self.position.elapsed_s, self.position.pairs, batches.waited_s)
        log.write("train", report.pairs, {name: value for name, value in vars(report).items() if name != "pairs"})
        self.hooks.on_report(report)

    def _seconds_left(self, done: float, pairs_per_s: float) -> float:
        if self.config.hours is not None:
            return 3600 * self.config.hours * (1 - done)
        assert self.config.pairs is not None
        return max(0, self.config.pairs - self.position.pairs) / max(pairs_per_s, 1e-9)

    def _validate(self, log: RunLog | None) -> Score | None:
        """Measure how good the weights to use are, and keep the best. Process 0 does it, the others wait."""
        if log is None or self.hooks.validate is None:
            return None
        model = (self.averaged or self.model).eval()
        with torch.no_grad():
            score = self.hooks.validate(model)
        log.write("validation", self.position.pairs, {"score": score.score, **score.numbers})
        best = -math.inf if self.position.best_score is None else self.position.best_score
        if score.score >= best:  # of equals the one trained longer; never so if it is not a number
            self.position = replace(self.position, best_score=score.score)
            self._save(BEST)
        self.hooks.on_validation(self.position.pairs, score)
        return score

    def _save(self, name: str) -> None:
        if not self.leads:
            return
        checkpoint = Checkpoint(
            config=self.config,
            network=self.model.shape,
            position=self.position,
            model=self.model.state_dict(),
            averaged=None if self.averaged is None else self.averaged.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scaler=self.scaler.state_dict() if self.scaler.is_enabled() else None,
            random=random_states(),
        )
        save_checkpoint(checkpoint, self.folder / name)
