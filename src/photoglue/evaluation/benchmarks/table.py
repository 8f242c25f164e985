"""The table of benchmarks."""

from collections.abc import Mapping
from types import MappingProxyType

from photoglue.evaluation.benchmarks.base import Benchmark
from photoglue.evaluation.benchmarks.correspondences import Correspondences
from photoglue.evaluation.benchmarks.overlap import Overlap
from photoglue.evaluation.benchmarks.planar import Homography
from photoglue.evaluation.benchmarks.relative_pose import RelativePose

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {benchmark.name: benchmark for benchmark in (RelativePose(), Homography(), Correspondences(), Overlap())}
)
"""Name → benchmark."""
