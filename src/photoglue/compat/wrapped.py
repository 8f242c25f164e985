"""PhotoGlue's extractors behind the official extractors' interface."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from photoglue.compat.options import current, known, number, use_official_names, whole_or_off
from photoglue.compat.utils import Extractor
from photoglue.errors import ShapeError
from photoglue.extractors import create_extractor
from photoglue.structs import Features


class WrappedExtractor(Extractor):
    """The base of ALIKED, DISK, SuperPoint, SIFT and DoGHardNet."""

    features: ClassVar[str]
    """PhotoGlue's name of the extractor."""
    fixed: ClassVar[tuple[str, ...]] = ()
    """Options that cannot change once the extractor is built."""
    official_names: ClassVar[tuple[str, str]] = ("net.", "")
    """How the names of the weights begin here, and in the official package."""
    required_data_keys: ClassVar[list[str]] = ["image"]

    def __init__(self, **conf: Any) -> None:
        super().__init__(**known(conf, self.default_conf, type(self).__name__))
        self._built = dict(vars(self.conf))
        self.net = create_extractor(
            self._name(self._built),
            allow_noncommercial=self._built.get("allow_noncommercial", False),
            precision="float32",
            resize=None,  # ``extract`` does it
            **self._options(self._built),
        )
        use_official_names(self, *self.official_names)

    @torch.no_grad()
    def forward(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        """Features of a batch, in pixels of these tensors.

        Args:
            data: "image", b × c × h × w in [0, 1]; optional "image_size", b × 2, (width, height) of what is photo and
                not padding at the right and at the bottom.

        Raises:
            ConfigError: If ``conf`` holds what does not exist or does not fit.
            ShapeError: If there is no batch of images, or they have different numbers of points and cannot be stacked.
        """
        images = data.get("image")
        if not isinstance(images, Tensor) or images.ndim != 4 or not len(images):
            came = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ShapeError(f'data["image"] is {came}; it must be a tensor b × c × h × w. extract() takes one image.')
        options = current(self.conf, self._built, self.fixed, type(self).__name__)
        self.net.config = replace(self.net.config, **self._options(options))
        photos = list(images)
        if data.get("image_size") is not None:
            sizes = torch.as_tensor(data["image_size"]).long().tolist()
            photos = [photo[:, :height, :width] for photo, (width, height) in zip(photos, sizes, strict=True)]
        features = self.net.extract_many(photos, batch_size=len(photos))
        counts = {len(some) for some in features}
        if len(counts) > 1:
            raise ShapeError(
                f"The images have different numbers of points, {sorted(counts)}, and cannot be stacked. "
                "Extract one at a time, or use photoglue's extract_many, which gives a list."
            )
        dicts = [_as_dict(some) for some in features]
        return {name: torch.stack([one[name] for one in dicts]) for name in dicts[0]}

    def _name(self, options: Mapping[str, Any]) -> str:  # noqa: ARG002  (ALIKED's depends on them)
        return self.features

    def _options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The official options as fields of the extractor's config."""
        return {
            "max_keypoints": whole_or_off(options, "max_num_keypoints"),
            "detection_threshold": number(options, "detection_threshold"),
            "nms_radius": whole_or_off(options, "nms_radius") or 0,
        }


def _as_dict(features: Features) -> dict[str, Float[Tensor, "n ..."]]:
    found = {
        "keypoints": features.keypoints,
        "descriptors": features.descriptors,
        "keypoint_scores": features.scores,
    }
    if features.scales is not None and features.orientations is not None:
        found["scales"], found["oris"] = features.scales, features.orientations
    return found
