import pytest

from photoglue.errors import ConfigError
from photoglue.evaluation.benchmarks.table import BENCHMARKS, benchmark_named


def test_names():
    assert list(BENCHMARKS) == ["relative_pose", "homography", "correspondences", "overlap", "look_alikes", "retrieval"]
    assert all(benchmark_named(name) is benchmark for name, benchmark in BENCHMARKS.items())


def test_a_name_that_is_none():
    with pytest.raises(ConfigError, match=r"no benchmark 'pose'\. There are: relative_pose, homography"):
        benchmark_named("pose")
