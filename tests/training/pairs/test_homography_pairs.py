"""Pairs of views: true, varied, and the same for the same numbers."""

import pickle

import numpy as np
import PIL.Image
import pytest
import torch

from photoglue.datasets.photos import find_photos
from photoglue.errors import ConfigError
from photoglue.extractors.sift import SIFT, SIFTConfig
from photoglue.store import atomic_store
from photoglue.store.cache import CacheWriter, FeatureCache
from photoglue.structs import Features
from photoglue.training.pairs.homographies import HomographyConfig
from photoglue.training.pairs.homography_cache import HomographyCacheConfig, build_homography_cache
from photoglue.training.pairs.homography_pairs import HomographyPairs

pytest.importorskip("h5py", exc_type=ImportError)
pytest.importorskip("cv2", exc_type=ImportError)

VIEWS = (4, 2, 3)  # of each photo
POINTS = 30


@pytest.fixture
def cache(tmp_path):
    """Made up: image i has points at x = i, and its homography moves by 10 · i."""
    with atomic_store(tmp_path / "c.h5", {}, CacheWriter) as writer:
        photos = np.repeat([3, 5, 6], VIEWS)  # others gave nothing
        features = [
            Features(
                keypoints=torch.full((POINTS, 2), float(i)),
                descriptors=torch.rand(POINTS, 8),
                scores=torch.linspace(1, 0, POINTS),
                image_size=(640, 480),
            )
            for i in range(len(photos))
        ]
        moves = np.stack([np.array([[1, 0, 10 * i], [0, 1, 0], [0, 0, 1.0]]) for i in range(len(photos))])
        writer.append(features, steps=7, per_image={"photo": photos, "view_from_photo": moves})
    return FeatureCache.open(tmp_path / "c.h5")


def views(pair):
    return int(pair.features0.keypoints[0, 0]), int(pair.features1.keypoints[0, 0])


def stream(pairs, count):
    return [views(pairs.pair(*divmod(place, len(pairs)))) for place in range(count)]


@pytest.mark.parametrize("length", [None, 1, 7])
def test_every_ordered_pair_of_a_photo_comes_before_any_comes_again(cache, length):
    photo_of = cache.per_image("photo")
    pairs = HomographyPairs(cache, pairs_per_epoch=length)
    seen = stream(pairs, 3 * 24)
    assert all(one != other and photo_of[one] == photo_of[other] for one, other in seen)
    for start in range(0, len(seen), 3):  # all photos come before any comes again
        assert sorted(photo_of[one] for one, _ in seen[start : start + 3]) == [3, 5, 6]
    for photo, count in zip((3, 5, 6), VIEWS, strict=True):
        own = [pair for pair in seen if photo_of[pair[0]] == photo]
        cycle = count * (count - 1)
        for start in range(0, len(own), cycle):
            assert len(set(own[start : start + cycle])) == cycle
    four = [pair for pair in seen if photo_of[pair[0]] == 3]
    assert four[:12] != four[12:24]


def test_numbers_decide_and_not_what_was_asked_before(cache):
    first = HomographyPairs(cache, seed=5, pairs_per_epoch=10)
    wanted = [[views(first.pair(epoch, index)) for index in range(10)] for epoch in range(3)]
    again = HomographyPairs(cache, seed=5, pairs_per_epoch=10)
    for epoch, index in [(2, 9), (0, 0), (2, 0), (1, 4), (0, 9)]:
        assert views(again.pair(epoch, index)) == wanted[epoch][index]
    assert wanted[0] != wanted[1]
    other = HomographyPairs(cache, seed=6, pairs_per_epoch=10)
    assert [views(other.pair(0, index)) for index in range(10)] != wanted[0]
    copy = pickle.loads(pickle.dumps(first))
    assert views(copy.pair(1, 3)) == wanted[1][3]


def test_an_epoch_has_half_as_many_pairs_as_there_are_views(cache):
    assert len(HomographyPairs(cache)) == sum(VIEWS) // 2
    assert len(HomographyPairs(cache, pairs_per_epoch=100)) == 100


def test_the_homography_goes_from_view_0_to_view_1(cache):
    pairs = HomographyPairs(cache)
    for index in range(4):
        pair = pairs.pair(0, index)
        one, other = views(pair)
        moved = pair.image1_from_image0 @ torch.tensor([7.0, 5.0, 1.0], dtype=torch.float64)
        assert moved.tolist() == pytest.approx([7 + 10 * (other - one), 5, 1])
        assert pair.image1_from_image0.dtype == torch.float64


