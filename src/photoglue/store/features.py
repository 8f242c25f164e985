"""Features of many images in one file."""

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, final

import numpy as np

from photoglue.errors import ConfigError, OutputError, PhotoGlueWarning
from photoglue.geometry.frames import StoredFrame
from photoglue.store.file import FAILURES, Store, explained
from photoglue.structs import Features

OPTIONS_OF_0_1 = {"features": "kind", "max_keypoints": "max_keypoints", "resize": "resize"}
"""What version 0.1.0 recorded → what it is called now; beside the folder of masks, which says nothing of the masks."""


@final
class FeatureStore(Store):
    """Features of images by name, such as their paths below the folder of all images.

    Positions in the file are in **stored** pixels, as hloc and COLMAP read photos, and the attributes of each image say
    so (``frame``) and by which EXIF orientation it is turned (``exif_orientation``). What is read here is upright
    again. Entries without these attributes, of hloc or of version 0.1.0, are read as they are.
    """

    format = "photoglue-features"
    _warned = False

    def names(self) -> list[str]:
        """The images that have features here, sorted."""
        return self.names_with("keypoints")

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: str) -> bool:
        return self.holds(name, "keypoints")

    def __getitem__(self, name: str) -> Features:
        """The features of an image, in main memory.

        Raises:
            ConfigError: If there are none under that name.
            OutputError: If they are damaged.
        """
        if name not in self:
            self.refuse_incomplete(name, "keypoints")
            names = self.names()
            near = get_close_matches(name, names, n=1) or names[:1]
            example = f", such as {near[0]!r}" if near else ""
            raise ConfigError(f"{str(self.path)!r} has no features of {name!r}; it has {len(names)} images{example}.")
        arrays, attributes = self.read_group(name)
        try:
            half = arrays["keypoints"].dtype == np.float16
            features = _features_of(arrays, attributes)
        except FAILURES as error:
            raise OutputError(f"{name!r} in {str(self.path)!r} is not complete or damaged: {error}.") from error
        if half and not self._warned:
            self._warned = True
            warnings.warn(
                f"The keypoints in {str(self.path)!r} are float16, as hloc writes them: beyond 1024 pixels they are "
                "off by up to half a pixel, beyond 2048 by up to one. Extract them again for exact ones.",
                PhotoGlueWarning,
                stacklevel=2,
            )
        return features

    def digest(self, name: str) -> str:
        """A name for what is stored of an image: other features have another one.

        Raises:
            OutputError: If they are damaged.
        """
        with explained(f"{name!r} in {str(self.path)!r} is damaged"):
            known = self._file[name].attrs.get("digest")
            return str(known) if known is not None else _digest(*self.read_group(name))

    @classmethod
    def fits(cls, recorded: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
        """As ``Store.fits``; files of version 0.1.0, which knew four options, may be added to if those agree."""
        if recorded.keys() == {"features", "max_keypoints", "resize", "masks"}:
            return all(recorded[old] == options.get(new) for old, new in OPTIONS_OF_0_1.items())
        return super().fits(recorded, options)

    def write(self, name: str, features: Features, *, made_from: Mapping[str, Any] | None = None) -> None:
        """Keeps the features of an image, in place of any under that name.

        Args:
            name: Under which they are found again, such as the path of the image below the folder of all images.
            features: On any device.
            made_from: What they depend on, to be read with ``made_from``; anything that JSON can hold.

        Raises:
            OutputError: If they cannot be written.
        """
        arrays = features.to_hloc()
        if features.scales is not None:
            arrays["scales"] = features.scales.detach().float().cpu().numpy()
        if features.orientations is not None:
            angles = features.orientations.detach().float()
            turned = angles if features.exif_orientation == 1 else features.stored_frame.angles_from_upright(angles)
            arrays["orientations"] = turned.cpu().numpy()
        attributes: dict[str, Any] = {"frame": "stored", "exif_orientation": features.exif_orientation}
        if features.quarters:
            attributes["quarters"] = features.quarters
        if features.kind is not None:
            attributes["kind"] = features.kind
        self.write_group(name, arrays, {**attributes, "digest": _digest(arrays, attributes)}, made_from)


def _features_of(arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> Features:
    """Upright features from what is in the file."""
    width, height = (int(length) for length in arrays["image_size"])
    features = Features.from_arrays(
        arrays["keypoints"],
        arrays["descriptors"].T,
        (width, height),
        kind=attributes.get("kind"),
        scores=arrays.get("scores"),
        scales=arrays.get("scales"),
        orientations=arrays.get("orientations"),
    )
    if features.kind is not None and not isinstance(features.kind, str):
        raise ValueError(f"kind is {features.kind!r}")
    features = replace(features, quarters=int(attributes.get("quarters", 0)))
    orientation = int(attributes.get("exif_orientation", 1))
    if orientation == 1:
        return features
    frame = StoredFrame(orientation=orientation, upright_size=(width, height))
    frame = StoredFrame(orientation=orientation, upright_size=frame.size)  # turning the sides is its own inverse
    angles = features.orientations
    return replace(
        features,
        keypoints=frame.to_upright(features.keypoints),
        orientations=None if angles is None else frame.angles_to_upright(angles),
        image_size=frame.upright_size,
        exif_orientation=orientation,
    )


def _digest(arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> str:
    turned = f" {attributes['quarters']}" if "quarters" in attributes else ""
    digest = hashlib.sha256(f"{attributes.get('kind')} {attributes.get('exif_orientation', 1)}{turned}".encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
