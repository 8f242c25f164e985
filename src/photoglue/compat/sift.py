"""``lightglue.sift``."""

from collections.abc import Mapping
from typing import Any, ClassVar

from photoglue.compat.options import number, whole_or_off
from photoglue.compat.wrapped import WrappedExtractor
from photoglue.errors import ConfigError


class SIFT(WrappedExtractor):
    """SIFT with the official interface and the OpenCV backend: ``SIFT(max_num_keypoints=2048).extract(image)``.

    Scales and angles are in the units that its LightGlue was trained on: half of the official scales, angles signed.
    ``first_octave`` changes nothing, as officially with OpenCV.
    """

    features = "sift"
    default_conf: ClassVar[dict[str, Any]] = {
        "rootsift": True,
        "nms_radius": 0,
        "max_num_keypoints": 4096,
        "backend": "opencv",
        "detection_threshold": 0.0066667,
        "edge_threshold": 10,
        "first_octave": -1,
        "num_octaves": 4,
    }

    def _options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        if options["backend"] != "opencv":
            raise ConfigError(f'The SIFT backend {options["backend"]!r} is not supported; use "opencv".')
        changes = {
            "edge_threshold": number(options, "edge_threshold"),
            "octave_layers": whole_or_off(options, "num_octaves") or 0,
        }
        return super()._options(options) | changes | self._root(options)

    def _root(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"root": bool(options["rootsift"])}
