"""``lightglue.superpoint``."""

from collections.abc import Mapping
from typing import Any, ClassVar

from photoglue.compat.options import whole_or_off
from photoglue.compat.wrapped import WrappedExtractor


class SuperPoint(WrappedExtractor):
    """SuperPoint with the official interface: ``SuperPoint(max_num_keypoints=2048).extract(image)``.

    It needs ``allow_noncommercial=True``: its weights may not be used commercially.
    """

    features = "superpoint"
    default_conf: ClassVar[dict[str, Any]] = {
        "descriptor_dim": 256,
        "nms_radius": 4,
        "max_num_keypoints": None,
        "detection_threshold": 0.0005,
        "remove_borders": 4,
        "allow_noncommercial": False,
    }
    fixed = ("descriptor_dim",)

    def _options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return super()._options(options) | {"border": whole_or_off(options, "remove_borders") or 0}
