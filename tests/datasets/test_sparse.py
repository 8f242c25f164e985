"""Depth between points of a model: exact on planes, unknown where surfaces end, meet or are seen from one side only."""

import numpy as np
import pytest
import torch

from photoglue.datasets.sparse import AROUND, SparseDepth

SWAY = 500.0


def plane(points):
    """Depth of a slanted plane: inverse depth is linear in pixels."""
    return 1 / (0.2 + 1e-3 * points[:, 0] - 5e-4 * points[:, 1])


def sparse(points, depths, **changes):
    return SparseDepth(**{"points": points, "depths": depths, "sway": SWAY, "reach": 20.0, "lens": None, **changes})


@pytest.fixture
def scattered():
    return torch.from_numpy(np.random.default_rng(1).uniform(0, 100, (500, 2)))


def test_a_plane_is_exact_between_its_points_and_unknown_beside_them(scattered):
    depth = sparse(scattered, plane(scattered))
    inner = torch.from_numpy(np.random.default_rng(2).uniform(10, 90, (200, 2)))
    found = depth.at(inner)
    known = ~found.isnan()
    assert known.double().mean() > 0.7
    near = torch.cdist(inner, scattered).amin(dim=1) < 1.5
    torch.testing.assert_close(found[known & ~near], plane(inner)[known & ~near])
    assert depth.at(torch.tensor([[-30.0, 50.0], [150.0, 150.0], [50.0, 118.0]])).isnan().all()
    assert depth.at(torch.zeros(0, 2)).shape == (0,)


def test_a_point_of_the_model_gives_its_depth_to_what_is_nearer_than_a_pixel_and_a_half():
    points, depths = torch.tensor([[10.0, 10.0], [80.0, 10.0]]).double(), torch.tensor([4.0, 7.0]).double()
    found = sparse(points, depths).at(torch.tensor([[11.0, 11.0], [80.0, 11.4], [80.0, 11.6]]))
    torch.testing.assert_close(found, torch.tensor([4.0, 7.0, torch.nan]), equal_nan=True)
    assert found.dtype == torch.float32


def test_two_points_at_one_place_one_behind_the_other_say_nothing():
    points = torch.tensor([[10.0, 10.0], [11.0, 10.0], [60.0, 10.0], [61.0, 10.0]]).double()
    depths = torch.tensor([4.0, 5.0, 4.0, 4.001]).double()
    found = sparse(points, depths).at(points)
    torch.testing.assert_close(found, torch.tensor([torch.nan, torch.nan, 4.0, 4.001]).double(), equal_nan=True)


def test_where_one_surface_ends_before_another_nothing_is_known(scattered):
    front = scattered[:, 0] < 50
    depth = sparse(scattered, torch.where(front, 4.0, 8.0).double())
    grid = torch.stack(torch.meshgrid(torch.arange(5.5, 95), torch.arange(5.5, 95), indexing="xy"), dim=-1)
    grid = grid.reshape(-1, 2)
    grid = grid[torch.cdist(grid.double(), scattered).amin(dim=1) >= 1.5]
    found = depth.at(grid)
    true = torch.where(grid[:, 0] < 50, 4.0, 8.0)
    known = ~found.isnan()
    assert known.double().mean() > 0.4
    off = SWAY * (1 / found - 1 / true).abs()
    assert off[known & ((grid[:, 0] - 50).abs() > 3)].max() < 1e-3
    assert found[(grid[:, 0] - 50).abs() < 1].isnan().double().mean() > 0.8


def test_fewer_points_than_make_a_surface(scattered):
    few = scattered[: AROUND - 1]
    found = sparse(few, plane(few)).at(torch.cat([few, few + 5]))
    assert int((~found.isnan()).sum()) >= AROUND - 1


def test_the_lens_moves_points_before_they_are_looked_up(scattered):
    depth = sparse(scattered, plane(scattered), lens=lambda points: points.double() * 2)
    assert depth.straight(torch.tensor([[3.0, 4.0]])).tolist() == [[6.0, 8.0]]
    assert sparse(scattered, plane(scattered)).straight(torch.ones(1, 2)).tolist() == [[1.0, 1.0]]


def test_every_number_is_in_the_fingerprint(scattered):
    depths = plane(scattered)
    made = sparse(scattered, depths)
    assert made.fingerprint == sparse(scattered.clone(), depths.clone()).fingerprint
    others = [
        sparse(scattered + 1e-9, depths),
        sparse(scattered, depths * 2),
        sparse(scattered, depths, sway=1.0),
        sparse(scattered, depths, reach=1.0),
        sparse(scattered, depths, lens=len),
    ]
    assert len({made.fingerprint, *(other.fingerprint for other in others)}) == 6
