"""The robust estimators that a benchmark can be run with."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from photoglue.errors import ConfigError
from photoglue.solvers.opencv import verify_opencv
from photoglue.solvers.poselib import verify
from photoglue.solvers.verification import Verification

ESTIMATORS: Mapping[str, Callable[..., Verification]] = MappingProxyType(
    {
        "poselib": verify,
        "opencv": verify_opencv,
        "magsac": partial(verify_opencv, method="magsac"),
    }
)
"""Name → function with the arguments of ``photoglue.solvers.poselib.verify``."""


def estimator_named(name: str) -> Callable[..., Verification]:
    """The estimator of that name.

    Raises:
        ConfigError: If there is none; the message lists those that there are.
    """
    if name not in ESTIMATORS:
        raise ConfigError(f"There is no estimator {name!r}. There are: {', '.join(ESTIMATORS)}.")
    return ESTIMATORS[name]