def test_fewer_points_the_best_or_a_random_choice(cache):
    best = HomographyPairs(cache, max_keypoints=8).pair(0, 0)
    assert torch.equal(best.features0.scores, torch.linspace(1, 0, POINTS)[:8])
    choices = HomographyPairs(cache, max_keypoints=8, selection="random")
    chosen = [choices.pair(epoch, index) for epoch in range(6) for index in range(4)]
    again = HomographyPairs(cache, max_keypoints=8, selection="random").pair(3, 2)
    assert torch.equal(again.features0.scores, chosen[14].features0.scores)
    assert torch.equal(again.features0.descriptors, chosen[14].features0.descriptors)
    scores = torch.cat([torch.stack([pair.features0.scores, pair.features1.scores]) for pair in chosen])
    assert scores.shape == (48, 8)
    assert len({tuple(row.tolist()) for row in scores}) == 48  # no two alike, nor the two of a pair
    assert all(len(row.unique()) == 8 for row in scores)
    assert scores.mean() == pytest.approx(0.5, abs=0.08)
    for options in ({"max_keypoints": POINTS}, {"max_keypoints": 99, "selection": "random"}, {}):
        assert len(HomographyPairs(cache, **options).pair(0, 0).features0) == POINTS


def test_what_cannot_be_is_refused(cache, tmp_path):
    with pytest.raises(ConfigError, match="max_keypoints is 0"):
        HomographyPairs(cache, max_keypoints=0)
    with pytest.raises(ConfigError, match="pairs_per_epoch is 0"):
        HomographyPairs(cache, pairs_per_epoch=0)
    with atomic_store(tmp_path / "none.h5", {}, CacheWriter) as writer:
        writer.append([], steps=3)
    with pytest.raises(ConfigError, match=r"none\.h5' holds no views of photos"):
        HomographyPairs(FeatureCache.open(tmp_path / "none.h5"))
    with atomic_store(tmp_path / "other.h5", {}, CacheWriter) as writer:
        writer.append([cache.features(0)], steps=1)
    with pytest.raises(ConfigError, match=r"other\.h5' holds no views of photos"):
        HomographyPairs(FeatureCache.open(tmp_path / "other.h5"))


@pytest.mark.slow
def test_points_of_real_views_land_on_each_other(tmp_path, astronaut, motorcycle):
    """The whole way, from a photo to a pair: nearest descriptors mostly lie within 3 pixels of the warped point."""
    for i, path in enumerate([astronaut, motorcycle[0]]):
        PIL.Image.open(path).save(tmp_path / f"{i}.png")
    config = HomographyCacheConfig(views=3, homographies=HomographyConfig(difficulty=0.5))
    extractor = SIFT(SIFTConfig(resize=None, nms_radius=3)).eval()
    build_homography_cache(find_photos(tmp_path), extractor, tmp_path / "c.h5", config)
    pairs = HomographyPairs(FeatureCache.open(tmp_path / "c.h5"), max_keypoints=512)
    right = total = 0
    for index in range(6):
        pair = pairs.pair(0, index)
        assert len(pair.features0) <= 512
        points = torch.nn.functional.pad(pair.features0.keypoints.double(), (0, 1), value=1.0)
        moved = points @ pair.image1_from_image0.T
        moved = moved[:, :2] / moved[:, 2:]
        similarity = pair.features0.descriptors @ pair.features1.descriptors.T
        best, partner = similarity.max(dim=1)
        mutual = (similarity.argmax(dim=0)[partner] == torch.arange(len(partner))) & (best > 0.9)
        errors = (pair.features1.keypoints[partner] - moved).norm(dim=1)[mutual]
        right += int((errors < 3).sum())
        total += len(errors)
    assert total > 300
    assert right > 0.7 * total


def test_with_photos_themselves_each_pair_has_one_on_either_side(tmp_path, cache):
    with atomic_store(tmp_path / "u.h5", {"unwarped": True}, CacheWriter) as writer:
        features = [cache.features(i) for i in range(len(cache))]
        columns = {name: cache.per_image(name) for name in ("photo", "view_from_photo")}
        writer.append(features, steps=7, per_image=columns)
    pairs = HomographyPairs(FeatureCache.open(tmp_path / "u.h5"), pairs_per_epoch=18)
    found = [views(pairs.pair(0, i)) for i in range(18)]
    firsts = {0, 4, 6}  # of photos with 4, 2 and 3 views
    assert all(len(firsts & set(pair)) == 1 for pair in found)
    of_first = [pair for pair in found if set(pair) & set(range(4))]
    assert sorted(of_first) == [(0, 1), (0, 2), (0, 3), (1, 0), (2, 0), (3, 0)]
