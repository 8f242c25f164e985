"""``lightglue.aliked``."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from photoglue.compat.wrapped import WrappedExtractor
from photoglue.errors import ConfigError, PhotoGlueWarning
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
        image = load_image(img)
        points = keypoints.reshape(-1, 2).to(image)
        last = points.new_tensor([image.shape[2] - 1, image.shape[1] - 1])
        outside = int(((points < -0.5) | (points > last + 0.5)).any(dim=1).sum())
        if outside:
            size = f"{image.shape[2]} × {image.shape[1]}"
            warnings.warn(
                f"{outside} of {len(points)} points lie outside the image of {size} pixels, and are described at its "
                "border.",
                PhotoGlueWarning,
                stacklevel=2,
            )
        resized, scales = self._preprocessor(conf)(image)
        inside = torch.minimum(points.clamp(min=0), last)
        return self.net.describe(resized, (inside + 0.5) * scales - 0.5).descriptors[None]

    def _name(self, options: Mapping[str, Any]) -> str:
        name = str(options["model_name"])
        if not name.startswith("aliked-"):
            raise ConfigError(f'model_name is {name!r}; it must be one of ALIKED\'s, such as "aliked-n16".')
        return name
