"""Features of any numbers: matches of finite scores that point to points, or one error."""

import random

import numpy as np
import pytest
import torch
from fuzzing import seeds

ODD = [np.nan, np.inf, -np.inf, 1e-42, 1e30, -1.0, 0.0]


def _features(source):
    n = source.choice([0, 0, 1, 2, 3, 17, 60])
    values = np.random.default_rng(source.randrange(1 << 30))
    points = values.random((n, 2)) * [640, 480]
    descriptors = values.normal(size=(n, 128))
    if n and source.random() < 0.4:
        points[source.randrange(n), source.randrange(2)] = source.choice(ODD)
    if n and source.random() < 0.2:
        descriptors[source.randrange(n)] = source.choice(ODD)
    if n > 1 and source.random() < 0.3:
        points[:] = points[0]
        descriptors[:] = descriptors[0]
    sizes = [(640, 480), (1, 1), (np.nan, 100), (np.inf, 100), ("640", "480"), (None, None), (10**400, 5), (0, 5)]
    size = source.choice([(640, 480)] * 12 + sizes)
    return points, descriptors, size


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.weights
def test_matching_gives_finite_scores_or_one_error(as_a_user, tries):
    from photoglue import Features, LightGlue, NearestNeighbor

    torch.manual_seed(0)
    matchers = [LightGlue.pretrained("aliked"), NearestNeighbor()]

    def check(results):
        for matches in results:
            assert matches.scores.isfinite().all()
            assert ((matches.scores >= 0) & (matches.scores <= 1 + 1e-6)).all()
            assert len(matches.points0) == len(matches.points1) == len(matches)

    for number in seeds(60, 0.05):
        source = random.Random(number)

        def match(source=source):
            pair = [Features.from_arrays(*_features(source)) for _ in range(2)]
            return [matcher.match(*pair) for matcher in matchers]

        tries(match, f"features {number}", check)
    assert tries.outcomes["accepted"] > 15
