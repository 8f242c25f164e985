"""The table of benchmarks."""

from collections.abc import Mapping
from types import MappingProxyType

from photoglue.evaluation.base import Benchmark
from photoglue.evaluation.correspondences import Correspondences
from photoglue.evaluation.homography import Homography
from photoglue.evaluation.overlap import Overlap
from photoglue.evaluation.relative_pose import RelativePose

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {benchmark.name: benchmark for benchmark in (RelativePose(), Homography(), Correspondences(), Overlap())}
)
"""Name → benchmark."""
