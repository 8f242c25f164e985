"""From photos to features of views: true to the photos, the same however it is built, refusing what does not fit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from photoglue.datasets.photos import find_photos, read_photo
from photoglue.errors import ConfigError
from photoglue.extractors.sift import SIFT, SIFTConfig
from photoglue.store.cache import FeatureCache
from photoglue.training.pairs import homography_cache as module
from photoglue.training.pairs.homographies import HomographyConfig
from photoglue.training.pairs.homography_cache import HomographyCacheConfig, build_homography_cache, photo_views

h5py = pytest.importorskip("h5py", exc_type=ImportError)
cv2 = pytest.importorskip("cv2", exc_type=ImportError)

SMALL = HomographyConfig(patch_size=(200, 150))
CONFIG = HomographyCacheConfig(views=3, max_keypoints=120, min_keypoints=20, homographies=SMALL)


def sift():
    return SIFT(SIFTConfig(resize=None, nms_radius=3)).eval()


@pytest.fixture(scope="module")
def photos(tmp_path_factory, astronaut, motorcycle):
    """Parts of real photos, one of a single colour, and one cut off."""
    root = tmp_path_factory.mktemp("photos")
    whole = PIL.Image.open(astronaut)
    for i, box in enumerate([(0, 0, 250, 200), (150, 0, 350, 250), (262, 200, 512, 400)]):
        whole.crop(box).save(root / f"astronaut{i}.png")
    PIL.Image.open(motorcycle[0]).resize((370, 250)).save(root / "motorcycle.png")
    PIL.Image.new("RGB", (300, 200), (90, 120, 60)).save(root / "plain.png")
    (root / "cut.png").write_bytes(Path(astronaut).read_bytes()[:200_000])
    return find_photos(root)


@pytest.fixture(scope="module")
def built(photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "cache.h5"
    return build_homography_cache(photos, sift(), path, CONFIG)


def content(path):
    """All datasets."""
    with h5py.File(path) as file:
        found = {}
        file.visititems(
            lambda name, item: found.__setitem__(name, item[()]) if isinstance(item, h5py.Dataset) else None
        )
        return found


def assert_same_content(one, other):
    left, right = content(one), content(other)
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)


@pytest.mark.slow
def test_the_summary_counts_and_lists(built, photos):
    assert (built.photos, built.images) == (4, 12)
    assert [photo.name for photo in built.skipped] == ["cut.png", "plain.png"]
    assert built.skipped[0].reason.startswith("unreadable: ")
    assert built.skipped[1].reason == (
        "too few points: 0 of its 3 views have 20 or more, and 2 are needed; the best has 0"
    )
    assert built.bytes == built.path.stat().st_size
    cache = FeatureCache.open(built.path)
    assert built.points == cache.per_image("count").sum()
    assert cache.kind == "sift-opencv"
    assert cache.committed.steps == len(photos)
    np.testing.assert_array_equal(cache.per_image("photo"), np.repeat([0, 1, 2, 4], 3))
    np.testing.assert_array_equal(cache.per_image("view"), np.tile([0, 1, 2], 4))


@pytest.mark.slow
def test_features_are_those_of_the_views_best_first(built, photos):
    cache = FeatureCache.open(built.path)
    for image in (0, 7):
        number, view = int(cache.per_image("photo")[image]), int(cache.per_image("view")[image])
        again = list(photo_views(read_photo(photos.path(number)), number, CONFIG))[view]
        np.testing.assert_array_equal(cache.per_image("view_from_photo")[image], again.view_from_photo)
        wanted, found = sift().extract(again.image), cache.features(image)
        order = wanted.scores.argsort(descending=True, stable=True)[: CONFIG.max_keypoints]
        assert len(found) == min(CONFIG.max_keypoints, len(wanted)) > 30
        assert torch.equal(found.keypoints, wanted.keypoints[order])
        assert torch.equal(found.scales, wanted.scales[order])
        assert (found.descriptors - wanted.descriptors[order]).abs().max() < 2.5e-4
        assert (found.scores.diff() <= 0).all()
        assert found.image_size == (200, 150)


def test_no_two_points_are_closer_than_the_radius(built):
    """Contradicting labels otherwise; the radius is SIFT's, along both axes."""
    cache = FeatureCache.open(built.path)
    for image in range(len(cache)):
        points = cache.features(image).keypoints
        distances = torch.cdist(points, points, p=torch.inf).fill_diagonal_(99)
        assert distances.min() > 2


