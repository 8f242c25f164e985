"""One texture, given by a formula, seen through known affine maps: where each point is, is known exactly."""

import math
from dataclasses import replace

import pytest
import torch

from photoglue.errors import ConfigError, ShapeError
from photoglue.limits import GrayView, Subpixel, refine_matches, refine_points
from photoglue.limits.subpixel import local_affines

SIZE = 150, 110
"""Width and height."""
SHIFT = torch.tensor([3.37, 5.62])
TURN = torch.tensor([[1.1, 0.2], [-0.15, 0.95]])


def texture(places):
    """Values in [0, 1] at (x, y): 30 waves of 8 to 100 pixels."""
    generator = torch.Generator().manual_seed(4)
    length, angle, phase = torch.rand(3, 30, generator=generator)
    length, angle = 8 + 92 * length, 2 * math.pi * angle
    waves = torch.stack([angle.cos() / length, angle.sin() / length]).to(places) * 2 * math.pi
    return 0.5 + 0.07 * (places @ waves + 2 * math.pi * phase.to(places)).sin().sum(dim=-1) / 1.5


def seen(affine, shift):
    """The image in which the point p of the texture is at affine · p + shift."""
    y, x = torch.meshgrid(torch.arange(SIZE[1]), torch.arange(SIZE[0]), indexing="ij")
    return texture((torch.stack([x, y], dim=-1) - shift) @ torch.linalg.inv(affine).T)


@pytest.fixture(scope="module")
def scene():
    """Both images, points of image 0, where they are in image 1, and where a matcher says that they are."""
    generator = torch.Generator().manual_seed(0)
    points0 = torch.rand(80, 2, generator=generator) * torch.tensor([100.0, 70.0]) + 15
    true = points0 @ TURN.T + SHIFT
    said = true + 0.4 * torch.randn(80, 2, generator=generator)
    return seen(torch.eye(2), torch.zeros(2)), seen(TURN, SHIFT), points0, true, said


def errors(found, true):
    return (found.points - true).norm(dim=1)[found.moved]


class TestPoints:
    def test_to_a_tenth_of_a_pixel(self, scene):
        image0, image1, points0, true, said = scene
        found = refine_points(image0, image1, points0, said)
        assert found.moved.float().mean() > 0.9
        assert errors(found, true).median() < 0.05
        assert errors(found, true).quantile(0.9) < 0.1 < (said - true).norm(dim=1).quantile(0.1)
        assert found.correlation[found.moved].min() > 0.9
        assert torch.equal(found.points[~found.moved], said[~found.moved])

    def test_brightness_and_contrast_do_not_count(self, scene):
        image0, image1, points0, _, said = scene
        found, darker = (refine_points(image0, image, points0, said) for image in (image1, 0.3 * image1 + 0.1))
        assert torch.equal(found.moved, darker.moved)
        torch.testing.assert_close(found.points, darker.points, atol=1e-3, rtol=0)

    def test_wrong_matches_do_not_disturb_others(self, scene):
        image0, image1, points0, true, said = scene
        wrong = said.clone()
        wrong[::6] = wrong[::6].flip(0)
        found = refine_points(image0, image1, points0, wrong)
        kept = torch.ones(len(said), dtype=torch.bool)
        kept[::6] = False
        assert (found.moved & kept).sum() > 0.85 * kept.sum()
        assert (found.points - true).norm(dim=1)[found.moved & kept].quantile(0.9) < 0.15
        assert (found.correlation[~kept] < 0.8).float().mean() > 0.9

    def test_none_moves_farther_than_wanted(self, scene):
        image0, image1, points0, true, _ = scene
        far = true + torch.tensor([1.8, 0.0])
        assert (errors(refine_points(image0, image1, points0, far), true) < 0.1).float().mean() > 0.9
        near = refine_points(image0, image1, points0, far, options=Subpixel(reach_px=1.0))
        assert (near.points - far).norm(dim=1).max() <= 1.0
        assert near.moved.float().mean() < 0.1

    def test_blank_images_leave_all_alone(self, scene):
        image0, _, points0, _, said = scene
        for pair in ((torch.zeros(60, 60), torch.zeros(60, 60)), (image0, torch.full(image0.shape, 0.5))):
            found = refine_points(*pair, points0, said)
            assert torch.equal(found.points, said)
            assert not found.moved.any()
            assert (found.correlation.abs() < 0.01).all()

    def test_at_the_border_nothing_moves(self, scene):
        """A patch of 15 pixels has to lie in both images."""
        image0, _, *_ = scene
        points = torch.tensor([[6.9, 40], [40, 6.9], [SIZE[0] - 7.9, 40], [40, SIZE[1] - 7.9], [40, 40], [-9, 500]])
        found = refine_points(image0, image0, points, points + 0.2)
        assert found.moved.tolist() == [False] * 4 + [True, False]
        assert found.correlation[-1] == 0
        assert torch.equal(found.points[:4], points[:4] + 0.2)

    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_few_points(self, scene, count):
        """One match alone says nothing of turns: the patch is taken as it is."""
        image0, _, points0, *_ = scene
        found = refine_points(image0, image0, points0[:count], points0[:count] + 0.3)
        assert found.points.shape == (count, 2)
        torch.testing.assert_close(found.points, points0[:count], atol=0.02, rtol=0)

    def test_types(self, scene):
        image0, image1, points0, _, said = scene
        single = refine_points(image0, image1, points0, said)
        double = refine_points(image0.double(), image1.double(), points0.double(), said.double())
        mixed = refine_points(image0, image1, points0.double(), said.double())
        assert (single.points.dtype, double.points.dtype, mixed.points.dtype) == (
            torch.float32,
            torch.float64,
            torch.float64,
        )
        both = single.moved & double.moved
        torch.testing.assert_close(single.points[both], double.points[both].float(), atol=2e-3, rtol=0)

    def test_order_does_not_count(self, scene):
        image0, image1, points0, _, said = scene
        found, order = refine_points(image0, image1, points0, said), torch.randperm(len(said))
        other = refine_points(image0, image1, points0[order], said[order])
        torch.testing.assert_close(other.points, found.points[order], atol=1e-3, rtol=0)

    def test_images_of_a_pixel(self):
        dot, points = torch.ones(1, 1), torch.zeros(1, 2)
        assert not refine_points(dot, dot, points, points).moved.any()

    def test_not_pairs(self, scene):
        image0, image1, points0, _, said = scene
        with pytest.raises(ShapeError, match="There are 80 points in image 0 and 3 in image 1"):
            refine_points(image0, image1, points0, said[:3])


