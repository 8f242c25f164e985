"""``lightglue.disk``."""

from collections.abc import Mapping
from typing import Any, ClassVar

from photoglue.compat.options import number, whole_or_off
from photoglue.compat.wrapped import WrappedExtractor
from photoglue.errors import ConfigError


class DISK(WrappedExtractor):
    """DISK with the official interface: ``DISK(max_num_keypoints=2048).extract(image)``.

    Images are always padded to a multiple of 16 pixels, whatever ``pad_if_not_divisible`` says.
    """

    features = "disk"
    default_conf: ClassVar[dict[str, Any]] = {
        "weights": "depth",
        "max_num_keypoints": None,
        "desc_dim": 128,
        "nms_window_size": 5,
        "detection_threshold": 0.0,
        "pad_if_not_divisible": True,
    }
    preprocess_conf: ClassVar[dict[str, Any]] = {"resize": 1024, "grayscale": False}
    fixed = ("weights", "desc_dim")
    official_names = ("net.", "model.")

    def _name(self, options: Mapping[str, Any]) -> str:
        if options["weights"] != "depth" or options["desc_dim"] != 128:
            raise ConfigError(
                f"weights is {options['weights']!r} and desc_dim {options['desc_dim']!r}; the only released DISK is "
                'weights="depth" with desc_dim=128.'
            )
        return self.features

    def _options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "max_keypoints": whole_or_off(options, "max_num_keypoints"),
            "detection_threshold": number(options, "detection_threshold"),
            "nms_radius": (whole_or_off(options, "nms_window_size") or 0) // 2,
        }
