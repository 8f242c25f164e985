"""Two processes train the model that one would train."""

import json
import os
import socket
import sys
import traceback

import pytest
import torch


def test_alone():
    from photoglue.training.distributed import Processes

    alone = Processes.join(torch.device("cpu"))
    assert (alone.rank, alone.count, alone.device) == (0, 1, torch.device("cpu"))
    tensor = torch.ones(3)
    alone.average([tensor])
    assert torch.equal(tensor, torch.ones(3))
    assert alone.agree(2.5, True) == (2.5, True)
    alone.leave()


def test_each_process_has_a_gpu_of_its_own_from_the_start(monkeypatch):
    """Also what extracts features is built there, not all of it on the first GPU."""
    from photoglue.errors import ConfigError
    from photoglue.training.distributed import own_device

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert own_device(torch.device("cuda")) == torch.device("cuda")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert own_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match="there are 2"):
        own_device(torch.device("cuda"))


def forked(count, work):
    """Runs ``work(rank)`` in processes of one group, and gives what each returned (through JSON).

    Forked rather than started: they have the modules that this one has imported, the hook of the tests included.
    """
    if torch.cuda.is_available():
        pytest.skip("torch cannot fork once it has threads for a GPU")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(count):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            status = 1
            try:
                os.environ.update(
                    RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1",
                    MASTER_PORT=str(port),
                )  # fmt: skip
                torch.set_num_threads(1)
                with os.fdopen(writing, "w") as pipe:
                    json.dump(work(rank), pipe)
                status = 0
            except BaseException:  # noqa: BLE001
                traceback.print_exc(file=sys.__stderr__)
            finally:
                os._exit(status)
        os.close(writing)
        children.append((child, reading))
    answers = []
    for child, reading in children:
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        assert os.waitpid(child, 0)[1] == 0
        answers.append(json.loads(text))
    return answers


@pytest.fixture
def train(tiny_model, tiny_pairs, plain_objective, tmp_path):
    def make(processes, folder, source=None, hooks=None, **changes):
        from photoglue.training.config import TrainingConfig
        from photoglue.training.loop import Trainer
        from photoglue.training.progress import Hooks

        (tmp_path / folder).mkdir(exist_ok=True)
        recipe = {
            "pairs": 48, "batch_size": 4, "learning_rate": 2e-3, "warmup_steps": 3, "precision": "float32",
            "save_every": 16, "log_every": 4, "workers": 0, "weight_decay": 0.01,
        }  # fmt: skip
        return Trainer(
            # Other weights in each process: those of the first one count.
            tiny_model(seed=processes.rank),
            source or tiny_pairs(),
            plain_objective,
            TrainingConfig(**{**recipe, **changes}),
            tmp_path / folder,
            processes=processes,
            hooks=hooks or Hooks(tensorboard=False),
        )

    return make


def weights_of(trainer):
    return torch.cat([tensor.flatten() for tensor in trainer.model.state_dict().values()])


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.rare
@pytest.mark.parametrize("changes", [{}, {"accumulate": 2, "ema": 0.9}], ids=["plain", "all"])
def test_two_processes_train_what_one_does(train, tmp_path, changes):
    """The same global batch: the same losses and weights, up to the order of sums."""
    from photoglue.training.distributed import Processes

    one = train(Processes(device=torch.device("cpu")), "one", **changes)
    one.run()

    def work(rank):
        processes = Processes.join(torch.device("cpu"))
        assert (processes.rank, processes.count) == (rank, 2)
        trainer = train(processes, "two", **changes)
        outcome = trainer.run()
        processes.leave()
        return weights_of(trainer).tolist(), outcome.position.pairs

    (first, pairs), (second, _) = forked(2, work)
    assert pairs == 48
    assert first == second
    assert (torch.tensor(first) - weights_of(one)).abs().max() < 1e-5
    alone, together = lines_of(tmp_path / "one"), lines_of(tmp_path / "two")
    assert len(together) == 12  # only the first process writes
    for a, b in zip(alone, together, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["gradient_norm"] == pytest.approx(b["gradient_norm"], rel=1e-3)


@pytest.mark.rare
def test_what_one_process_meets_all_do(train, tiny_pairs, tmp_path):
    """A pair that is not finite, in one process; a wish to stop, in the other: both skip, both stop, together."""
    from photoglue.training.distributed import Processes

    def work(rank):
        processes = Processes.join(torch.device("cpu"))
        # Pair 7 belongs to the second process.
        trainer = train(processes, "two", source=tiny_pairs(broken={(0, 7)}))
        step = trainer._step

        def stepping(*arguments):
            step(*arguments)
            trainer.stop_request.made |= rank == 1 and trainer.position.pairs == 20

        trainer._step = stepping
        outcome = trainer.run()
        processes.leave()
        position = outcome.position
        return outcome.finished, position.pairs, position.skipped, weights_of(trainer).tolist()

    first, second = forked(2, work)
    assert first == second
    assert first[:3] == [False, 20, 1]
    assert (tmp_path / "two" / "last.pt").is_file()
