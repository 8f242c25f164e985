"""Features of many images in one file."""

import warnings
from difflib import get_close_matches
from typing import final

import numpy as np

from photoglue.errors import ConfigError, OutputError, PhotoGlueWarning
from photoglue.store.file import Store
from photoglue.structs import Features


@final
class FeatureStore(Store):
    """Features of images by name, such as their paths below the folder of all images."""

    format = "photoglue-features"
    _warned = False

    def names(self) -> list[str]:
        """The images that have features here, sorted."""
        return self.names_with("keypoints")

    def __contains__(self, name: str) -> bool:
        return self.holds(name, "keypoints")

    def __getitem__(self, name: str) -> Features:
        """The features of an image, in main memory.

        Raises:
            ConfigError: If there are none under that name.
            OutputError: If they are damaged.
        """
        if name not in self:
            names = self.names()
            near = get_close_matches(name, names, n=1) or names[:1]
            example = f", such as {near[0]!r}" if near else ""
            raise ConfigError(f"{str(self.path)!r} has no features of {name!r}; it has {len(names)} images{example}.")
        arrays, attributes = self.read_group(name)
        if arrays["keypoints"].dtype == np.float16 and not self._warned:
            self._warned = True
            warnings.warn(
                f"The keypoints in {str(self.path)!r} are float16, as hloc writes them: beyond 1024 pixels they are "
                "off by up to half a pixel, beyond 2048 by up to one. Extract them again for exact ones.",
                PhotoGlueWarning,
                stacklevel=2,
            )
        try:
            width, height = (int(length) for length in arrays["image_size"])
            return Features.from_arrays(
                arrays["keypoints"],
                arrays["descriptors"].T,
                (width, height),
                kind=attributes.get("kind"),
                **{key: arrays.get(key) for key in ("scores", "scales", "orientations")},
            )
        except (KeyError, ValueError, TypeError) as error:
            raise OutputError(f"{name!r} in {str(self.path)!r} is not complete or damaged: {error}.") from error

    def write(self, name: str, features: Features) -> None:
        """Keeps the features of an image, in place of any under that name.

        Raises:
            OutputError: If they cannot be written.
        """
        arrays = features.to_hloc()
        for key in ("scales", "orientations"):
            values = getattr(features, key)
            if values is not None:
                arrays[key] = values.detach().float().cpu().numpy()
        self.write_group(name, arrays, {} if features.kind is None else {"kind": features.kind})
