"""Batches: the right pairs in the right order, whole after the journey, for any number of workers and processes."""

import pytest
import torch


def make(source, *, start=0, rank=0, count=1, prepare=None, **changes):
    from photoglue.training.batches import Batches
    from photoglue.training.config import TrainingConfig
    from photoglue.training.distributed import Processes

    config = TrainingConfig(**{"pairs": 100, "batch_size": 4, "workers": 0, **changes})
    processes = Processes(rank=rank, count=count, device=torch.device("cpu"))
    return Batches(source, config, processes, start=start, prepare=prepare)


def same(one, other):
    tensors = [
        (getattr(a, name), getattr(b, name))
        for a, b in ((one.features0, other.features0), (one.features1, other.features1))
        for name in ("keypoints", "descriptors", "scores")
    ]
    tensors.append((one.image1_from_image0, other.image1_from_image0))
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in tensors) and (
        one.features0.kind == other.features0.kind and one.features1.image_size == other.features1.image_size
    )


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
@pytest.mark.parametrize("workers", [0, 2])
def test_pairs_come_in_order_epoch_after_epoch(tiny_pairs, workers):
    source = tiny_pairs(length=6)
    batches = make(source, workers=workers)
    found = [pair for _ in range(4) for pair in next(batches)]
    batches.close()
    expected = [source.pair(number // 6, number % 6) for number in range(16)]
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


def test_a_later_start_gives_what_would_have_come(tiny_pairs):
    source = tiny_pairs()
    first, second = make(source), make(source, start=2)
    next(first), next(first)
    assert all(same(a, b) for a, b in zip(next(first), next(second), strict=True))


def test_processes_divide_a_batch(tiny_pairs):
    source = tiny_pairs()
    whole = next(make(source, start=1))
    parts = [pair for rank in (0, 1) for pair in next(make(source, start=1, rank=rank, count=2))]
    assert all(same(a, b) for a, b in zip(whole, parts, strict=True))


def test_posed_pairs_and_missing_fields_survive():
    from photoglue.geometry.camera import PinholeCamera
    from photoglue.structs import Features
    from photoglue.training.batches import PackedPairs
    from photoglue.training.pairs.base import PosedPair

    camera = PinholeCamera(fx=100.0, fy=101.0, cx=50.0, cy=40.0, image_size=(100, 80))

    def features(n):
        return Features(
            keypoints=torch.rand(n, 2), descriptors=torch.rand(n, 8).half(), scores=torch.rand(n),
            image_size=(100, 80), scales=torch.rand(n), orientations=None,
        )  # fmt: skip

    pairs = [
        PosedPair(
            features0=features(m), features1=features(n), depths0=torch.full((m,), torch.nan), depths1=torch.rand(n),
            camera0=camera, camera1=camera, cam1_from_cam0=torch.rand(4, 4, dtype=torch.float64),
        )
        for m, n in ((3, 5), (0, 2))
    ]  # fmt: skip
    packed = PackedPairs.pack(pairs)
    assert sorted(str(flat.dtype) for flat in packed.flat) == ["torch.float16", "torch.float32", "torch.float64"]
    for before, after in zip(pairs, packed.to(torch.device("cpu")).unpack(), strict=True):
        assert after.camera0 == camera
        assert after.depths0.isnan().all()
        assert after.features0.orientations is None
        assert after.features0.descriptors.dtype == torch.float16
        for name in ("depths1", "cam1_from_cam0"):
            assert torch.equal(getattr(before, name), getattr(after, name))
        assert torch.equal(before.features1.scales, after.features1.scales)


def test_a_part_of_a_larger_tensor_travels_alone(tiny_pairs):
    """A slice must not take along all that it was cut out of."""
    from photoglue.training.batches import PackedPairs

    pair = tiny_pairs(points=1000).pair(0, 0)
    from dataclasses import replace

    few = replace(pair, features0=pair.features0[:10], features1=pair.features1[:10])
    packed = PackedPairs.pack([few])
    assert sum(flat.numel() for flat in packed.flat) == 2 * 10 * (2 + 16 + 1) + 9


def test_waiting_is_measured(tiny_pairs, monkeypatch):
    import time

    source = tiny_pairs()
    batches = make(source)
    pair = source.pair
    monkeypatch.setattr(source, "pair", lambda *numbers: time.sleep(0.02) or pair(*numbers), raising=False)
    next(batches)
    assert 0.08 <= batches.waited_s < 1


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_source_arrives_as_it_is(tiny_pairs, workers, monkeypatch):
    from photoglue.errors import OutputError

    source = tiny_pairs()

    def broken(epoch, index):
        raise OutputError("the cache is damaged")

    monkeypatch.setattr(source, "pair", broken, raising=False)
    batches = make(source, workers=workers)
    with pytest.raises(OutputError, match=r"^the cache is damaged$"):
        next(batches)
    batches.close()


def test_what_cannot_be_divided_is_refused(tiny_pairs):
    from photoglue.errors import ConfigError

    with pytest.raises(ConfigError, match=r"4 pairs cannot be divided equally among 3 processes.*multiple of 3"):
        make(tiny_pairs(), count=3)
    with pytest.raises(ConfigError, match="no pairs to train on"):
        make(tiny_pairs(length=0))


@pytest.mark.parametrize("workers", [0, 1])
def test_pairs_are_prepared_where_they_are_read(tiny_pairs, workers):
    import os

    def prepare(pair, number):
        return pair.features0, torch.tensor(os.getpid())

    batches = make(tiny_pairs(), workers=workers, prepare=prepare)
    found = next(batches)
    batches.close()
    assert [len(features) for features, _ in found] == [20] * 4
    assert {int(process) == os.getpid() for _, process in found} == {workers == 0}


def test_a_reader_that_is_killed_is_no_riddle(tiny_pairs, monkeypatch):
    import os
    import signal

    from photoglue.errors import PhotoGlueError

    source = tiny_pairs()
    monkeypatch.setattr(source, "pair", lambda *_: os.kill(os.getpid(), signal.SIGKILL), raising=False)
    batches = make(source, workers=1)
    with pytest.raises(PhotoGlueError, match=r"killed for lack of memory.*last checkpoint, with fewer --workers"):
        next(batches)
    batches.close()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_readers_leave_signals_to_the_trainer(tiny_pairs, monkeypatch, name):
    """Terminals and batch systems send them to all processes of a job."""
    import os
    import signal

    source = tiny_pairs()
    pair = source.pair

    def interrupted(*place):
        os.kill(os.getpid(), getattr(signal, name))
        return pair(*place)

    monkeypatch.setattr(source, "pair", interrupted, raising=False)
    batches = make(source, workers=1)
    assert len(next(batches)) == 4
    batches.close()
