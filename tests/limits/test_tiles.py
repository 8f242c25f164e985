"""Tiles: they cover the photo, a point that two tiles have is one point, and memory is kept to."""

from dataclasses import replace

import pytest
import torch
from tests.helpers.tiny_photos import Bright

from photoglue.decode import Photo
from photoglue.errors import ConfigError
from photoglue.extractors.base import ExtractorConfig
from photoglue.limits.tiles import DETAIL, RIM, all_points, best_of_each, match_tiles, tile_side, tiles_of
from photoglue.limits.views import Masked, Matched
from photoglue.matchers.nearest import NearestNeighbor


@pytest.mark.parametrize("box", [(0, 0, 100, 70), (13, 5, 14, 400), (3, 4, 3003, 204), (0, 0, 64, 64)])
def test_tiles_cover_a_part_once(box):
    covered = torch.zeros(box[3], box[2], dtype=torch.int64)
    for left, top, right, bottom in tiles_of(box, 64):
        assert 1 <= right - left <= 64
        assert 1 <= bottom - top <= 64
        covered[top:bottom, left:right] += 1
    assert (covered[box[1] :, box[0] :] == 1).all()
    assert covered.sum() == (box[2] - box[0]) * (box[3] - box[1])


def test_of_points_near_each_other_the_best_stays():
    points = torch.tensor([[1.0, 1], [1.4, 1.2], [9, 9], [9.7, 9], [30, 4]])
    assert best_of_each(points, torch.tensor([0.2, 0.9, 0.8, 0.3, 0.1])).tolist() == [False, True, True, False, True]
    assert best_of_each(points, torch.ones(5)).tolist() == [True, False, True, False, True]
    assert len(best_of_each(torch.zeros(0, 2), torch.zeros(0))) == 0


def test_memory_makes_tiles_smaller_or_is_refused():
    extractor = Bright(ExtractorConfig(max_keypoints=20, resize=1024))
    assert tile_side(extractor, None) == 1024
    assert tile_side(extractor, 8.0) == 1024
    assert 400 < tile_side(extractor, 0.1) < 500
    with pytest.raises(ConfigError, match=r"Tiles in 0\.01 GB would be smaller than 256 pixels; they need 0\.033 GB"):
        tile_side(extractor, 0.01)


@pytest.fixture
def photo():
    """A dark photo with 400 bright pixels, far from each other, each of its own brightness."""
    chance = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 200, 300)
    x, y = torch.meshgrid(torch.arange(7, 297, 15), torch.arange(5, 196, 10), indexing="xy")
    image[0, y.flatten(), x.flatten()] = 0.4 + 0.6 * torch.rand(400, generator=chance)
    return Masked(photo=Photo(image=image))


def matched(photos, tools):
    seen = [each.features(tools[0], None, 100) for each in photos]
    return Matched(features0=seen[0], features1=seen[1], matches=tools[1].match(*seen))


def test_all_points_of_a_photo_are_found_in_its_tiles(photo):
    found = all_points(photo, (0, 0, 300, 200), Bright(ExtractorConfig(max_keypoints=None, resize=None)), 64, 1.0)
    bright = (photo.photo.image[0] > 0).nonzero().flip(1).float()
    assert len(found) == 400
    assert {tuple(point) for point in found.keypoints.tolist()} == {tuple(point) for point in bright.tolist()}
    assert found.image_size == (300, 200)


def test_matches_of_tiles_lie_where_they_are_in_the_photos(photo):
    other = Masked(photo=Photo(image=torch.nn.functional.pad(photo.photo.image, (40, 0, 20, 0))))
    tools = Bright(ExtractorConfig(max_keypoints=None, resize=None)), NearestNeighbor()
    photos = photo, other
    first = matched(photos, tools)
    exact = (first.matches.points1 - first.matches.points0 == torch.tensor([40.0, 20])).all(dim=1)
    found, count = match_tiles(photos, replace(first, matches=first.matches.select(exact)), tools, 170)
    assert count >= 4
    right = (found.matches.points1 - found.matches.points0 == torch.tensor([40.0, 20])).all(dim=1)
    assert int(right.sum()) > 1.5 * int(exact.sum())
    used = found.matches.indices
    assert len(used[:, 0].unique()) == len(used[:, 1].unique()) == len(used)
    assert torch.equal(found.matches.matches1[used[:, 1]], used[:, 0])


def test_tiles_of_much_larger_photos_are_seen_at_half_their_pixels(photo):
    sides = []

    class Recording(Bright):
        def detect(self, images, masks=None):
            sides.extend(max(image.shape[1:]) for image in images)
            return super().detect(images, masks)

    tools = Recording(ExtractorConfig(max_keypoints=None, resize=None)), NearestNeighbor()
    first = matched((photo, photo), tools)
    sides.clear()
    assert match_tiles((photo, photo), first, tools, 160)[1] == 4  # 300 pixels, not twice as many
    assert max(sides) > 160
    sides.clear()
    assert match_tiles((photo, photo), first, tools, 140)[1] == 4
    assert max(sides) < DETAIL * (150 + 2 * RIM) + 2


def test_without_matches_there_are_no_tiles(photo):
    tools = Bright(), NearestNeighbor()
    first = matched((photo, photo), tools)
    nothing = replace(first, matches=first.matches.select(torch.zeros(len(first.matches), dtype=torch.bool)))
    assert match_tiles((photo, photo), nothing, tools, 64) is None


def test_a_photo_of_one_pixel_s_width():
    image = torch.zeros(1, 500, 1)
    image[0, ::9] = 0.4 + 0.6 * torch.rand(56, 1, generator=torch.Generator().manual_seed(0))
    strip, tools = Masked(photo=Photo(image=image)), (Bright(), NearestNeighbor())
    found = match_tiles((strip, strip), matched((strip, strip), tools), tools, 64)
    assert found is None or found[0].features0.image_size == (1, 500)
