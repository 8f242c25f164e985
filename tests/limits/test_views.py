"""Parts of photos and turned photos: points come back to where they are in the photo."""

import pytest
import torch
from tests.helpers.tiny_photos import Bright

from photoglue.decode import Photo
from photoglue.limits.views import Masked, Turned, match_parts
from photoglue.matchers.nearest import NearestNeighbor

SIZE = 61, 40


@pytest.fixture
def masked():
    """Bright spots of 3 × 3 pixels, each of its own brightness, and a mask that hides the last."""
    image = torch.zeros(1, SIZE[1], SIZE[0])
    for number, (x, y) in enumerate([(14, 12), (40, 14), (25, 25), (45, 28)]):
        image[0, y - 1 : y + 2, x - 1 : x + 2] = 0.5 + 0.1 * number
        image[0, y, x] += 0.05
    mask = torch.ones(SIZE[1], SIZE[0], dtype=torch.bool)
    mask[24:32, 41:49] = False
    return Masked(photo=Photo(image=image), mask=mask)


def spots(features, count):
    """The brightest pixel of each spot that is left, darkest spot first."""
    best = features.descriptors[:, 0].argsort(descending=True)
    found = []
    for row in best:
        point = features.keypoints[row]
        if all((point - other).norm() > 4 for other in found):
            found.append(point)
    return torch.stack(found[:count]).flip(0)


@pytest.mark.parametrize(
    ("quarters", "rest"), [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.0), (0, 30.0), (1, -40.0), (3, 12.5)]
)
def test_points_of_a_turned_photo_go_back(masked, quarters, rest):
    turned = Turned.by(masked, quarters, rest)
    found = turned.masked.features(Bright(), None, 60)
    back = turned.undo(found)
    assert back.image_size == SIZE
    assert back.quarters == quarters
    assert (spots(back, 3) - torch.tensor([[14.0, 12], [40, 14], [25, 25]])).abs().max() < (1.5 if rest else 1e-6)


def test_a_turned_photo_has_no_points_outside(masked):
    turned = Turned.by(masked, 0, 45.0).masked
    assert turned.size[0] > SIZE[0] < turned.size[1] + 30
    assert not turned.mask[0].any()
    assert turned.mask.float().mean() < 0.5
    assert 0 <= float(turned.photo.image.min()) <= float(turned.photo.image.max()) <= 1


def test_parts_are_matched_where_they_are(masked):
    other = Masked(photo=Photo(image=masked.photo.image.roll(3, dims=2)))
    box = (5, 5, 50, 35)
    found = match_parts((masked, other), (box, box), (45, 45), (Bright(), NearestNeighbor()), 60)
    matches = found.matches
    assert found.features0.image_size == SIZE
    assert len(matches) >= 3
    assert ((matches.points1 - matches.points0) == torch.tensor([3.0, 0])).all(dim=1).float().mean() > 0.5
    assert found.score_sum == pytest.approx(float(matches.scores.sum()))


def test_the_mask_and_alpha_are_cut_with_the_photo(masked):
    opaque = torch.ones(SIZE[1], SIZE[0], dtype=torch.bool)
    opaque[:, :20] = False
    part = Masked(photo=Photo(image=masked.photo.image, opaque=opaque), mask=masked.mask).part((10, 8, 60, 38))
    found = part.features(Bright(), None, 60)
    assert part.size == (50, 30)
    assert (spots(found, 2) - torch.tensor([[30.0, 6], [15, 17]])).abs().max() == 0
