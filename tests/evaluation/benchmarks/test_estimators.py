import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError
from photoglue.evaluation.benchmarks.estimators import ESTIMATORS, estimator_named


@pytest.mark.parametrize("name", ESTIMATORS)
def test_each_finds_a_homography(name):
    pytest.importorskip("poselib" if name == "poselib" else "cv2", exc_type=ImportError)
    points = np.random.default_rng(0).uniform(0, 100, (40, 2))
    matrix = np.array([[1.1, 0.1, 3], [-0.05, 0.9, 2], [1e-4, -2e-4, 1]])
    there = np.c_[points, np.ones(40)] @ matrix.T
    points0, points1 = (torch.from_numpy(array) for array in (points, there[:, :2] / there[:, 2:]))
    found = estimator_named(name)(points0, points1, "homography", threshold_px=1.0, seed=0)
    np.testing.assert_allclose(found.matrix, matrix, atol=0.01)


def test_unknown():
    with pytest.raises(ConfigError, match=r"no estimator 'usac'\. There are: poselib, opencv, magsac"):
        estimator_named("usac")
