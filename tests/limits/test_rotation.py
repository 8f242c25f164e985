"""Photos turned by quarters: their features are where they were, and match what they match upright."""

import math

import numpy as np
import PIL.Image
import pytest
import torch
from tests.helpers.tiny_photos import Bright

from photoglue.decode import Photo
from photoglue.errors import ConfigError, ShapeError
from photoglue.extractors.base import ExtractorConfig
from photoglue.image import load_photo
from photoglue.limits.rotation import extract_turned, turned_back, turned_photo, with_options
from photoglue.structs import Features

SIZE = 31, 20
"""Width and height."""


@pytest.fixture
def image():
    """A dark photo with bright pixels, each of its own brightness."""
    pixels = torch.zeros(1, SIZE[1], SIZE[0])
    for number, (x, y) in enumerate([(3, 2), (27, 4), (15, 10), (1, 18)]):
        pixels[0, y, x] = 0.5 + 0.1 * number
    return pixels


def by_brightness(features):
    return features.keypoints[features.descriptors[:, 0].argsort()]


class TestExtract:
    @pytest.mark.parametrize("quarters", [0, 1, 2, 3])
    def test_points_are_where_they_were(self, image, quarters):
        upright = Bright().extract(image)
        (turned,) = extract_turned(Bright(), [image], [quarters])
        assert len(turned) == 4
        assert turned.image_size == upright.image_size == SIZE
        assert torch.equal(by_brightness(turned), by_brightness(upright))

    def test_each_photo_by_its_own_quarters(self, image):
        one, other = extract_turned(Bright(), [image, image], [1, 2])
        assert torch.equal(by_brightness(one), by_brightness(other))
        assert (one.quarters, other.quarters) == (1, 2)

    @pytest.mark.parametrize("quarters", [1, 2])
    def test_masks_are_those_of_the_upright_photo(self, image, quarters):
        mask = torch.zeros(SIZE[1], SIZE[0], dtype=torch.bool)
        mask[:6] = True
        (found,) = extract_turned(Bright(), [image], [quarters], [mask])
        assert by_brightness(found).tolist() == [[3, 2], [27, 4]]

    def test_a_stored_turn_stays_known(self, image, tmp_path):
        exif = PIL.Image.Exif()
        exif[PIL.ExifTags.Base.Orientation] = 6
        stored = (torch.rot90(image[0], 1) * 255).byte().numpy()
        PIL.Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
        (found,) = extract_turned(Bright(), [tmp_path / "a.png"], [3])
        assert (found.exif_orientation, found.image_size) == (6, SIZE)
        assert torch.equal(by_brightness(found), by_brightness(Bright().extract(image)))

    def test_transparent_parts_are_turned_too(self, image):
        opaque = torch.ones(SIZE[1], SIZE[0], dtype=torch.bool)
        opaque[:6] = False
        (found,) = extract_turned(Bright(), [Photo(image=image, opaque=opaque)], [1])
        assert by_brightness(found).tolist() == [[15, 10], [1, 18]]

    def test_what_is_wrong_is_said(self, image):
        with pytest.raises(ConfigError, match="quarters is 4; a photo is turned by 0, 1, 2 or 3"):
            extract_turned(Bright(), [image], [4])
        with pytest.raises(ShapeError, match="1 images, 2 numbers of quarters and 1 masks"):
            extract_turned(Bright(), [image], [0, 1])


class TestTurned:
    @pytest.mark.parametrize("quarters", [0, 1, 2, 3])
    def test_points_and_directions_go_back(self, quarters):
        """A point in the top right corner that looks to the right, turned counterclockwise, and back."""
        photo = turned_photo(Photo(image=torch.zeros(1, SIZE[1], SIZE[0])), quarters)
        height, width = photo.image.shape[1:]
        place = [(30.0, 0.0), (0.0, 0.0), (0.0, 19.0), (19.0, 30.0)][quarters]
        features = Features.from_arrays(
            np.array([place]), np.zeros((1, 2)), (width, height), orientations=np.array([-quarters * math.pi / 2])
        )
        back = turned_back(features, quarters)
        assert back.keypoints.tolist() == [[30, 0]]
        assert back.image_size == SIZE
        assert back.orientations.cos().item() == pytest.approx(1, abs=1e-6)

    def test_other_options_leave_the_extractor_alone(self, image):
        extractor = Bright(ExtractorConfig(max_keypoints=20, resize=None))
        assert len(with_options(extractor, max_keypoints=2).extract(image)) == 2
        assert len(extractor.extract(image)) == 4

    @pytest.mark.weights
    @pytest.mark.slow
    def test_a_turned_photo_matches_as_upright(self):
        skimage = pytest.importorskip("skimage.data", exc_type=ImportError)
        from photoglue import Pipeline

        pipeline = Pipeline.pretrained("aliked", max_keypoints=256, resize=400)
        photo = load_photo(skimage.astronaut())
        upright = pipeline.extractor.extract_many([photo])[0]
        sideways = turned_photo(photo, 1)
        again = extract_turned(pipeline.extractor, [sideways], [3])[0]
        found, lost = (
            len(pipeline.matcher.match(upright, features))
            for features in (again, pipeline.extractor.extract_many([sideways])[0])
        )
        assert found == len(upright) > 10 * lost


@pytest.mark.weights
def test_the_extractor_that_stands_turns(monkeypatch):
    """For ALIKED's n16 with a matcher that knows the other features, if their weights are here."""
    from photoglue import NearestNeighbor, create_extractor
    from photoglue.limits.rotation import steadier

    usual = create_extractor("aliked", max_keypoints=99)
    found = steadier(usual, NearestNeighbor())
    assert (found.kind, found.config.max_keypoints) == ("aliked-n16rot", 99)
    assert steadier(usual, NearestNeighbor()) is found
    for name in ("aliked-n16rot", "sift"):
        assert steadier(create_extractor(name), NearestNeighbor()) is None
    monkeypatch.setattr("photoglue.limits.rotation.locate", lambda record: None)
    assert steadier(usual, NearestNeighbor()) is None
