"""``lightglue.aliked``."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from photoglue.compat.wrapped import WrappedExtractor
from photoglue.errors import ConfigError
from photoglue.image import load_image


class ALIKED(WrappedExtractor):
    """ALIKED with the official interface: ``ALIKED(max_num_keypoints=2048).extract(image)``."""

    default_conf: ClassVar[dict[str, Any]] = {
        "model_name": "aliked-n16",
        "max_num_keypoints": -1,
        "detection_threshold": 0.2,
        "nms_radius": 2,
    }
    fixed = ("model_name",)

    @torch.no_grad()
    def describe(
        self, keypoints: Float[Tensor, "*b n 2"], img: Float[Tensor, "*c h w"], **conf: Any
    ) -> Float[Tensor, "1 n d"]:
        """Descriptors at points of one image.

        Points are taken to the resized image as ``extract`` takes them back, so that its own points get its own
        descriptors; the official code is up to half a pixel off there, unless ``resize`` is None.

        Args:
            keypoints: (x, y) in pixels of ``img``, with or without a batch axis of length 1.
            img: RGB or gray in [0, 1].
            **conf: As for ``extract``.
        """
        image, scales = self._preprocessor(conf)(load_image(img))
        points = (keypoints.reshape(-1, 2).to(image) + 0.5) * scales - 0.5
        return self.net.describe(image, points).descriptors[None]

    def _name(self, options: Mapping[str, Any]) -> str:
        name = str(options["model_name"])
        if not name.startswith("aliked-"):
            raise ConfigError(f'model_name is {name!r}; it must be one of ALIKED\'s, such as "aliked-n16".')
        return name
