"""Who decides: nothing is done where one pass is enough, and what gives no better matches is forgotten."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError
from photoglue.extractors.base import Extractor, ExtractorConfig
from photoglue.limits import Limits
from photoglue.limits.remedies import NONE, _Work, remedied
from photoglue.limits.views import Matched
from photoglue.matchers.base import Matcher
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.structs import Features, Matches, Remedies

CORNERS = [(0, 0), (-1, 0), (-1, -1), (0, -1)]
"""Row and column of the top left corner of an image once it is turned by 0, 1, 2 and 3 quarters counterclockwise."""
POINTS = 60


class Marked(Extractor):
    """Points and descriptors by the thing in a photo, its mean; others if it is turned, as a corner tells."""

    kind = "marked"
    descriptor_dim = 32

    def __init__(self, *, turns=True, config=None):
        super().__init__(config or ExtractorConfig(max_keypoints=POINTS, resize=None))
        self.turns, self.calls = turns, []

    def detect(self, images, masks=None):
        self.calls += [tuple(image.shape) for image in images]
        return [self._features(image) for image in images]

    def _features(self, image):
        quarters = int(np.argmax([float(image[0, row, column]) for row, column in CORNERS]))
        thing = np.random.default_rng(round(float(image.mean()) * 100))
        points = thing.uniform(-1, 1, (POINTS, 2))
        for _ in range(quarters):
            points = points @ np.array([[0, -1], [1, 0]])
        size = image.shape[2], image.shape[1]
        descriptors = np.roll(thing.normal(size=(POINTS, 32)), 5 * quarters * self.turns, axis=1)
        descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
        middle = (np.array(size) - 1) / 2
        return Features.from_arrays(middle + points * middle, descriptors, size, kind=self.kind)


class Judge(Matcher):
    """Alike descriptors match; an overlap is likely if many do."""

    verdict = staticmethod(lambda matches: 0.9 if len(matches) > POINTS / 2 else 0.1)

    def match_many(self, pairs):
        found = NearestNeighbor().match_many(pairs)
        return [replace(each.select(each.scores > 0.95), stop=1, n_layers=1) for each in found]


def photo(thing, quarters=0, size=(60, 40)):
    image = torch.full((1, size[1], size[0]), thing)
    image[0, 0, 0] += 0.01
    return torch.rot90(image, quarters, (1, 2))


def looked_at(image0, image1, *, extractor=None, **limits):
    tools = extractor or Marked(), Judge()
    features = tools[0].extract_many([image0, image1])
    first = (*features, tools[1].match(*features))
    tools[0].calls.clear()
    return first, remedied([image0, image1], [None, None], first, tools, Limits(**limits)), tools[0].calls


def test_photos_that_match_cost_nothing():
    first, found, calls = looked_at(photo(0.3), photo(0.3))
    assert found is first
    assert calls == []
    assert found[2].remedies is None


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_photo(quarters):
    first, found, _ = looked_at(photo(0.3), photo(0.3, quarters))
    assert len(first[2]) < 5
    features0, features1, matches = found
    assert len(matches) == POINTS
    assert matches.remedies.applied == matches.remedies.tried == ("rotation",)
    assert matches.remedies.turned_deg == 360 - 90 * quarters
    assert int(np.argmax(matches.remedies.turn_sums)) == 4 - quarters
    assert features1.image_size == ((40, 60) if quarters in (1, 3) else (60, 40))
    assert features1.quarters == 4 - quarters
    assert torch.equal(matches.keypoints1, features1.keypoints)
    upright = photo(0.3, quarters)
    wanted = Marked().extract(upright).keypoints  # where the points are in the photo as it is
    assert (matches.points1 - wanted).abs().max() < 1e-3
    assert torch.equal(features0.keypoints, first[0].keypoints)


def test_off_is_off():
    first, found, calls = looked_at(photo(0.3), photo(0.3, 1), rotation="off", zoom="off", tiles="off")
    assert found is first
    assert calls == []
    assert Limits(rotation="off", zoom="off", tiles="off") == NONE


def test_photos_of_different_things_keep_their_matches():
    first, found, _ = looked_at(photo(0.3), photo(0.6))
    assert found[2].remedies.tried == ("rotation", "zoom")
    assert found[2].remedies.applied == ()
    assert torch.equal(found[2].matches0, first[2].matches0)


def test_photos_that_look_the_same_in_all_turns_are_taken_upright():
    extractor = Marked(turns=False)
    _, found, _ = looked_at(photo(0.3), photo(0.3, 1), extractor=extractor, rotation="always", zoom="off")
    remedies = found[2].remedies
    assert len(set(remedies.turn_sums)) == 1
    assert (remedies.turned_deg, remedies.applied) == (0, ())


def test_always_looks_but_keeps_only_what_helps():
    first, found, calls = looked_at(photo(0.3), photo(0.3), rotation="always", zoom="always", tiles="always")
    assert calls
    assert found[2].remedies.tried[0] == "rotation"
    assert torch.equal(found[2].matches0, first[2].matches0)


@pytest.mark.parametrize(
    ("scale", "matched", "wanted"), [(0.35, 60, True), (0.45, 60, False), (0.45, 12, True), (0.8, 12, False)]
)
def test_other_scales_are_looked_at_where_few_match_and_far_ones_always(scale, matched, wanted):
    features = [Marked().extract(photo(0.3))] * 2
    points = features[0].keypoints * torch.tensor([[scale, scale]]) + 3
    scores = torch.where(torch.arange(POINTS) < matched, 0.9, 0.0)
    partners = torch.where(torch.arange(POINTS) < matched, torch.arange(POINTS), -1)
    matches = Matches(
        matches0=partners,
        matches1=partners,
        matching_scores0=scores,
        matching_scores1=scores,
        keypoints0=features[0].keypoints,
        keypoints1=points,
        stop=1,
        n_layers=1,
    )
    now = Matched(features0=features[0], features1=features[1], matches=matches)

    class Sure(Judge):
        verdict = staticmethod(lambda matches: 0.9)

    work = _Work(tools=(Marked(), Sure()), limits=Limits(), now=now)
    assert work.wants_zoom() is wanted


def test_photos_without_points_are_left_alone():
    empty = replace(Marked().extract(photo(0.3)))[:0]
    matches = Judge().match(empty, empty)
    first = empty, empty, matches
    assert remedied([photo(0.0)] * 2, [None, None], first, (Marked(), Judge()), Limits(rotation="always")) is first


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match='zoom is \'sometimes\'; it must be "auto", "off" or "always"'):
        Limits.__post_init__(SimpleNamespace(rotation="auto", zoom="sometimes", tiles="off"))
    with pytest.raises(ConfigError, match="max_memory_gb is -1"):
        Limits(max_memory_gb=-1.0)
    with pytest.raises(ConfigError, match="would be smaller than 256 pixels"):
        looked_at(photo(0.3), photo(0.3), tiles="always", max_memory_gb=0.001)


def test_remedies_say_what_was_kept():
    remedies = Remedies(tried=("rotation", "zoom", "tiles"), boxes=((0, 0, 9, 9), (1, 1, 5, 5)))
    assert remedies.applied == ("zoom",)
    assert Remedies(tried=("rotation",), features="aliked-n16rot").applied == ("rotation",)


@pytest.mark.slow
@pytest.mark.weights
def test_with_real_photos(monkeypatch):
    """A photo turned by 90° and by 45°, a small copy in another photo, and both as a strip of one pixel."""
    data = pytest.importorskip("skimage.data", exc_type=ImportError)
    from photoglue import Pipeline
    from photoglue.image import Resize
    from photoglue.limits.rotation import turned_photo
    from photoglue.limits.views import Masked, Turned

    pipeline = Pipeline.pretrained("aliked", max_keypoints=512, resize=512)
    cat = Masked.of(data.chelsea())
    upright = len(pipeline.match(cat.photo.image, cat.photo.image))
    quarter = pipeline.match(cat.photo.image, turned_photo(cat.photo, 1).image)
    assert quarter.remedies.turned_deg == 270
    assert len(quarter) > 0.95 * upright
    turned = Turned.by(cat, 0, 45.0).masked.photo.image
    steady = pipeline.match(cat.photo.image, turned)
    assert steady.remedies.features == "aliked-n16rot"
    monkeypatch.setattr("photoglue.limits.rotation.locate", lambda record: None)
    odd = pipeline.match(cat.photo.image, turned)
    assert odd.remedies.turned_deg == pytest.approx(315, abs=5)
    assert odd.remedies.features is None
    far = Masked.of(data.coffee()).photo.image.clone()
    width, height = cat.size
    far[:, 150 : 150 + height // 5, 240 : 240 + width // 5] = Resize(
        original_size=cat.size, resized_size=(width // 5, height // 5)
    ).apply(cat.photo.image)
    matches = pipeline.match(cat.photo.image, far)
    assert "zoom" in matches.remedies.applied
    moved = 5 * (matches.points1 - torch.tensor([240.0, 150.0])) - matches.points0
    assert (moved.norm(dim=1) < 12).float().mean() > 0.9
    assert len(pipeline.match(cat.photo.image[:, :, :1], cat.photo.image[:, :, :1], tiles="always", zoom="always")) >= 0
    strip = cat.photo.image[:, :8].repeat(1, 1, 60)
    assert len(pipeline.match(strip, cat.photo.image, tiles="always", zoom="always")) == 0


class Oriented(Marked):
    """Points with orientations, and descriptors that stand turns."""

    kind = "oriented"

    def __init__(self):
        super().__init__(turns=False)

    def _features(self, image):
        features = super()._features(image)
        quarters = int(np.argmax([float(image[0, row, column]) for row, column in CORNERS]))
        angles = torch.arange(POINTS) * 0.1 - quarters * np.pi / 2
        return replace(features, orientations=angles.float(), scales=torch.ones(POINTS))


class Looker(Matcher):
    """Alike descriptors match as surely as the points look one way: not at all beyond a right angle."""

    verdict = staticmethod(lambda matches: 0.9 if float(matches.scores.sum()) > POINTS / 2 else 0.1)

    def match_many(self, pairs):
        return [self._seen(*pair, NearestNeighbor().match(*pair)) for pair in pairs]

    def _seen(self, first, second, found):
        sure = (second.orientations - first.orientations).cos().clamp(min=0.05)
        return replace(found, matching_scores0=sure, matching_scores1=sure, stop=1, n_layers=1)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_points_with_orientations_are_turned_without_being_extracted_again(quarters):
    images, extractor, matcher = [photo(0.3), photo(0.3, quarters)], Oriented(), Looker()
    features = extractor.extract_many(images)
    first = (*features, matcher.match(*features))
    extractor.calls.clear()
    found = remedied(images, [None, None], first, (extractor, matcher), Limits(zoom="off"))
    assert extractor.calls == []
    assert found[2].remedies.applied == ("rotation",)
    assert found[2].remedies.turned_deg == pytest.approx(360 - 90 * quarters, abs=0.1)
    assert found[2].scores.min() > 0.99
    assert torch.equal(found[2].keypoints1, features[1].keypoints)
    off = remedied(images, [None, None], first, (extractor, matcher), Limits(rotation="off", zoom="off"))
    assert off is first


def test_upright_points_with_orientations_stay():
    images, extractor, matcher = [photo(0.3), photo(0.3)], Oriented(), Looker()
    features = extractor.extract_many(images)
    first = (*features, matcher.match(*features))
    assert remedied(images, [None, None], first, (extractor, matcher), Limits()) is first
    found = remedied(images, [None, None], first, (extractor, matcher), Limits(rotation="always", zoom="off"))
    assert found[2].remedies.tried == ("rotation",)
    assert found[2].remedies.applied == ()