def test_views_show_the_photo_as_their_homography_says(photos, motorcycle):
    """Without other changes; a photo larger than the limit is made smaller on the way."""
    photo = read_photo(motorcycle[0])  # 741 × 497
    for longest in (None, 300):
        config = replace(CONFIG, photometric=0.0, longest_side=longest, homographies=HomographyConfig(difficulty=0.5))
        for view in photo_views(photo, 0, config):
            wanted = cv2.warpPerspective(photo, view.view_from_photo, (640, 480))
            difference = cv2.blur(wanted, (5, 5)).astype(float) - cv2.blur(view.image, (5, 5))
            shifted = cv2.blur(np.roll(wanted, 3, axis=1), (5, 5)).astype(float) - cv2.blur(view.image, (5, 5))
            assert np.abs(difference)[20:-20, 20:-20].mean() < (0.5 if longest is None else 5)
            assert np.abs(difference).mean() < 0.8 * np.abs(shifted).mean()


def test_the_way_back_from_a_smaller_photo_is_exact():
    """To a hundredth of a pixel, of a blob: a forgotten half pixel of 1024 / 300 would show."""
    y, x = np.mgrid[0:768, 0:1024]
    blob = (255 * np.exp(-((x - 500) ** 2 + (y - 400) ** 2) / (2 * 20**2))).astype(np.uint8)
    config = replace(CONFIG, photometric=0.0, longest_side=300, homographies=HomographyConfig(difficulty=0.2))
    for view in photo_views(np.repeat(blob[..., None], 3, axis=2), 0, config):
        weights = view.image[..., 0].astype(np.float64)
        weights[weights < 100] = 0
        rows, columns = np.mgrid[0:480, 0:640]
        middle = np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()
        place = view.view_from_photo @ [500, 400, 1]
        assert np.abs(middle - place[:2] / place[2]).max() < 0.15


def test_each_view_is_changed_on_its_own(photos):
    """Half of the views or more look different from the plain warp, and not all alike."""
    photo = read_photo(photos.path(0))
    config = replace(CONFIG, views=40)
    pairs = zip(photo_views(photo, 0, config), photo_views(photo, 0, replace(config, photometric=0.0)), strict=True)
    levels = []
    for changed, plain in pairs:
        np.testing.assert_array_equal(changed.view_from_photo, plain.view_from_photo)
        levels.append(float(changed.image.mean() / plain.image.mean()))
    unchanged = np.mean([level == 1 for level in levels])
    assert 0.2 < unchanged < 0.7
    assert len(set(levels)) > 15


def test_numbers_decide_and_nothing_else(photos):
    photo = read_photo(photos.path(0))
    first = list(photo_views(photo, 3, CONFIG))
    for number, config, equal in (
        (3, CONFIG, True),
        (3, replace(CONFIG, views=5), True),
        (4, CONFIG, False),
        (3, replace(CONFIG, seed=1), False),
    ):
        for view, again in zip(first, photo_views(photo, number, config), strict=False):
            assert (view.view_from_photo == again.view_from_photo).all() == equal
            assert (view.image == again.image).all() == equal


@pytest.mark.slow
def test_workers_change_nothing(built, photos, tmp_path):
    seen = []
    summary = build_homography_cache(
        photos, sift(), tmp_path / "c.h5", CONFIG, workers=2, progress=lambda *state: seen.append(state)
    )
    assert replace(summary, path=built.path) == built
    assert_same_content(summary.path, built.path)
    assert seen == [(i, 6) for i in range(7)]


@pytest.mark.slow
@pytest.mark.parametrize("commit", [1, 2])
def test_interrupted_anywhere_and_resumed_is_the_same(built, photos, tmp_path, monkeypatch, commit):
    """Interrupted again and again, each time a little later, before or after something was committed."""
    monkeypatch.setattr("photoglue.training.pairs.caches.PHOTOS_PER_COMMIT", commit)
    path, starts = tmp_path / "c.h5", []

    def interrupt(done, count):
        starts.append(done)
        if len(starts) > commit + 1:
            raise KeyboardInterrupt

    for _ in range(10):
        starts.clear()
        try:
            build_homography_cache(photos, sift(), path, CONFIG, progress=interrupt)
        except KeyboardInterrupt:
            assert not path.exists()
        else:
            break
    assert starts[0] > 0  # the last run began late
    assert_same_content(path, built.path)


