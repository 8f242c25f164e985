"""``lightglue.dog_hardnet``."""

from collections.abc import Mapping
from typing import Any, ClassVar

from photoglue.compat.sift import SIFT


class DoGHardNet(SIFT):
    """SIFT's points with HardNet's descriptors, with the official interface.

    It needs ``allow_noncommercial=True``: the licence of its weights is not known to be a free one.
    """

    features = "doghardnet"
    default_conf: ClassVar[dict[str, Any]] = {**SIFT.default_conf, "allow_noncommercial": False}
    official_names = ("net.hardnet.", "laf_desc.descriptor.")

    def _root(self, options: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002  (HardNet has no root)
        return {}
