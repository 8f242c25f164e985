"""The cache of features: what was written comes back, whatever interrupted the writing."""

import errno
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError, OutputError, ShapeError
from photoglue.extractors.base import extractor_options
from photoglue.extractors.sift import SIFT, SIFTConfig
from photoglue.store import atomic_store
from photoglue.store.cache import CacheWriter, FeatureCache
from photoglue.structs import Features

h5py = pytest.importorskip("h5py", exc_type=ImportError)

OPTIONS = {"views": 8, "features": {"kind": "sift-opencv"}}


def made(number, *, n=None, sift=True, d=128):
    """Features that depend on their number alone."""
    generator = torch.Generator().manual_seed(number)
    n = int(torch.randint(0, 40, (1,), generator=generator)) if n is None else n
    rand = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    return Features(
        keypoints=rand(n, 2) * 3000,
        descriptors=torch.nn.functional.normalize(rand(n, d), dim=-1),
        scores=rand(n),
        image_size=(600 + number, 400),
        kind="sift-opencv" if sift else None,
        scales=rand(n) * 9 if sift else None,
        orientations=rand(n) * 6 - 3 if sift else None,
    )


def same(left, right):
    """All but the descriptors to the last bit; they as rounded to half precision."""
    assert (left.image_size, left.kind) == (right.image_size, right.kind)
    for name in ("keypoints", "scores", "scales", "orientations"):
        one, other = getattr(left, name), getattr(right, name)
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == torch.float32
            assert torch.equal(one, other)
    assert torch.equal(left.descriptors, right.descriptors.half().float())
    return True


def written(path, numbers, **options):
    with atomic_store(path, OPTIONS, CacheWriter) as writer:
        for number in numbers:
            writer.append([made(number, **options)], steps=1, notes=[f"image {number}"])
    return FeatureCache.open(path)


@pytest.mark.parametrize("sift", [True, False])
def test_what_was_written_comes_back(tmp_path, sift):
    numbers = [list(range(5)), [], [5], list(range(6, 20))]
    with atomic_store(tmp_path / "c.h5", OPTIONS, CacheWriter) as writer:
        for batch in numbers:
            features = [made(number, sift=sift) for number in batch]
            total = sum(map(len, features))
            writer.append(
                features,
                steps=3,
                per_image={
                    "matrix": np.stack([np.full((3, 3), i, np.float64) for i in batch] or [np.eye(3)])[: len(batch)]
                },
                per_point={"depth": np.arange(total, dtype=np.float32)},
            )
    cache = FeatureCache.open(tmp_path / "c.h5", options=OPTIONS)
    assert len(cache) == 20
    assert cache.committed.steps == 12
    for i in range(20):
        assert same(cache.features(i), made(i, sift=sift))
        assert len(cache.per_point("depth", i)) == len(made(i))
    np.testing.assert_array_equal(cache.per_image("matrix")[:, 1, 2], np.arange(20))
    np.testing.assert_array_equal(cache.per_image("size"), [(600 + i, 400) for i in range(20)])
    np.testing.assert_array_equal(cache.per_image("count"), [len(made(i)) for i in range(20)])
    first = sum(len(made(i)) for i in range(6, 8))
    np.testing.assert_array_equal(cache.per_point("depth", 8), np.arange(first, first + len(made(8))))
    assert cache.per_point("depth", 8).dtype == np.float32


def test_only_the_first_points(tmp_path):
    cache = written(tmp_path / "c.h5", range(6))
    for i in range(6):
        for first in (0, 1, 7, 1000):
            assert same(cache.features(i, first=first), made(i)[:first])


def test_no_image_and_no_point(tmp_path):
    empty = written(tmp_path / "empty.h5", [])
    assert len(empty) == 0
    assert empty.notes() == []
    with atomic_store(tmp_path / "c.h5", OPTIONS, CacheWriter) as writer:
        writer.append([made(0, n=0)], steps=1)
        writer.append([made(1, n=0), made(2, n=1)], steps=1)
    cache = FeatureCache.open(tmp_path / "c.h5")
    for i in range(3):
        assert same(cache.features(i), made(i, n=int(i == 2)))


def test_half_precision_changes_descriptors_little(tmp_path):
    """Of unit length: dot products by less than a thousandth."""
    features = made(0, n=500)
    with atomic_store(tmp_path / "c.h5", OPTIONS, CacheWriter) as writer:
        writer.append([features], steps=1)
    back = FeatureCache.open(tmp_path / "c.h5").features(0).descriptors
    assert (back.norm(dim=-1) - 1).abs().max() < 5e-4
    assert (back @ back.T - features.descriptors @ features.descriptors.T).abs().max() < 1e-3
    assert not torch.equal(back, features.descriptors)


