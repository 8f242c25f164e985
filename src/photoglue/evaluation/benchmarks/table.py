"""The table of benchmarks."""

from collections.abc import Mapping
from types import MappingProxyType

from photoglue.errors import ConfigError
from photoglue.evaluation.benchmarks.base import Benchmark
from photoglue.evaluation.benchmarks.correspondences import Correspondences
from photoglue.evaluation.benchmarks.look_alikes import LookAlikes
from photoglue.evaluation.benchmarks.overlap import Overlap
from photoglue.evaluation.benchmarks.planar import Homography
from photoglue.evaluation.benchmarks.relative_pose import RelativePose
from photoglue.evaluation.benchmarks.retrieval import Retrieval

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        benchmark.name: benchmark
        for benchmark in (RelativePose(), Homography(), Correspondences(), Overlap(), LookAlikes(), Retrieval())
    }
)
"""Name → benchmark."""


def benchmark_named(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        ConfigError: If there is none; the message lists those that there are.
    """
    if name not in BENCHMARKS:
        raise ConfigError(f"There is no benchmark {name!r}. There are: {', '.join(BENCHMARKS)}.")
    return BENCHMARKS[name]
