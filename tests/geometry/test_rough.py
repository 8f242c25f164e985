"""The similarity that most matches agree with: found among wrong ones, the same each time."""

import numpy as np
import pytest

from photoglue.geometry.rough import agreeing, rough_similarity

TURN, SHIFT = 0.5 * np.exp(0.5j), 130 - 80j
DIAGONALS = 500.0, 360.0


@pytest.fixture
def matches():
    """60 true matches, off by some pixels as those of a scene with depth, and 30 wrong ones; true ones are surer."""
    chance = np.random.default_rng(0)
    z0 = chance.uniform(0, 400, 90) + 1j * chance.uniform(0, 300, 90)
    z1 = TURN * z0 + SHIFT + chance.normal(0, 3, 90) + 1j * chance.normal(0, 3, 90)
    z1[60:] = chance.uniform(0, 300, 30) + 1j * chance.uniform(0, 200, 30)
    return z0, z1, np.linspace(0.9, 0.5, 90)


def test_it_is_found_among_wrong_matches(matches):
    found = rough_similarity(*matches, DIAGONALS)
    assert found.turn == pytest.approx(TURN, rel=0.1) and found.shift == pytest.approx(SHIFT, abs=12)
    assert found.agreeing[:60].all() and found.agreeing[60:].sum() < 12
    again = rough_similarity(*matches, DIAGONALS)
    assert (again.turn, again.shift) == (found.turn, found.shift)


def test_the_smaller_photo_sets_the_tolerance():
    z0, z1 = np.array([10 + 0j, 10 + 0j]), np.array([14.9 + 0j, 15.1 + 0j])
    for diagonals, turn in (((50.0, 1e9), 1.0), ((1e9, 50.0), 1.0), ((5.0, 1e9), 10.0)):
        there = z1 + (turn - 1) * z0
        assert agreeing(z0, there, np.array([turn + 0j]), np.array([0j]), diagonals).tolist() == [[True, False]]


def test_too_few_matches_tell_nothing(matches):
    z0, z1, weights = (each[:2] for each in matches)
    assert rough_similarity(z0, z1, weights, DIAGONALS) is None
    far = np.array([0j, 100 + 0j, 200 + 0j]), np.array([0j, 1e6 + 0j, -1e6j]), np.full(3, 0.9)
    assert rough_similarity(*far, (10.0, 10.0)) is None
