"""Pairs labelled by a teacher: found, kept, resumed, and read again."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from photoglue.errors import ConfigError, OutputError
from photoglue.extractors.sift import SIFT, SIFTConfig
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.pipeline import Pipeline
from photoglue.training.ground_truth import EXACT_RULES, errors_of, label
from photoglue.training.pairs import distilled as module
from photoglue.training.pairs.distilled import (
    DistilledConfig,
    PhotoCacheConfig,
    Seen,
    alike,
    build_distilled,
)
from photoglue.training.pairs.distilled_pairs import DistilledPairs

pytest.importorskip("h5py", exc_type=ImportError)
pytest.importorskip("cv2", exc_type=ImportError)

CACHE = PhotoCacheConfig(max_keypoints=200, min_keypoints=20)
CONFIG = DistilledConfig(neighbors=2, min_seen=30)


def sift(points=300):
    return SIFT(SIFTConfig(resize=None, max_keypoints=points)).eval()


def teacher():
    return Pipeline(sift(), NearestNeighbor(ratio=0.8))


@pytest.fixture(scope="module")
def photos(tmp_path_factory, astronaut, motorcycle):
    """Three parts of one photo, some pixels apart, and two photos of other things."""
    root = tmp_path_factory.mktemp("photos")
    whole = PIL.Image.open(astronaut)
    for i, (x, y) in enumerate([(0, 0), (40, 20), (90, 30)]):
        whole.crop((x, y, x + 300, y + 260)).save(root / f"a{i}.png")
    PIL.Image.open(motorcycle[0]).resize((320, 220)).save(root / "b.png")
    PIL.Image.new("RGB", (300, 200), (90, 120, 60)).save(root / "plain.png")
    return {path.name: path for path in sorted(root.iterdir())}


@pytest.fixture(scope="module")
def built(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distilled") / "cache"
    summary = build_distilled(photos, teacher(), sift(), folder, config=CONFIG, cache=CACHE)
    return folder, summary


@pytest.mark.slow
def test_photos_of_one_place_are_paired_and_their_matches_are_true(built):
    folder, summary = built
    assert (summary.photos, [photo.name for photo in summary.skipped]) == (4, ["plain.png"])
    seen = Seen.read(folder / "seen.npz")
    assert sorted(map(tuple, seen.photos.tolist())) == [(0, 1), (0, 2), (1, 2)]
    first = seen.points[: seen.ends[0]]
    i, j = seen.photos[0]
    shift = np.array([(0, 0), (40, 20), (90, 30)])
    off = np.abs(first[:, :2] + shift[i] - first[:, 2:] - shift[j]).max(axis=1)
    assert np.median(off) < 0.5
    assert (off < 1.5).mean() > 0.9  # a wrong one may fit by chance


@pytest.mark.slow
def test_labels_are_points_that_show_the_same(built):
    pairs = DistilledPairs(built[0], max_keypoints=150)
    for row in pairs.rows:
        pair = pairs.example(int(row))
        labels = label(pair, EXACT_RULES)
        assert int((labels.matches0 >= 0).sum()) > 30
        assert errors_of(pair, labels).octaves.abs().median() < 0.1


@pytest.mark.slow
def test_what_is_there_is_left_alone_and_other_options_make_it_again(built, photos, monkeypatch, tmp_path):
    folder, summary = built
    monkeypatch.setattr(module, "extract", lambda *_, **__: pytest.fail("the teacher looked again"))
    again = build_distilled(photos, teacher(), sift(), folder, config=CONFIG, cache=CACHE)
    assert again == summary
    with pytest.raises(pytest.fail.Exception, match="looked again"):
        build_distilled(photos, teacher(), sift(), folder, config=DistilledConfig(neighbors=1), cache=CACHE)


@pytest.mark.slow
def test_variants_have_the_labels_of_their_photos(photos, built, tmp_path):
    for name in ("teacher.h5", "matches.h5", "seen.npz"):
        (tmp_path / name).write_bytes((built[0] / name).read_bytes())
    cache = PhotoCacheConfig(max_keypoints=200, min_keypoints=20, variants=2)
    summary = build_distilled(photos, teacher(), sift(), tmp_path, config=CONFIG, cache=cache)
    assert summary.photos == 4
    assert summary.images > 4


def test_photos_are_alike_by_any_kind_of_features(built, photos):
    assert {("a0.png", "a1.png"), ("a1.png", "a2.png")} <= set(alike(built[0] / "teacher.h5", sorted(photos), 1))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: DistilledConfig(neighbors=0), ConfigError, "neighbors is 0; it must be at least 1"),
        (lambda: DistilledConfig(min_seen=5), ConfigError, "min_seen is 5; it must be at least 8"),
        (lambda: DistilledConfig(threshold_px=0.0), ConfigError, "positive number of pixels"),
        (lambda: PhotoCacheConfig(variants=0), ConfigError, "variants is 0"),
        (lambda: Seen.read(Path("nowhere.npz")), OutputError, "made again"),
    ],
)
def test_what_cannot_be(as_a_user, make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_what_gives_no_pair(as_a_user, photos, tmp_path):
    with pytest.raises(ConfigError, match="1 photos make no pair"):
        build_distilled({"b.png": photos["b.png"]}, teacher(), sift(), tmp_path)
    different = {name: photos[name] for name in ("a0.png", "b.png")}
    with pytest.raises(ConfigError, match=r"none of 1 pairs .* 30 matches"):
        build_distilled(different, teacher(), sift(), tmp_path, config=CONFIG, cache=CACHE)