def test_affines(scene):
    _, _, points0, true, said = scene
    torch.testing.assert_close(local_affines(points0, true), TURN.expand(80, 2, 2), atol=0.01, rtol=0)
    assert (local_affines(points0, said) - TURN).abs().median() < 0.05
    line = torch.tensor([[float(i), 3.0] for i in range(20)])
    torch.testing.assert_close(local_affines(line, line + 5), torch.eye(2).expand(20, 2, 2))


class TestMatches:
    @pytest.fixture
    def photos(self, scene):
        """Both images twice as large as they are compared, and matches in their pixels."""
        double = torch.nn.functional.interpolate(
            torch.stack([scene[0], scene[1]])[:, None], scale_factor=2, mode="bicubic", align_corners=False
        )
        return double.clamp(0, 1)

    @pytest.fixture
    def matches(self, scene, make):
        _, _, points0, _, said = scene
        return make.matches(((points0 + 0.5) * 2 - 0.5).tolist(), ((said + 0.5) * 2 - 0.5).tolist())

    def test_in_pixels_of_the_photos_as_read(self, scene, photos, matches):
        true = (scene[3] + 0.5) * 2 - 0.5
        refined = refine_matches(photos[0], photos[1], matches, resize=SIZE[0])
        assert (refined.refine, matches.refine) == ("subpixel", None)
        assert torch.equal(refined.points0, matches.points0)
        assert torch.equal(refined.indices, matches.indices)
        before, after = ((each.points1 - true).norm(dim=1) for each in (matches, refined))
        assert before.median() > 0.5
        assert after.median() < 0.15
        views = [GrayView.of(photo, SIZE[0]) for photo in photos]
        assert torch.equal(refine_matches(*views, matches).points1, refined.points1)

    def test_filters(self, photos, matches, make):
        wrong = matches.points1.clone()
        wrong[:10] = wrong[:10].flip(0)
        broken = replace(matches, keypoints1=wrong)
        kept = refine_matches(*photos, broken, resize=SIZE[0], options=Subpixel(min_correlation=0.8))
        assert not set(range(10)) & set(kept.indices[:, 0].tolist())
        assert 60 < len(kept) <= 70
        few = Subpixel(min_correlation=0.8, min_matches=75)
        assert len(refine_matches(*photos, broken, resize=SIZE[0], options=few)) == 80

    def test_descriptors(self, photos, matches):
        from photoglue import Features

        sides = [torch.eye(80), torch.eye(80)]
        sides[1][:20] = -sides[1][:20]
        features = [
            Features.from_arrays(points, side, (300, 220))
            for points, side in zip((matches.keypoints0, matches.keypoints1), sides, strict=True)
        ]
        options = Subpixel(min_cosine=0.5)
        kept = refine_matches(*photos, matches, options=options, features=(features[0], features[1]))
        assert kept.indices[:, 0].tolist() == list(range(20, 80))
        with pytest.raises(ConfigError, match=r"pass features=\(features0, features1\)"):
            refine_matches(*photos, matches, options=options)

    def test_no_matches(self, photos, make):
        none = make.matches([], [])
        assert len(refine_matches(*photos, none)) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 14}, "an odd number"),
        ({"iterations": 0}, "must be positive"),
        ({"min_correlation": 8.0}, r"in \[-1, 1\]"),
    ],
)
def test_options(options, message):
    with pytest.raises(ConfigError, match=message):
        Subpixel(**options)
