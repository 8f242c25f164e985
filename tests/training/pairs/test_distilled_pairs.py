"""Pairs of a teacher: varied, and the same for the same numbers."""

import pickle

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError
from photoglue.store import atomic_store
from photoglue.store.cache import CacheWriter
from photoglue.structs import Features
from photoglue.training.pairs.distilled_pairs import DistilledPairs

pytest.importorskip("h5py", exc_type=ImportError)


@pytest.fixture
def built(tmp_path):
    """Made up: photos 0 to 2 in the cache, 3 not; the pair (i, j) has 10 · i + j matches."""
    generator = torch.Generator().manual_seed(0)
    with atomic_store(tmp_path / "cache.h5", {}, CacheWriter) as writer:
        features = [
            Features(
                keypoints=torch.rand(150, 2, generator=generator) * 400,
                descriptors=torch.rand(150, 8, generator=generator),
                scores=torch.linspace(1, 0, 150),
                image_size=(640, 480),
            )
            for _ in range(3)
        ]
        numbers = {"photo": np.arange(3), "variant": np.zeros(3, np.int64)}
        writer.append(features, steps=3, per_image=numbers)
    photos = np.array([(0, 1), (0, 2), (1, 2), (1, 3)])
    ends = np.cumsum(photos @ [10, 1])
    points = np.random.default_rng(0).random((ends[-1], 4), np.float32)
    np.savez(tmp_path / "seen.npz", photos=photos, ends=ends, points=points)
    return (tmp_path,)


def test_pairs_without_features_are_left_out(as_a_user, built):
    assert DistilledPairs(built[0]).rows.tolist() == [0, 1, 2]
    with pytest.raises(ConfigError, match="No pair of photos"):
        DistilledPairs(built[0], rows=np.array([3]))
    with pytest.raises(ConfigError, match="max_keypoints is 0"):
        DistilledPairs(built[0], max_keypoints=0)


def test_all_pairs_come_in_each_epoch_with_either_photo_first_and_again_the_same(built):
    pairs = pickle.loads(pickle.dumps(DistilledPairs(built[0], max_keypoints=100, selection="random")))
    sizes = {len(pairs.pair(epoch, i).features0) for epoch in range(2) for i in range(len(pairs))}
    assert sizes == {100}
    one, again = pairs.pair(1, 2), DistilledPairs(built[0], max_keypoints=100, selection="random").pair(1, 2)
    assert torch.equal(one.features0.keypoints, again.features0.keypoints)
    assert torch.equal(one.seen1, again.seen1)
    counts = {len(pairs.pair(3, i).seen0) for i in range(3)}
    assert counts == {len(pairs.example(int(row)).seen0) for row in pairs.rows}
    example = pairs.example(0)
    swapped = [pair for epoch in range(20) if (pair := _with(pairs, epoch, example)) is not None]
    assert 3 < len(swapped) < 17


def _with(pairs, epoch, example):
    """The pair of an epoch that has the example's photos in the other order."""
    for i in range(len(pairs)):
        pair = pairs.pair(epoch, i)
        if torch.equal(pair.seen0, example.seen1):
            return pair
    return None
