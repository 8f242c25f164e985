"""Crops of what two photos share: how large they are seen, and when there is nothing to cut."""

import dataclasses

import pytest
import torch
from tests.helpers.tiny_photos import Bright

from photoglue.decode import Photo
from photoglue.extractors.base import ExtractorConfig
from photoglue.limits.common import Common
from photoglue.limits.subpixel import Subpixel
from photoglue.limits.views import Masked, Matched
from photoglue.limits.zoom import ENLARGED, FAINTER, closer_matches, long_sides, match_zoomed, probe_zoom
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.structs import Remedies


def common(scale, box0, box1):
    return Common(turn=complex(scale), shift=0j, agreeing=20, box0=box0, box1=box1)


@pytest.mark.parametrize(
    ("scale", "box0", "box1"),
    [
        (0.25, (0, 0, 1000, 700), (400, 300, 660, 480)),
        (4.0, (400, 300, 660, 480), (0, 0, 1000, 700)),
        (0.125, (0, 0, 1000, 700), (400, 300, 520, 390)),
        (1.0, (0, 0, 300, 900), (300, 0, 610, 900)),
    ],
)
def test_objects_have_one_size_and_crops_are_not_enlarged_too_much(scale, box0, box1):
    extractor = Bright(ExtractorConfig(max_keypoints=20, resize=1024))
    side0, side1 = long_sides(common(scale, box0, box1), extractor)
    wide0, wide1 = (max(box[2] - box[0], box[3] - box[1]) for box in (box0, box1))
    assert side1 / wide1 == pytest.approx(side0 / wide0 / scale, rel=0.02)
    assert max(side0, side1) <= 1025
    assert max(side0 / wide0, side1 / wide1) <= ENLARGED * 1.01
    assert max(side0 / 1024, side1 / 1024, side0 / wide0 / ENLARGED, side1 / wide1 / ENLARGED) > 0.98


@pytest.fixture
def photo():
    image = 0.2 * torch.rand(1, 90, 120, generator=torch.Generator().manual_seed(0))
    for number in range(30):
        image[0, 4 + 3 * (number % 27), 4 + 4 * (number * 7 % 28)] = 0.4 + 0.02 * number
    return Masked(photo=Photo(image=image))


def test_in_crops_fainter_points_count(photo):
    seen = []

    class Recording(Bright):
        def detect(self, images, masks=None):
            seen.append(self.config.detection_threshold)
            return super().detect(images, masks)

    other = Masked(photo=Photo(image=torch.nn.functional.pad(photo.photo.image, (200, 0, 150, 0))))
    tools = Recording(ExtractorConfig(max_keypoints=30, resize=None, detection_threshold=0.2)), NearestNeighbor()
    features = [each.features(tools[0], None, 30) for each in (photo, other)]
    found, common = match_zoomed(
        (photo, other),
        Matched(features0=features[0], features1=features[1], matches=tools[1].match(*features)),
        tools,
    )
    assert seen[:2] == [0.2, 0.2]
    assert seen[2:] == [FAINTER * 0.2] * len(seen[2:])
    assert common.box1[0] >= 190
    assert found.features1.image_size == other.size


def test_a_photo_with_itself_is_not_cut(photo):
    tools = Bright(), NearestNeighbor()
    features = photo.features(tools[0], None, 30)
    first = Matched(features0=features, features1=features, matches=tools[1].match(features, features))
    assert match_zoomed((photo, photo), first, tools) is None


def test_black_photos_give_nothing():
    black = Masked(photo=Photo(image=torch.zeros(1, 30, 40)))
    assert probe_zoom((black, black), (Bright(), NearestNeighbor())) is None


def test_crops_of_what_other_features_found(photo, monkeypatch):
    extractor, matcher = Bright(), NearestNeighbor()
    features = photo.features(extractor, None, 20)
    matches = matcher.match(features, features)
    boxes = (0, 0, 70, 60), (0, 0, 66, 64)
    monkeypatch.setattr("photoglue.limits.zoom.common_part", lambda *_: common(1.0, *boxes))
    found = closer_matches((photo, photo), matches, (extractor, matcher))
    guide = Matched(features0=features, features1=features, matches=matches)
    cut, _ = match_zoomed((photo, photo), guide, (extractor, matcher))
    assert len(found.matches) > 0 and torch.equal(found.matches.points1, cut.matches.points1)
    refined = closer_matches((photo, photo), matches, (extractor, matcher), Subpixel())
    assert refined.matches.refine == "subpixel"
    turned = dataclasses.replace(matches, remedies=Remedies(tried=("rotation",), turned_deg=90.0))
    assert closer_matches((photo, photo), turned, (extractor, matcher)) is None
    monkeypatch.setattr("photoglue.limits.zoom.common_part", lambda *_: None)
    assert closer_matches((photo, photo), matches, (extractor, matcher), Subpixel()) is None