def test_what_is_there_is_not_built_again(built, photos, monkeypatch):
    monkeypatch.setattr(module, "photo_views", None)
    again = build_homography_cache(photos, sift(), built.path, CONFIG)
    assert again == built


def test_other_options_and_photos_are_refused(built, photos, tmp_path):
    for others, extractor, config, message in (
        (photos, sift(), replace(CONFIG, views=4), r"\(views: 3 there, 4 now\)"),
        (photos, sift(), replace(CONFIG, homographies=HomographyConfig(patch_size=None)), r"homographies\.patch_size"),
        (photos, SIFT(SIFTConfig(resize=None, nms_radius=0)).eval(), CONFIG, r"features\.nms_radius: 3 there, 0 now"),
        (replace(photos, names=photos.names[:-1]), sift(), CONFIG, r"photos\.count: 6 there, 5 now"),
    ):
        with pytest.raises(ConfigError, match=rf"made with other options .*{message}"):
            build_homography_cache(others, extractor, built.path, config)
    # The same for what an interrupted run left.
    shutil.copy(built.path, tmp_path / "c.h5.partial")
    with pytest.raises(ConfigError, match=r"c\.h5\.partial' was made with other options \(seed: 0 there, 1 now\)"):
        build_homography_cache(photos, sift(), tmp_path / "c.h5", replace(CONFIG, seed=1))


def test_a_cache_of_another_folder_with_the_same_names_is_refused(built, photos, tmp_path):
    for name in photos.names:
        shutil.copy(photos.root / name, tmp_path)
    copied = replace(photos, root=tmp_path)
    assert build_homography_cache(copied, sift(), built.path, CONFIG) == built
    with PIL.Image.open(tmp_path / "motorcycle.png") as picture:
        turned = picture.transpose(PIL.Image.Transpose.ROTATE_180)
    turned.save(tmp_path / "motorcycle.png")
    with pytest.raises(ConfigError, match=r"options \(photos\.content: '\w+' there, '\w+' now\)\. Give another"):
        build_homography_cache(copied, sift(), built.path, CONFIG)


def test_a_cache_that_does_not_know_what_was_in_its_photos_is_refused_by_what_it_lacks(built, photos, tmp_path):
    """As an earlier version made it."""
    path = Path(shutil.copy(built.path, tmp_path))
    with h5py.File(path, "a") as file:
        options = json.loads(file.attrs["options"])
        del options["photos"]["content"]
        file.attrs["options"] = json.dumps(options)
    with pytest.raises(ConfigError, match=r"options \(photos\.content: 'absent' there, '\w+' now\)\. Give another"):
        build_homography_cache(photos, sift(), path, CONFIG)


def test_photos_without_points_make_an_empty_cache(photos, tmp_path):
    plain = replace(photos, names=("plain.png",))
    summary = build_homography_cache(plain, sift(), tmp_path / "c.h5", CONFIG)
    assert (summary.photos, summary.images, summary.points, len(summary.skipped)) == (0, 0, 0, 1)


def test_options_that_make_no_sense_are_refused(photos, tmp_path):
    for options, message in (
        ({"views": 1}, "views is 1; a pair needs at least 2"),
        ({"seed": -1}, "seed is -1"),
        ({"min_keypoints": 0}, "min_keypoints is 0 and max_keypoints 120"),
        ({"max_keypoints": 10}, "min_keypoints is 20 and max_keypoints 10"),
        ({"photometric": 1.5}, r"photometric is 1\.5"),
        ({"longest_side": 1}, "longest_side is 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            replace(CONFIG, **options)
    with pytest.raises(ConfigError, match="workers is -1"):
        build_homography_cache(photos, sift(), tmp_path / "c.h5", CONFIG, workers=-1)


@pytest.mark.slow
def test_the_first_view_may_be_the_photo_itself(photos, tmp_path):
    config = replace(CONFIG, unwarped=True, photometric=0.0)
    photo = read_photo(photos.path(0))
    first, *others = photo_views(photo, 0, config)
    assert np.array_equal(first.image, photo)
    assert np.allclose(first.view_from_photo, np.eye(3))
    assert [view.image.shape[:2] for view in others] == [(150, 200)] * 2
    summary = build_homography_cache(photos, sift(), tmp_path / "c.h5", config)
    cache = FeatureCache.open(tmp_path / "c.h5")
    assert summary.photos == len(set(cache.per_image("photo")))
    whole = cache.per_image("view_from_photo")[cache.per_image("view") == 0]
    assert len(whole) == summary.photos
    assert np.allclose(whole, np.eye(3))
