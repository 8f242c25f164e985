import os

import numpy as np
import PIL.Image
import pytest
import torch

from photoglue.datasets.base import DataSet
from photoglue.datasets.layouts import load_dataset
from photoglue.errors import ImageError, PhotoGlueWarning
from photoglue.evaluation.features import digest_of_features, feature_file, resize_to
from photoglue.extractors import SIFT, SIFTConfig
from photoglue.store import FeatureStore

OPTIONS = {"extractor": "sift", "resize": None, "resize_side": "long", "max_keypoints": 100}


class Counted:
    """Makes an extractor, and counts how many images were given to it."""

    def __init__(self, **options):
        self.count = 0
        self.options = options

    def __call__(self):
        model = SIFT(SIFTConfig(**{"max_keypoints": 100, "resize": None, **self.options}))
        detect = model.detect

        def counted(images, masks=None):
            self.count += len(images)
            return detect(images, masks)

        model.detect = counted
        return model


def silent(done, total):
    pass


@pytest.mark.slow
def test_extracted_once(planes, tmp_path):
    dataset, extractor, calls = load_dataset(planes), Counted(), []
    path = feature_file(dataset, extractor, OPTIONS, tmp_path, lambda done, total: calls.append((done, total)))
    assert calls[0] == (0, 6)
    assert calls[-1] == (6, 6)
    assert extractor.count == 6
    assert feature_file(dataset, extractor, OPTIONS, tmp_path, silent) == path
    assert extractor.count == 6
    with FeatureStore.open(path) as store:
        assert store.names() == sorted(dataset.sizes)
        direct = extractor().extract(planes / "v_0/1.png")
        assert torch.equal(store["v_0/1.png"].keypoints, direct.keypoints)


def test_other_options_have_a_file_of_their_own(planes, tmp_path):
    dataset, extractor = load_dataset(planes, max_pairs=1), Counted()
    first = feature_file(dataset, extractor, OPTIONS, tmp_path, silent)
    second = feature_file(dataset, extractor, {**OPTIONS, "max_keypoints": 50}, tmp_path, silent)
    third = feature_file(dataset, Counted(max_keypoints=50), OPTIONS, tmp_path, silent)
    assert len({first, second, third}) == 3
    assert extractor.count == 4


def test_a_changed_image_is_extracted_again(textured, tmp_path):
    """Its content counts: the same content at another time is no change, and another of the same size is one."""
    dataset, extractor = load_dataset(textured, max_pairs=1), Counted()
    path = feature_file(dataset, extractor, OPTIONS, tmp_path, silent)
    before = digest_of_features(path)
    os.utime(textured / "v_0/1.png", ns=(1, 1))
    assert feature_file(dataset, extractor, OPTIONS, tmp_path, silent) == path
    assert extractor.count == 2
    with PIL.Image.open(textured / "v_0/1.png") as picture:
        turned = picture.transpose(PIL.Image.Transpose.ROTATE_180)
    turned.save(textured / "v_0/1.png")
    with pytest.warns(PhotoGlueWarning, match="1 photo replaced since: extracted again"):
        assert feature_file(dataset, extractor, OPTIONS, tmp_path, silent) == path
    assert extractor.count == 3
    assert digest_of_features(path) != before


