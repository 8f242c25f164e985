"""Every mistake is made, and read off the finding."""

from dataclasses import replace

import numpy as np
import pytest
import torch

SIZE = (1600, 1200)


def given(**changes):
    from photoglue.doctor import GivenFeatures

    random = np.random.default_rng(0)
    points = random.uniform(5, np.array(SIZE) - 5, (400, 2)).astype(np.float32)
    rows = random.normal(size=(400, 64))
    made = GivenFeatures(
        origin="mine",
        keypoints=points,
        descriptors=(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32),
        image_size=SIZE,
    )
    return replace(made, **{name: change(made) if callable(change) else change for name, change in changes.items()})


def found(features, size=SIZE, photo=None):
    from photoglue.doctor.files import file_findings

    return file_findings(features, torch.zeros(3, 8, 8) if photo is None else photo, size, "photoglue extract again")


def test_good_features_have_no_findings():
    assert found(given()) == []
    whole = given(keypoints=lambda made: made.keypoints.round())  # a detector of whole pixels is not half precision
    assert found(whole) == []
    few = given(keypoints=np.ones((1, 2)), descriptors=np.ones((1, 4)))
    none = given(keypoints=np.ones((0, 2)), descriptors=np.ones((0, 4)))
    assert found(few) == found(none) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": lambda made: made.keypoints / SIZE}, "shares of the width and height"),
        ({"keypoints": lambda made: made.keypoints / SIZE * 2 - 1}, "shares of the width and height"),
        ({"keypoints": lambda made: made.keypoints[:, ::-1]}, "x and y were swapped"),
        ({"image_size": SIZE[::-1]}, "width and height were swapped"),
        ({"keypoints": lambda made: 2 * made.keypoints}, "pixels of another size"),
        ({"keypoints": lambda made: made.keypoints / 2}, "pixels of a smaller copy"),
        ({"keypoints": lambda made: made.keypoints / 2, "image_size": (800, 600)}, "of another size of the photo"),
    ],
)
def test_coordinates(change, message):
    (finding,) = [each for each in found(given(**change)) if each.cause != "duplicates"]
    assert finding.cause == "coordinates"
    assert message in finding.advice
    assert finding.command == "photoglue extract again"


def test_half_precision():
    (finding,) = found(given(keypoints=lambda made: made.keypoints.astype(np.float16)))
    assert finding.cause == "half precision"
    assert "which are 1 px apart at 15" in finding.seen
    stored_as_float32 = given(keypoints=lambda made: made.keypoints.astype(np.float16).astype(np.float32))
    assert [each.cause for each in found(stored_as_float32)] == ["half precision"]
    small = given(keypoints=lambda made: (made.keypoints / 4).astype(np.float16), image_size=(400, 300))
    assert found(small, (400, 300)) == []  # fractions are left there


def test_not_finite():
    def spoilt(made):
        points = made.keypoints.copy()
        points[:7] = np.nan
        return points

    (finding,) = found(given(keypoints=spoilt))
    assert finding.cause == "half precision"
    assert "7 points have NaN or infinite values" in finding.seen


def test_duplicates():
    (finding,) = found(given(keypoints=lambda made: np.repeat(made.keypoints[:200], 2, axis=0)))
    assert finding.cause == "duplicates"
    assert finding.evidence["share"] == 1


def test_length_of_descriptors():
    (finding,) = found(given(descriptors=lambda made: 512 * made.descriptors))
    assert finding.cause == "descriptors"
    assert "have length 512" in finding.seen


def test_degrees():
    (finding,) = found(given(orientations=np.linspace(0, 360, 400)))
    assert finding.cause == "descriptors"
    assert "np.deg2rad" in finding.advice
    assert found(given(orientations=np.linspace(-np.pi, 2 * np.pi, 400))) == []


@pytest.fixture(scope="module")
def sift(astronaut):
    pytest.importorskip("cv2", exc_type=ImportError)
    from photoglue import create_extractor
    from photoglue.doctor.given import given_of
    from photoglue.image import load_image

    image = load_image(astronaut)[:, :256, :256]
    return given_of(create_extractor("sift", max_keypoints=300, resize=None).extract(image), "mine"), image


def squares(rows):
    return rows**2 / np.linalg.norm(rows**2, axis=1, keepdims=True)


def roots(rows):
    return np.sqrt(rows / rows.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(("change", "message"), [(roots, "RootSIFT was taken twice"), (squares, "expects RootSIFT")])
@pytest.mark.parametrize("kind", ["sift-opencv", None])
def test_roots_of_sift(sift, kind, change, message):
    features, image = sift
    assert found(features, (256, 256), image) == []
    (finding,) = found(replace(features, kind=kind, descriptors=change(features.descriptors)), (256, 256), image)
    assert finding.cause == "descriptors"
    assert message in finding.advice


def test_diameters(sift):
    features, image = sift
    (finding,) = found(replace(features, scales=2 * features.scales), (256, 256), image)
    assert finding.cause == "descriptors"
    assert finding.evidence["scale_ratio"] == pytest.approx(2, abs=0.05)
