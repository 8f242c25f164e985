"""A process may die at any moment while it writes: what was committed is there, and nothing is half there."""

import os
import shutil
import signal

import pytest
import torch

from photoglue.errors import OutputError
from photoglue.store import FeatureStore
from photoglue.store.cache import CacheWriter, FeatureCache
from photoglue.store.undo import UndoableFile, log_path, roll_back, uninterrupted
from photoglue.structs import Features

pytest.importorskip("h5py", exc_type=ImportError)


def _features(value, n=40):
    return Features(
        keypoints=torch.full((n, 2), float(value)),
        descriptors=torch.full((n, 8), float(value)),
        scores=torch.rand(n),
        image_size=(640, 480),
        kind="test",
    )


class _DiesInTheMiddle:
    """A file whose next write ends the process when half of it is done."""

    def __init__(self, file):
        self._file = file

    def write(self, data):
        self._file.write(b"#" * (len(data) // 2))
        os.kill(os.getpid(), signal.SIGKILL)

    def __getattr__(self, name):
        return getattr(self._file, name)


def _dies(work, write, half):
    """Whether a process that does ``work`` dies at its ``write``-th write to a file, before it or in the middle."""
    child = os.fork()
    if child == 0:
        count, original = 0, UndoableFile.write

        def counted(file, data):
            nonlocal count
            count += 1
            if count > write and half:
                file._file = _DiesInTheMiddle(file._file)
            elif count > write:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(file, data)

        UndoableFile.write = counted
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.mark.rare
@pytest.mark.parametrize("name", ["new", "old"])
def test_a_store_survives_at_every_write(tmp_path, name):
    """Whether a name is added or its content replaced."""
    path = tmp_path / "f.h5"

    def work():
        with FeatureStore.open(path, "a") as store:
            for number in range(2):
                store.write(f"{name}/{number}", _features(number + 10))

    before = tmp_path / "before.h5"
    with FeatureStore.open(before, "w") as store:
        for number in range(2):
            store.write(f"old/{number}", _features(number))
    write, seen = 0, set()
    while True:
        shutil.copyfile(before, path)
        if not _dies(work, write, half=False):
            break
        with FeatureStore.open(path) as store:
            written = 0
            for stored in store.names():
                values = set(store[stored].keypoints.flatten().tolist())
                number = int(stored.rpartition("/")[2])
                assert values in ({number}, {number + 10})
                written += values == {number + 10}
            assert {f"old/{number}" for number in range(2)} <= set(store.names())
            seen.add(written)
        assert not log_path(path).exists()
        work()  # it goes on
        with FeatureStore.open(path) as store:
            assert all(float(store[f"{name}/{number}"].scores.numel()) == 40 for number in range(2))
        write += 1
    assert seen == {0, 1, 2}
    assert write > 10


@pytest.mark.rare
def test_a_new_store_survives_in_the_middle_of_every_write(tmp_path):
    path = tmp_path / "f.h5"

    def work():
        with FeatureStore.open(path, "a") as store:
            store.write("a", _features(1))
            store.write("b", _features(2))

    for write in range(200):
        path.unlink(missing_ok=True)
        if not _dies(work, write, half=True):
            break
        with FeatureStore.open(path, "a") as store:
            assert store.names() in ([], ["a"], ["a", "b"])
            assert all(len(store[stored]) == 40 for stored in store.names())
    assert 5 < write < 199


@pytest.mark.rare
def test_a_cache_survives_at_every_write(tmp_path):
    path = tmp_path / "c.h5"

    def work():
        with CacheWriter.open(path, "a") as writer:
            for number in range(writer.committed.steps, 4):
                writer.append([_features(number)], steps=1)

    deaths = 0
    for write in range(0, 400, 3):
        path.unlink(missing_ok=True)
        with CacheWriter.open(path, "w") as writer:
            writer.append([_features(0)], steps=1)
        if not _dies(work, write, half=False):
            break
        deaths += 1
        assert FeatureCache.open(path).committed.steps >= 1
        work()
        cache = FeatureCache.open(path)
        assert [float(cache.features(i).keypoints[0, 0]) for i in range(4)] == [0, 1, 2, 3]
        cache.close()
    assert deaths > 3


def test_a_log_that_was_cut_off_is_used_as_far_as_it_is_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = UndoableFile(path, "r+b")
    file.seek(2)
    file.write(b"ab")
    file.seek(8)
    file.write(b"cdefgh")
    log = log_path(path).read_bytes()
    file.close()
    assert path.read_bytes() == b"01ab4567cdefgh"
    assert not log_path(path).exists()
    cut_off = log[: log.index(b"89") + 1]  # then nothing was overwritten yet at 8
    for content, rest in ((b"01ab4567cdefgh", log), (b"01ab456789", cut_off), (b"01ab456789", cut_off + b"?" * 99)):
        path.write_bytes(content)
        log_path(path).write_bytes(rest)
        roll_back(path)
        assert path.read_bytes() == b"0123456789"
        assert not log_path(path).exists()


def test_ctrl_c_waits_for_the_end_of_the_block():
    done = False
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        done = True
    assert done
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_file_that_another_process_writes_is_not_rolled_back(tmp_path):
    path = tmp_path / "f.h5"
    with FeatureStore.open(path, "w") as store:
        store.write("a", _features(1))
        with pytest.raises(OutputError, match="in use by another process"):
            FeatureStore.open(path, "a")
        assert log_path(path).exists()
        store.write("b", _features(2))
    with FeatureStore.open(path) as store:
        assert store.names() == ["a", "b"]