def test_rows_beyond_what_was_committed_are_cut_off(tmp_path):
    """What a process leaves that dies between writing and committing."""
    path = tmp_path / "c.h5"
    written(path, range(4))
    with h5py.File(path, "a") as file:
        for group in ("points", "images"):
            for dataset in file[group].values():
                dataset.resize(len(dataset) + 5, axis=0)
                dataset[-5:] = 99
        file["notes"].resize(9, axis=0)
    cache = FeatureCache.open(path)
    assert len(cache) == 4
    assert cache.notes() == [f"image {i}" for i in range(4)]
    cache.close()
    with CacheWriter.open(path, "a", options=OPTIONS) as writer:
        assert writer.committed.images == 4
        for number in range(4, 9):
            writer.append([made(number)], steps=1, notes=[f"image {number}"])
    cache = FeatureCache.open(path)
    assert all(same(cache.features(i), made(i)) for i in range(9))
    assert cache.notes() == [f"image {i}" for i in range(9)]
    with h5py.File(path) as file:
        assert {len(dataset) for dataset in file["images"].values()} == {9}


def test_death_while_the_first_rows_are_written_does_no_harm(tmp_path):
    path = tmp_path / "c.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": "photoglue-cache", "version": 1, "options": json.dumps(OPTIONS)})
        file.create_dataset("points/keypoints", data=np.ones((7, 2), np.float32), maxshape=(None, 2))
    with CacheWriter.open(path, "a", options=OPTIONS) as writer:
        writer.append([made(0)], steps=1)
    assert same(FeatureCache.open(path).features(0), made(0))


