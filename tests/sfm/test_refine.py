"""A texture seen in four photos, each shifted by known fractions of a pixel and darker than the last."""

import pickle

import pytest
import torch

from photoglue.batch.engine import Engine
from photoglue.errors import ConfigError
from photoglue.sfm import refine
from photoglue.sfm.refine import Shifts, agreed, refine_keypoints, refine_stored
from photoglue.sfm.verified import PairKind, VerifiedPair, VerifiedStore
from photoglue.store import FeatureStore
from photoglue.structs import Features

PLACES = {"a": (0.0, 0.0), "b": (3.3, -1.7), "c": (-2.6, 4.4), "d": (5.15, 2.85)}


@pytest.fixture(scope="module")
def scene():
    """Photos, the true keypoints, the keypoints as an extractor finds them, and matches of neighbours alone."""
    generator = torch.Generator().manual_seed(1)
    y, x = torch.meshgrid(torch.arange(100.0), torch.arange(120.0), indexing="ij")
    grid = torch.stack([x, y], dim=-1)
    waves = torch.randn(25, 2, generator=generator) * 0.25
    phases = 6 * torch.rand(25, generator=generator)
    photos, true, found = {}, {}, {}
    points = torch.rand(50, 2, generator=generator) * torch.tensor([90.0, 70.0]) + 15
    for i, (name, place) in enumerate(PLACES.items()):
        shift = torch.tensor(place)
        photos[name] = ((0.5 + 0.06 * ((grid - shift) @ waves.T + phases).sin().sum(dim=-1)) * (1 - 0.1 * i)).clamp(
            0, 1
        )
        true[name] = points + shift
        found[name] = true[name] + 0.3 * torch.randn(50, 2, generator=generator)
    same = torch.arange(50)[:, None].expand(50, 2)
    return photos, true, found, {("a", "b"): same, ("b", "c"): same, ("c", "d"): same, ("a", "d"): same}


def spread(keypoints):
    """How far the keypoints of each track are from each other once the shifts of the photos are taken off."""
    places = torch.stack([keypoints[name] - torch.tensor(place) for name, place in PLACES.items()])
    return (places - places.mean(dim=0)).norm(dim=2).amax(dim=0)


def test_tracks_agree(scene):
    photos, _, found, pairs = scene
    told = []
    result = refine_keypoints(photos, found, pairs, resize=None, progress=lambda *how_far: told.append(how_far))
    refined = result.keypoints
    assert told == [(4, 4)]
    assert spread(found).median() > 0.4
    assert spread(refined).median() < 0.08
    assert all(result.agreeing[pair].float().mean() > 0.9 for pair in pairs)
    # Tracks stay about where they were.
    middle = torch.stack([refined[name] - found[name] for name in PLACES]).mean(dim=0)
    assert middle.norm(dim=1).median() < 0.1


def test_keypoints_without_matches_stay(scene):
    photos, _, found, pairs = scene
    some = {pair: indices[:30] for pair, indices in pairs.items()}
    refined = refine_keypoints(photos, found, some, resize=None).keypoints
    for name in PLACES:
        assert torch.equal(refined[name][30:], found[name][30:])
        assert not torch.equal(refined[name][:30], found[name][:30])
    assert all(torch.equal(refine_keypoints(photos, found, {}).keypoints[name], found[name]) for name in PLACES)
    nothing = refine_keypoints(photos, found, {("a", "b"): torch.zeros(0, 2, dtype=torch.int64)}).keypoints
    assert all(torch.equal(nothing[name], found[name]) for name in PLACES)


def test_the_same_in_chunks_elsewhere(scene, monkeypatch):
    """Each pair alone, from what another process would get."""
    photos, _, found, pairs = scene
    together = refine_keypoints(photos, found, pairs, resize=None).keypoints

    class Elsewhere(Engine):
        def map(self, work, state, chunks):
            state = pickle.loads(pickle.dumps(state))
            yield from [(key, pickle.loads(pickle.dumps(work(state, chunks[key])))) for key in reversed(chunks)]

    monkeypatch.setattr(refine, "PAIRS_AT_ONCE", 1)
    apart = refine_keypoints(photos, found, pairs, resize=None, engine=Elsewhere()).keypoints
    assert all(torch.equal(together[name], apart[name]) for name in PLACES)


def test_a_wrong_match_is_outvoted():
    """Three photos of a point: two pairs want it to move by 0.2 and 0.5 in all, the third disagrees by 2 pixels."""

    def pair(left, right, x):
        nodes, shifts = torch.tensor([[left, right]]), torch.tensor([[x, 0.0]])
        return Shifts(rows=torch.tensor([0]), nodes=nodes, shifts=shifts, affines=torch.eye(2)[None])

    right = [pair(0, 1, 0.2), pair(1, 2, 0.3), pair(0, 2, 0.5), pair(0, 3, 0.1), pair(1, 3, -0.1), pair(2, 3, -0.4)]
    moves = agreed([*right, pair(3, 2, -2.0)], 5)
    assert (moves[1] - moves[0])[0] == pytest.approx(0.2, abs=0.05)
    assert (moves[2] - moves[0])[0] == pytest.approx(0.5, abs=0.05)
    assert moves[:, 1].abs().max() == 0
    assert moves[4].tolist() == [0, 0]


def test_wrong_matches_do_not_agree(scene):
    photos, _, found, pairs = scene
    wrong = torch.stack([torch.arange(50), torch.arange(50)], dim=1)
    wrong[:10, 1] = wrong[:10, 1].flip(0)
    agreeing = refine_keypoints(photos, found, {**pairs, ("a", "d"): wrong}, resize=None).agreeing["a", "d"]
    assert not agreeing[:10].any()
    assert agreeing[10:].float().mean() > 0.9


def test_a_photo_that_is_missing(scene):
    photos, _, found, pairs = scene
    with pytest.raises(ConfigError, match="'d' is in a pair"):
        refine_keypoints({name: photos[name] for name in "abc"}, found, pairs)


def test_files_as_tensors(scene, tmp_path):
    """What is read from the stores gives what the tensors give."""
    pytest.importorskip("h5py", exc_type=ImportError)
    photos, _, found, pairs = scene
    with FeatureStore.open(tmp_path / "f.h5", "a") as store:
        for name, keypoints in found.items():
            empty = {"descriptors": torch.zeros(50, 4), "scores": torch.ones(50)}
            store.write(name, Features(keypoints=keypoints, image_size=(120, 100), **empty))
    with VerifiedStore.open(tmp_path / "v.h5", "a") as verified:
        for pair, inliers in pairs.items():
            kind, rows = PairKind.UNCALIBRATED, inliers.numpy().astype("uint32")
            verified.write(*pair, VerifiedPair(kind=kind, inliers=rows, n_matches=len(rows)))
    moved = refine_stored(photos, tmp_path / "f.h5", tmp_path / "v.h5", pairs, resize=None)
    wanted = refine_keypoints(photos, found, pairs, resize=None).keypoints
    assert moved.keys() == wanted.keys()
    assert all(torch.allclose(moved[name], wanted[name], atol=1e-5) for name in wanted)
