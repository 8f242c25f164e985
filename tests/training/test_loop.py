"""The loop: it learns, it can be cut anywhere and goes on as if nothing had happened, and it survives bad numbers."""

import json
import math
import os
import signal

import pytest
import torch


@pytest.fixture
def trainer(tiny_model, tiny_pairs, plain_objective, tmp_path):
    """Makes trainers whose folders are told apart by ``name``."""

    def make(name="run", source=None, objective=None, model=None, hooks=None, **changes):
        from photoglue.training.config import TrainingConfig
        from photoglue.training.loop import Trainer
        from photoglue.training.progress import Hooks

        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        recipe = {
            "pairs": 48, "batch_size": 4, "learning_rate": 2e-3, "warmup_steps": 3, "precision": "float32",
            "save_every": 16, "validate_every": 10**6, "log_every": 8, "workers": 0,
        }  # fmt: skip
        return Trainer(
            model or tiny_model(),
            source or tiny_pairs(),
            objective or plain_objective,
            TrainingConfig(**{**recipe, **changes}),
            folder,
            hooks=hooks or Hooks(tensorboard=False),
        )

    return make


def weights_of(trainer):
    return torch.cat([tensor.flatten() for tensor in trainer.model.state_dict().values()])


def lines_of(trainer, kind="train"):
    lines = [json.loads(line) for line in (trainer.folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


class TestLearning:
    @pytest.mark.slow
    def test_the_loss_falls_and_the_end_is_the_end(self, trainer):
        run = trainer(pairs=240, batch_size=4, learning_rate=3e-3)
        outcome = run.run()
        assert outcome.finished
        assert (outcome.position.pairs, outcome.position.step) == (240, 60)
        lines = lines_of(run)
        assert [line["pairs"] for line in lines] == list(range(8, 241, 8))
        assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
        assert lines[-1]["progress"] == 1
        assert all(line["gradient_norm"] > 0 and 0 <= line["waiting"] <= 1 for line in lines)

    @pytest.mark.slow
    def test_the_learning_rate_is_that_of_the_schedule(self, trainer):
        from photoglue.training.schedule import learning_rate

        run = trainer(log_every=4)
        run.run()
        rates = [line["learning_rate"] for line in lines_of(run)]
        assert rates == [learning_rate(run.config, step, step * 4 / 48) for step in range(12)]

    @pytest.mark.slow
    def test_parts_of_a_batch_make_the_same_step(self, trainer):
        whole, parts = trainer("whole"), trainer("parts", accumulate=4)
        whole.run()
        parts.run()
        assert (weights_of(whole) - weights_of(parts)).abs().max() < 1e-5
        # Clipping and AdamW hide a wrong scale; the norm before them does not.
        for one, other in zip(lines_of(whole), lines_of(parts), strict=True):
            assert other["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-3)
            assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)

    @pytest.mark.slow
    def test_checkpointed_layers_make_the_same_step(self, trainer):
        plain, checkpointed = trainer("plain"), trainer("checkpointed", checkpointed=True)
        plain.run()
        checkpointed.run()
        assert torch.equal(weights_of(plain), weights_of(checkpointed))

    @pytest.mark.slow
    def test_bfloat16_learns_and_keeps_weights_in_float32(self, trainer):
        run = trainer(precision="bfloat16", pairs=120, learning_rate=3e-3)
        run.run()
        lines = lines_of(run)
        assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
        assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}

    def test_float16_needs_cuda(self, trainer):
        from photoglue.errors import ConfigError

        with pytest.raises(ConfigError, match="float16 works on CUDA only"):
            trainer(precision="float16")

    def test_clipping(self, trainer, monkeypatch):
        """With plain gradient descent, a clipped step is exactly rate · clip_norm long."""
        run = trainer(clip_norm=1e-3, pairs=4, warmup_steps=0, schedule="constant", weight_decay=0.0)
        run.optimizer = torch.optim.SGD(run.parameters, lr=1.0)
        before = weights_of(run)
        run.run()
        assert (weights_of(run) - before).norm() == pytest.approx(2e-3 * 1e-3, rel=1e-2)
        assert lines_of(run)[0]["gradient_norm"] > 0.1  # what is reported is the norm before

    def test_only_the_parameters_that_require_a_gradient(self, trainer, tiny_model):
        model = tiny_model()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith("token_confidence."))
        run = trainer(model=model, weight_decay=0.1)
        before = tiny_model().state_dict()
        run.run()
        changed = {name for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, before[name])}
        assert changed == {"token_confidence.0.token.0.weight", "token_confidence.0.token.0.bias"}

    def test_nothing_to_train(self, trainer, tiny_model):
        from photoglue.errors import ConfigError

        with pytest.raises(ConfigError, match="nothing to train"):
            trainer(model=tiny_model().requires_grad_(False))