@pytest.mark.rare
def test_a_killed_writer_loses_nothing_that_was_committed(tmp_path):
    path = tmp_path / "c.h5"
    code = f"""
import torch
from photoglue.store.cache import CacheWriter
from photoglue.store import atomic_store
from photoglue.structs import Features
with atomic_store({str(path)!r}, {OPTIONS!r}, CacheWriter) as writer:
    for i in range(100_000):
        n = 1000 + i
        writer.append([Features(keypoints=torch.full((n, 2), float(i)), descriptors=torch.full((n, 64), i / 2048),
                                scores=torch.full((n,), float(i)), image_size=(640, 480))], steps=1)
        if i == 20:
            print("ready", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not path.exists()
    with atomic_store(path, OPTIONS, CacheWriter) as writer:
        count = writer.committed.images
        assert count >= 21
        assert writer.committed.steps == count
    cache = FeatureCache.open(path)
    for i in range(count):
        features = cache.features(i)
        assert len(features) == 1000 + i
        assert bool((features.keypoints == i).all())
        assert bool((features.descriptors == i / 2048).all())


def test_other_options_are_refused_with_the_differences(tmp_path):
    cache = written(tmp_path / "c.h5", range(2))
    other = {"views": 4, "features": {"kind": "sift-opencv"}, "seed": 1}
    for attempt in (
        lambda: FeatureCache.open(cache.path, options=other),
        lambda: CacheWriter.open(cache.path, "a", options=other),
    ):
        with pytest.raises(ConfigError, match=r"other options \(seed: 'absent' there, 1 now; views: 8 there, 4 now\)"):
            attempt()
    assert len(FeatureCache.open(cache.path, options=OPTIONS)) == 2


def test_options_name_all_that_makes_an_extractors_features():
    """Other weights of the same kind are other features."""

    class Linear(SIFT):
        def __init__(self):
            super().__init__(SIFTConfig(nms_radius=3, resize=None))
            self.layer = torch.nn.Linear(2, 2)
            self.register_buffer("steps", torch.tensor(3))

    extractor = Linear()
    first = extractor_options(extractor)
    assert (first["kind"], first["nms_radius"], first["resize"]) == ("sift-opencv", 3, None)
    assert extractor_options(extractor) == first
    with torch.no_grad():
        extractor.layer.bias += 1e-6
    assert extractor_options(extractor)["weights"] != first["weights"]
    json.dumps(first)


@pytest.mark.parametrize("system", ["reserves", "only counts"])
def test_a_full_disk_is_noticed_before_the_file_is_harmed(tmp_path, monkeypatch, system):
    path = tmp_path / "c.h5"

    def full(descriptor, offset, length):
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(
            OutputError, match=r"c\.h5\.partial' cannot grow by \d+ MiB: No space left on device\. Make room"
        ),
        atomic_store(path, OPTIONS, CacheWriter) as writer,
    ):
        writer.append([made(0)], steps=1)
        if system == "reserves":
            monkeypatch.setattr(os, "posix_fallocate", full)
        else:
            monkeypatch.delattr(os, "posix_fallocate")
            free = namedtuple("usage", "total used free")(100 << 20, 99 << 20, 1 << 20)
            monkeypatch.setattr("photoglue.store.undo.shutil.disk_usage", lambda _: free)
        writer.append([made(1)], steps=1)
    monkeypatch.undo()
    with atomic_store(path, OPTIONS, CacheWriter) as writer:
        assert writer.committed.images == 1
        writer.append([made(1)], steps=1)
    cache = FeatureCache.open(path)
    assert all(same(cache.features(i), made(i)) for i in range(2))


@pytest.mark.rare
def test_a_file_that_may_not_grow_keeps_what_was_committed(tmp_path):
    """A limit of the system's own, not a stand-in: HDF5 alone would leave an unreadable file, and crash."""
    path = tmp_path / "c.h5"
    code = f"""
import resource, sys, torch
sys.dont_write_bytecode = True
resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 20, 16 << 20))
from photoglue.store.cache import CacheWriter
from photoglue.store import atomic_store
from photoglue.structs import Features
with atomic_store({str(path)!r}, {OPTIONS!r}, CacheWriter) as writer:
    for i in range(100):
        writer.append([Features(keypoints=torch.full((4096, 2), float(i)), descriptors=torch.zeros(4096, 64),
                                scores=torch.zeros(4096), image_size=(640, 480))], steps=1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "OutputError" in done.stderr.splitlines()[-1]
    assert "File too large. Make room" in done.stderr.splitlines()[-1]
    with atomic_store(path, OPTIONS, CacheWriter) as writer:
        count = writer.committed.images
    assert count > 3
    cache = FeatureCache.open(path)
    assert all(bool((cache.features(i).keypoints == i).all()) for i in range(count))


def test_rows_that_do_not_fit_are_refused(tmp_path):
    with CacheWriter.open(tmp_path / "c.h5", "w", options=OPTIONS) as writer:
        with pytest.raises(ShapeError, match="photo has 1 rows; it must have 2"):
            writer.append([made(0, n=3), made(1, n=4)], steps=1, per_image={"photo": np.zeros(1)})
        with pytest.raises(ShapeError, match="depth has 2 rows; it must have 7"):
            writer.append([made(0, n=3), made(1, n=4)], steps=1, per_point={"depth": np.zeros(2)})
        assert writer.committed.images == 0


def test_notes_are_texts_of_limited_length(tmp_path):
    with CacheWriter.open(tmp_path / "c.h5", "w", options=OPTIONS) as writer:
        writer.append([], steps=1, notes=["ünï – 雪", "x" * 500, "é" * 121])
    assert FeatureCache.open(tmp_path / "c.h5").notes() == ["ünï – 雪", "x" * 240, "é" * 120]


def test_files_that_are_no_cache_are_explained(tmp_path):
    with pytest.raises(OutputError, match="There is no file"):
        FeatureCache.open(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(OutputError, match="is not an HDF5 file"):
        FeatureCache.open(tmp_path / "text.h5")
    cache = written(tmp_path / "c.h5", range(3))
    cache.path.unlink()
    with pytest.raises(OutputError, match="There is no file"):
        cache.features(0)


def _read(cache, index, queue):
    queue.put(cache.features(index).keypoints.numpy())


def test_processes_read_at_the_same_time(tmp_path):
    """Also one that was forked while its parent had the file open."""
    cache = written(tmp_path / "c.h5", range(8))
    cache.features(0)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_read, args=(cache, 5, queue))
    process.start()
    for i in range(8):
        assert same(cache.features(i), made(i))
    np.testing.assert_array_equal(queue.get(timeout=60), made(5).keypoints.numpy())
    process.join()


def test_a_cache_is_sent_to_others_without_its_file(tmp_path):
    cache = written(tmp_path / "c.h5", range(3))
    cache.features(0)
    copy = pickle.loads(pickle.dumps(cache))
    cache.close()
    for reader in (copy, cache):
        assert same(reader.features(2), made(2))
