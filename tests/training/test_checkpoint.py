"""Checkpoints: whole or not there, read without running code, and refused where they do not belong."""

import errno
import io
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch


@pytest.fixture
def checkpoint(tiny_model):
    from photoglue.training.checkpoint import Checkpoint, Position, random_states
    from photoglue.training.config import TrainingConfig

    model = tiny_model()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model.posenc.Wr.weight.sum().backward()
    optimizer.step()
    return Checkpoint(
        config=TrainingConfig(pairs=100, ema=0.9),
        network=model.shape,
        position=Position(step=3, pairs=24, elapsed_s=1.5, best_score=0.5),
        model=model.state_dict(),
        averaged={name: tensor + 1 for name, tensor in model.state_dict().items()},
        optimizer=optimizer.state_dict(),
        scaler=None,
        random=random_states(),
    )


def test_saved_and_loaded_is_the_same(checkpoint, tmp_path):
    from photoglue.training.checkpoint import load_checkpoint, restore_random_states, save_checkpoint

    save_checkpoint(checkpoint, tmp_path / "last.pt")
    expected = torch.rand(3)  # moves the generator on
    found = load_checkpoint(tmp_path / "last.pt", checkpoint.config)
    for name in ("config", "network", "position", "scaler"):
        assert getattr(found, name) == getattr(checkpoint, name)
    for name in ("model", "averaged"):
        assert all(torch.equal(getattr(found, name)[key], value) for key, value in getattr(checkpoint, name).items())
    (number, state), *_ = checkpoint.optimizer["state"].items()
    assert torch.equal(found.optimizer["state"][number]["exp_avg"], state["exp_avg"])
    restore_random_states(found.random)
    assert torch.equal(torch.rand(3), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_the_weights_to_use_are_the_average(checkpoint, tmp_path):
    from photoglue.matchers.lightglue import LightGlue
    from photoglue.training.checkpoint import save_checkpoint

    save_checkpoint(checkpoint, tmp_path / "last.pt")
    model = LightGlue.from_checkpoint(tmp_path / "last.pt", precision=None)
    assert torch.equal(model.posenc.Wr.weight, checkpoint.averaged["posenc.Wr.weight"])


def test_no_code_is_run(tmp_path):
    from photoglue.errors import WeightsError
    from photoglue.training.checkpoint import load_checkpoint

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "done"),)

    torch.save({"format": "photoglue-training", "model": Evil()}, tmp_path / "last.pt")
    with pytest.raises(WeightsError):
        load_checkpoint(tmp_path / "last.pt")
    assert not (tmp_path / "done").exists()


def test_other_files_are_refused(checkpoint, tmp_path):
    from photoglue.errors import ConfigError, WeightsError
    from photoglue.training.checkpoint import load_checkpoint, save_checkpoint

    torch.save(checkpoint.model, tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match="no checkpoint of a training run"):
        load_checkpoint(tmp_path / "weights.pt")
    save_checkpoint(checkpoint, tmp_path / "last.pt")
    whole = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="may be cut off"):
        load_checkpoint(tmp_path / "cut.pt")
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    torch.save({**content, "version": 3}, tmp_path / "newer.pt")
    with pytest.raises(ConfigError, match="version 3; this PhotoGlue reads 2"):
        load_checkpoint(tmp_path / "newer.pt")


def test_another_config_is_refused_with_the_difference(checkpoint, tmp_path):
    from dataclasses import replace

    from photoglue.errors import ConfigError
    from photoglue.training.checkpoint import load_checkpoint, save_checkpoint

    save_checkpoint(checkpoint, tmp_path / "last.pt")
    with pytest.raises(ConfigError, match=re.escape("(batch_size: 8 there, 16 now; ema: 0.9 there, None now)")):
        load_checkpoint(tmp_path / "last.pt", replace(checkpoint.config, batch_size=16, ema=None))
    load_checkpoint(tmp_path / "last.pt", replace(checkpoint.config, workers=7))  # harmless


def test_a_full_disk_leaves_the_old_one_and_says_how_to_go_on(checkpoint, tmp_path, monkeypatch):
    from pathlib import Path

    from photoglue.errors import OutputError
    from photoglue.training.checkpoint import load_checkpoint, save_checkpoint

    path = tmp_path / "last.pt"
    save_checkpoint(checkpoint, path)
    before = path.read_bytes()

    class Full(io.FileIO):
        def write(self, content):
            super().write(bytes(content)[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")

    def opened(path, mode):
        return Full(path, mode)

    monkeypatch.setattr(Path, "open", opened)
    message = r"the disk is full\. The one before it is whole\..*photoglue train resume " + re.escape(str(tmp_path))
    with pytest.raises(OutputError, match=message):
        save_checkpoint(checkpoint, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["last.pt"]
    load_checkpoint(path)


def test_a_limit_of_the_system(tmp_path, monkeypatch):
    """It refuses to write more than 64 kB: as on a full disk, in the middle of the file."""
    import resource

    from photoglue.errors import OutputError
    from photoglue.training.checkpoint import write_in_run

    monkeypatch.setattr("sys.dont_write_bytecode", True)  # half a compiled module would stay
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
        with pytest.raises(OutputError, match="cannot be written: File too large"):
            write_in_run(tmp_path / "last.pt", bytes(10**6))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.rare
def test_killed_while_writing(checkpoint, tmp_path):
    """What is there is whole."""
    program = f"""
import itertools
from pathlib import Path
from photoglue.training.checkpoint import write_in_run
print("ready", flush=True)
for i in itertools.count():
    write_in_run(Path({str(tmp_path / "last.pt")!r}), bytes([i % 256]) * 5_000_000)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    while not (tmp_path / "last.pt").exists():
        time.sleep(0.01)
    time.sleep(0.1)
    process.kill()
    process.wait()
    process.stdout.close()
    content = (tmp_path / "last.pt").read_bytes()
    assert len(content) == 5_000_000
    assert len(set(content)) == 1
