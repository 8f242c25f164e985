"""Positions: the unit is half the long side, the origin does not matter, and a rotation keeps lengths."""

import math

import torch

from photoglue import Features
from photoglue.matchers.lightglue.encoding import FourierEncoding, positions_of, rotate
from photoglue.matchers.lightglue.packing import Segments


def features(keypoints, image_size, **changes):
    n = len(keypoints)
    return Features(
        keypoints=torch.tensor(keypoints),
        descriptors=torch.ones(n, 4),
        scores=torch.ones(n),
        image_size=image_size,
        **changes,
    )


def test_positions_are_in_units_of_half_the_long_side():
    images = [features([[0.0, 0.0], [400.0, 200.0]], (400, 200)), features([[30.0, 60.0]], (30, 60))]
    found = positions_of(images, Segments((2, 1)), add_scale_ori=False)
    assert found.tolist() == [[-1, -0.5], [1, 0.5], [0.5, 1]]


def test_scales_are_in_pixels_of_a_long_side_of_1024():
    image = features([[1.0, 2.0]], (512, 100), scales=torch.tensor([3.0]), orientations=torch.tensor([-0.5]))
    found = positions_of([image], Segments((1,)), add_scale_ori=True)
    assert found[0, 2:].tolist() == [6.0, -0.5]


def test_similarity_depends_on_differences_of_positions_only():
    encoding = FourierEncoding(2, 8)
    q, k = torch.randn(2, 3, 2, 8)
    positions = torch.rand(3, 2)

    def similarity(moved):
        turned = encoding(positions + moved)
        return (rotate(q, turned)[:, None] * rotate(k, turned)[None]).sum(-1)

    torch.testing.assert_close(similarity(0.0), similarity(torch.tensor([0.3, -2.0])), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(rotate(q, encoding(positions)).norm(dim=-1), q.norm(dim=-1))


def test_turned_features_have_turned_positions():
    """A photo of 4 × 2 pixels and the same photo turned: what the network sees of both is the same."""
    points, angles = torch.tensor([[3.0, 0.0], [1.0, 1.0]]), torch.tensor([0.5, 3.0])
    of_turned = {
        1: (torch.tensor([[0.0, 0.0], [1.0, 2.0]]), (2, 4), -math.pi / 2),
        2: (torch.tensor([[0.0, 1.0], [2.0, 0.0]]), (4, 2), -math.pi),
        3: (torch.tensor([[1.0, 3.0], [0.0, 1.0]]), (2, 4), math.pi / 2),
    }
    for quarters, (turned_points, size, turn) in of_turned.items():
        marked = features(points.tolist(), (4, 2), scales=torch.ones(2), orientations=angles, quarters=quarters)
        plain = features(turned_points.tolist(), size, scales=torch.ones(2), orientations=angles + turn)
        seen, wanted = (positions_of([each, each], Segments((2, 2)), add_scale_ori=True) for each in (marked, plain))
        assert torch.equal(seen[:, :3], wanted[:, :3])
        assert torch.allclose((seen - wanted)[:, 3].cos(), torch.ones(4), atol=1e-6)