def test_an_image_that_cannot_be_read_is_an_error_when_the_others_are_done(textured, tmp_path):
    dataset, extractor = load_dataset(textured), Counted()
    good = (textured / "v_0/1.png").read_bytes()
    (textured / "v_0/1.png").write_bytes(good[:500])
    with pytest.raises(ImageError, match=r"v_0/1\.png' is damaged"):
        feature_file(dataset, extractor, OPTIONS, tmp_path, silent)
    count = extractor.count
    (textured / "v_0/1.png").write_bytes(good)
    feature_file(dataset, extractor, OPTIONS, tmp_path, silent)
    assert extractor.count == count + 1


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "noise", "group", "bits"])
def test_a_damaged_file_is_made_anew_with_a_notice(textured, tmp_path, damage):
    h5py = pytest.importorskip("h5py", exc_type=ImportError)

    dataset, extractor = load_dataset(textured), Counted()
    path, count = feature_file(dataset, extractor, OPTIONS, tmp_path, silent), extractor.count
    with FeatureStore.open(path) as store:
        before = store["v_1/2.png"]
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "bits":  # numbers that look like any others
        content = path.read_bytes()
        row = before.scores.numpy()[:16].tobytes()
        assert content.count(row) == 1
        path.write_bytes(content.replace(row, row[::-1]))
    elif damage == "noise":
        path.write_bytes(b"noise" * 100)
    else:
        with h5py.File(path, "a") as file:
            del file["v_1/2.png/descriptors"]
    with pytest.warns(PhotoGlueWarning, match="extracted again"):
        assert feature_file(dataset, extractor, OPTIONS, tmp_path, silent) == path
    assert extractor.count == count + (1 if damage in ("bits", "group") else count)
    with FeatureStore.open(path) as store:
        assert torch.equal(store["v_1/2.png"].descriptors, before.descriptors)


def test_an_interrupted_extraction_goes_on(planes, tmp_path):
    dataset = load_dataset(planes)

    class Killed(SIFT):
        def detect(self, images, masks=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        feature_file(dataset, lambda: Killed(SIFTConfig(resize=None)), OPTIONS, tmp_path, silent)
    path = feature_file(dataset, Counted(), OPTIONS, tmp_path, silent)
    with FeatureStore.open(path) as store:
        assert len(store.names()) == 6


def test_points_are_in_pixels_of_the_image_as_read(planes, tmp_path):
    """At half the size, the same blobs lie at the same places, and their scales are those of the photo."""
    dataset = load_dataset(planes, max_pairs=1)
    half = feature_file(dataset, Counted(), {**OPTIONS, "resize": 96, "resize_side": "short"}, tmp_path, silent)
    full = feature_file(dataset, Counted(), OPTIONS, tmp_path, silent)
    with FeatureStore.open(half) as store:
        small = store["v_0/1.png"]
    with FeatureStore.open(full) as store:
        large = store["v_0/1.png"]
    assert small.image_size == large.image_size == (256, 192)
    distances, nearest = torch.cdist(small.keypoints, large.keypoints).min(dim=1)
    assert (distances < 1).float().mean() > 0.3
    close = distances < 1
    ratio = (small.scales[close] / large.scales[nearest[close]]).median()
    assert 0.7 < float(ratio) < 1.4


def test_turned_images(textured, tmp_path):
    """The features of a turned image are those of a file that was turned beforehand."""
    dataset = load_dataset(textured, max_pairs=1)
    pixels = np.asarray(PIL.Image.open(textured / "v_0/1.png"))
    PIL.Image.fromarray(np.ascontiguousarray(np.rot90(pixels))).save(tmp_path / "turned.png")
    expected = Counted()().extract(tmp_path / "turned.png")
    turned = DataSet(
        name="turned",
        benchmark="homography",
        folder=dataset.folder,
        pairs=dataset.pairs,
        sizes=dataset.sizes,
        turns={"v_0/1.png": 1},
        image_set="1 pair",
    )
    with FeatureStore.open(feature_file(turned, Counted(), OPTIONS, tmp_path, silent)) as store:
        found = store["v_0/1.png"]
    assert found.image_size == (192, 256)
    assert torch.equal(found.keypoints, expected.keypoints)


def test_resize_to():
    assert resize_to((640, 480), "long", 320).resized_size == (320, 240)
    assert resize_to((640, 480), "short", 240).resized_size == (320, 240)
    assert resize_to((480, 641), "short", 960).resized_size == (960, 1282)
    assert resize_to((640, 480), "short", None).resized_size == (640, 480)