class TestAveraging:
    def test_the_average_follows_the_weights(self, trainer):
        run = trainer(ema=0.9, pairs=4, warmup_steps=0)
        before = weights_of(run)
        run.run()
        averaged = torch.cat([tensor.flatten() for tensor in run.averaged.state_dict().values()])
        # After the first step the decay is 1/10: nine tenths of the way.
        assert torch.allclose(averaged, before + 0.9 * (weights_of(run) - before), atol=1e-7)
        assert not torch.equal(averaged, weights_of(run))

    @pytest.mark.slow
    def test_it_is_what_is_validated(self, trainer):
        from photoglue.training.progress import Hooks, Score

        seen = []

        def validate(model):
            seen.append(model)
            return Score(score=0.0, numbers={})

        run = trainer(ema=0.9, hooks=Hooks(validate=validate, tensorboard=False))
        run.run()
        assert all(model is run.averaged for model in seen)

    @pytest.mark.slow
    def test_it_is_what_a_checkpoint_is_read_as(self, trainer):
        from photoglue.matchers.lightglue import LightGlue

        run = trainer(ema=0.9)
        run.run()
        read = LightGlue.from_checkpoint(run.folder / "last.pt", precision=None)
        assert torch.equal(read.posenc.Wr.weight, run.averaged.posenc.Wr.weight)
        assert not torch.equal(read.posenc.Wr.weight, run.model.posenc.Wr.weight)


class TestResuming:
    @pytest.mark.slow
    @pytest.mark.parametrize("changes", [{}, {"ema": 0.9, "accumulate": 2, "workers": 1}], ids=["plain", "all"])
    def test_interrupted_and_resumed_is_uninterrupted(self, trainer, tiny_model, changes):
        """To the last bit: weights, average, state of the optimiser, position and metrics."""
        from photoglue.training.progress import Hooks

        changes = {"log_every": 4, **changes}
        whole = trainer("whole", **changes)
        whole.run()

        def leave(report):
            first.stop_request.made |= report.pairs >= 16

        first = trainer("parts", hooks=Hooks(on_report=leave, tensorboard=False), **changes)
        outcome = first.run()
        assert not outcome.finished
        assert outcome.position.pairs == 20  # in the middle of an epoch of 12 pairs, and between two checkpoints
        second = trainer("parts", model=tiny_model(seed=99), **changes)
        second.resume()
        assert second.run().finished
        assert torch.equal(weights_of(whole), weights_of(second))
        if "ema" in changes:
            for one, other in zip(whole.averaged.parameters(), second.averaged.parameters(), strict=True):
                assert torch.equal(one, other)
        for one, other in zip(*(run.optimizer.state_dict()["state"].values() for run in (whole, second)), strict=True):
            assert all(torch.equal(one[name], other[name]) for name in one)
        losses = [[line["loss"] for line in lines_of(run)] for run in (whole, second)]
        assert losses[0] == losses[1]

    @pytest.mark.slow
    def test_a_killed_run_goes_on_from_its_last_checkpoint(self, trainer):
        whole = trainer("whole")
        whole.run()

        def die(report):
            if report.pairs == 24:
                raise RuntimeError("as if killed")

        from photoglue.training.progress import Hooks

        with pytest.raises(RuntimeError, match="killed"):
            trainer("parts", hooks=Hooks(on_report=die, tensorboard=False)).run()
        second = trainer("parts")
        second.resume()
        assert second.position.pairs == 16
        second.run()
        assert torch.equal(weights_of(whole), weights_of(second))
        # The line of pair 24, written before the death, is not there twice.
        assert [line["pairs"] for line in lines_of(second)] == list(range(8, 49, 8))

    @pytest.mark.slow
    def test_another_config_is_refused(self, trainer):
        from photoglue.errors import ConfigError

        trainer().run()
        with pytest.raises(ConfigError, match=r"another config \(learning_rate: 0.002 there, 0.1 now\)"):
            trainer(learning_rate=0.1).resume()

    def test_ctrl_c_saves_and_leaves(self, trainer):
        from photoglue.training.progress import Hooks

        def press(report):
            if report.pairs == 8:
                os.kill(os.getpid(), signal.SIGINT)

        before = signal.getsignal(signal.SIGINT)
        run = trainer(hooks=Hooks(on_report=press, tensorboard=False), save_every=10**6)
        outcome = run.run()
        assert (outcome.finished, outcome.position.pairs) == (False, 12)
        assert signal.getsignal(signal.SIGINT) == before
        second = trainer(save_every=10**6)
        second.resume()
        assert second.position.pairs == 12

    @pytest.mark.slow
    def test_the_clock_ends_a_run_given_in_hours(self, trainer):
        """Each look at the clock is a minute later: the rate has come to its end when the hour is over."""
        import itertools

        from photoglue.training.progress import Hooks

        minutes = itertools.count()
        hooks = Hooks(clock=lambda: 60.0 * next(minutes), tensorboard=False)
        run = trainer(hooks=hooks, pairs=None, hours=1.0, log_every=4, final_share=0.01)
        outcome = run.run()
        assert outcome.finished
        assert outcome.position.step == 59
        lines = lines_of(run)
        assert lines[-1]["learning_rate"] == pytest.approx(2e-3 * 0.01, rel=0.1)
        assert lines[29]["left_s"] == pytest.approx(3600 - lines[29]["elapsed_s"])


class TestNumbersThatAreNotFinite:
    @pytest.mark.slow
    def test_a_step_is_skipped_and_reported(self, trainer, tiny_pairs):
        run = trainer(source=tiny_pairs(broken={(1, 3)}), log_every=4)
        outcome = run.run()
        assert outcome.finished
        assert (outcome.position.skipped, outcome.position.skipped_in_a_row) == (1, 0)
        assert weights_of(run).isfinite().all()
        assert [line["loss"] for line in lines_of(run, "skipped")] == [None]
        assert len(lines_of(run)) == 11

    def test_a_skipped_step_changes_nothing(self, trainer, tiny_pairs):
        broken = {(epoch, index) for epoch in range(9) for index in range(12)}
        run = trainer(source=tiny_pairs(broken=broken), pairs=8)
        before = weights_of(run)
        assert run.run().position.skipped == 2
        assert torch.equal(weights_of(run), before)

    @pytest.mark.slow
    def test_five_in_a_row_stop_the_run(self, trainer, tiny_pairs):
        from photoglue.errors import PhotoGlueError

        broken = {(epoch, index) for epoch in (1, 2, 3) for index in range(12)}
        run = trainer(source=tiny_pairs(broken=broken))
        with pytest.raises(PhotoGlueError, match=r"loss was not finite in 5 steps in a row, up to pair 32.*warm-up"):
            run.run()
        assert len(lines_of(run, "skipped")) == 5
        # The last checkpoint is from before the step that stopped it, and it is whole.
        second = trainer(source=tiny_pairs())
        second.resume()
        assert weights_of(second).isfinite().all()

    def test_five_at_the_beginning_are_before_any_checkpoint(self, trainer, tiny_pairs):
        from photoglue.errors import PhotoGlueError

        broken = {(epoch, index) for epoch in range(9) for index in range(12)}
        run = trainer(source=tiny_pairs(broken=broken), save_every=100)
        with pytest.raises(PhotoGlueError, match=r"up to pair 20\. The run was stopped; it has no checkpoint yet"):
            run.run()


class TestValidation:
    @pytest.mark.slow
    def test_when_and_with_which_weights(self, trainer):
        from photoglue.matchers.lightglue import LightGlue
        from photoglue.training.progress import Hooks, Score

        seen, told = [], []

        def validate(model):
            assert not model.training
            assert not torch.is_grad_enabled()
            seen.append(model.posenc.Wr.weight.clone())
            # The second of the four is the best.
            return Score(score=[0.1, 0.9, 0.5, 0.2][len(seen) - 1], numbers={"precision": 0.5})

        hooks = Hooks(validate=validate, on_validation=lambda pairs, score: told.append(pairs), tensorboard=False)
        run = trainer(hooks=hooks, validate_every=16)
        outcome = run.run()
        assert told == [0, 16, 32, 48]
        assert outcome.last.score == 0.2
        assert outcome.position.best_score == 0.9
        best = LightGlue.from_checkpoint(run.folder / "best.pt", precision=None)
        assert torch.equal(best.posenc.Wr.weight, seen[1])
        assert [line["score"] for line in lines_of(run, "validation")] == [0.1, 0.9, 0.5, 0.2]

    @pytest.mark.slow
    def test_a_score_that_is_not_a_number_is_never_the_best(self, trainer):
        from photoglue.training.progress import Hooks, Score

        hooks = Hooks(validate=lambda model: Score(score=math.nan, numbers={}), tensorboard=False)
        outcome = trainer(hooks=hooks).run()
        assert outcome.position.best_score is None

    @pytest.mark.slow
    def test_of_equal_scores_the_later_counts(self, trainer):
        """A network that matches nothing yet scores 0, trained or not: what has learned more is to be kept."""
        from photoglue.training.checkpoint import load_checkpoint
        from photoglue.training.progress import Hooks, Score

        hooks = Hooks(validate=lambda model: Score(score=0.0, numbers={}), tensorboard=False)
        run = trainer(hooks=hooks, validate_every=16)
        run.run()
        assert load_checkpoint(run.folder / "best.pt").position.pairs == 48
