"""The official package's calls over our code: change one import, and a script runs on PhotoGlue.

```python
from photoglue.compat import ALIKED, LightGlue, load_image, match_pair, rbd   # was: from lightglue import …
```

Dicts in, dicts out, a batch axis everywhere, the official option names and -1 for "off". What is different: options
that do not exist are errors, weights load strictly, SuperPoint asks for ``allow_noncommercial=True``, batches of any
size work with exit and pruning on (``stop`` is then the last exit), images without keypoints give the same types as
others, and SIFT's scales and angles are in the units that its LightGlue was trained on.
"""

import copy
import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from photoglue.errors import ConfigError, ShapeError
from photoglue.extractors import base as extractors
from photoglue.extractors import create_extractor
from photoglue.image import Resize, read_image, to_rgb
from photoglue.matchers import lightglue
from photoglue.matchers.lightglue.adaptive import PRUNING_MIN_KEYPOINTS
from photoglue.matchers.lightglue.encoding import SCALE_LONG_SIDE
from photoglue.precision import Precision
from photoglue.structs import Features, Matches


class LightGlue(nn.Module):
    """The official matcher's interface: ``LightGlue(features="superpoint", **conf)(data) -> dict``."""

    default_conf: ClassVar[dict[str, Any]] = {
        "name": "lightglue",
        "input_dim": 256,
        "descriptor_dim": 256,
        "add_scale_ori": False,
        "n_layers": 9,
        "num_heads": 4,
        "flash": True,
        "mp": False,
        "depth_confidence": 0.95,
        "width_confidence": 0.99,
        "filter_threshold": 0.1,
        "weights": None,
        "compile": False,
    }
    """The official options. ``mp`` chooses the fastest precision of the machine, else it is float32. ``name``,
    ``flash`` and ``compile`` are accepted and change nothing: the kernel is chosen by what the machine can do.
    ``weights`` is the path of a checkpoint, used with ``features=None``."""

    pruning_keypoint_thresholds: ClassVar[dict[str, int]] = {**PRUNING_MIN_KEYPOINTS, "flash": 1536}

    def __init__(self, features: str | None = "superpoint", **conf: Any) -> None:
        super().__init__()
        asked = _known(conf, self.default_conf, "LightGlue")
        conf = {**self.default_conf, **asked}
        self.conf = SimpleNamespace(**conf)
        config = lightglue.LightGlueConfig(
            depth_confidence=_none_if_off(conf["depth_confidence"]),
            width_confidence=_none_if_off(conf["width_confidence"]),
            filter_threshold=float(conf["filter_threshold"]),
            n_layers=asked.get("n_layers"),
        )
        precision: Precision = "auto" if conf["mp"] else "float32"
        if features is not None:
            self.net = lightglue.LightGlue.pretrained(features, config, precision=precision)
            # The official code has no kinds: dicts do not say what they hold.
            self.net.shape = replace(self.net.shape, kinds=None)
        elif conf["weights"] is not None:
            self.net = lightglue.LightGlue.from_checkpoint(conf["weights"], config, precision=precision)
            _check_shape(asked, self.net.shape)
        else:
            names = {field.name for field in fields(lightglue.LightGlueShape)} & conf.keys()
            shape = lightglue.LightGlueShape(**{name: conf[name] for name in names})
            self.net = lightglue.LightGlue(config, shape=shape)

    def forward(self, data: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Any]:
        """The official dict of matches for a batch of pairs.

        Args:
            data: "image0" and "image1", each with "keypoints" (b × n × 2, pixels), "descriptors" (b × n × d), optional
                "image_size" (b × 2, width and height), and "scales" and "oris" (b × n) for SIFT-like features.

        Raises:
            ShapeError: If an entry is missing or has no batch axis, or the two batches differ in length.
        """
        images0, images1 = (_features_of(data, key) for key in ("image0", "image1"))
        if len(images0) != len(images1):
            raise ShapeError(f"image0 is a batch of {len(images0)}, image1 of {len(images1)}; they must be as many.")
        threshold = self.pruning_keypoint_thresholds["flash" if self.net.device.type == "cuda" else "cpu"]
        self.net.config = replace(self.net.config, pruning_min_keypoints=threshold)
        found = self.net.match_many(list(zip(images0, images1, strict=True)))
        return self._dict_of(found)

    def compile(self, *_: Any, **__: Any) -> None:
        """Does nothing; the official method pads to static lengths, which packed pairs do not need."""

    def _dict_of(self, found: list[Matches]) -> dict[str, Any]:
        pruning = self.net.config.width_confidence is not None
        prune0, prune1 = (torch.stack([getattr(matches, name) for matches in found]) for name in ("prune0", "prune1"))
        return {
            "matches0": torch.stack([matches.matches0 for matches in found]),
            "matches1": torch.stack([matches.matches1 for matches in found]),
            "matching_scores0": torch.stack([matches.matching_scores0 for matches in found]),
            "matching_scores1": torch.stack([matches.matching_scores1 for matches in found]),
            "stop": max(matches.stop or 0 for matches in found),
            "matches": [matches.indices for matches in found],
            "scores": [matches.scores for matches in found],
            # Without pruning the official code gives floating tensors.
            "prune0": prune0 if pruning else prune0.float(),
            "prune1": prune1 if pruning else prune1.float(),
        }


class Extractor(nn.Module):
    """The official extractors' interface: ``extract(image, **conf) -> dict`` and ``forward({"image": …}) -> dict``."""

    features: ClassVar[str]
    default_conf: ClassVar[dict[str, Any]]
    preprocess_conf: ClassVar[dict[str, Any]] = {"resize": 1024}

    def __init__(self, **conf: Any) -> None:
        super().__init__()
        self.conf = SimpleNamespace(**{**self.default_conf, **_known(conf, self.default_conf, type(self).__name__)})
        allowed = getattr(self.conf, "allow_noncommercial", False)
        self.net = create_extractor(
            self._features_name(), allow_noncommercial=allowed, precision="float32", **self._options()
        )

    @torch.no_grad()
    def extract(self, img: Float[Tensor, "*b c h w"], **conf: Any) -> dict[str, Tensor]:
        """Features of one image in its own pixels, with a batch axis of 1.

        Args:
            img: RGB or gray in [0, 1].
            **conf: "resize", the length of the longer side (None: as it is).
        """
        resize = {**self.preprocess_conf, **_known(conf, self.preprocess_conf, "extract")}["resize"]
        features = self._at(resize).extract(img)
        return {name: value[None] for name, value in self._dict_of(features, resize).items()}

    @torch.no_grad()
    def forward(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Features of a batch, in pixels of these tensors.

        Args:
            data: "image", b × c × h × w in [0, 1].

        Raises:
            ShapeError: If the images have different numbers of points, so that they cannot be stacked.
        """
        images = self._at(None).extract_many(list(data["image"]), batch_size=len(data["image"]))
        counts = {len(features) for features in images}
        if len(counts) > 1:
            raise ShapeError(
                f"The images have different numbers of points, {sorted(counts)}, and cannot be stacked. "
                "Extract one at a time, or use photoglue's extract_many, which gives a list."
            )
        dicts = [self._dict_of(features, None) for features in images]
        return {name: torch.stack([d[name] for d in dicts]) for name in dicts[0] if name != "image_size"}

    def _features_name(self) -> str:
        return self.features

    def _options(self) -> dict[str, Any]:
        return {
            "max_keypoints": _none_if_off(self.conf.max_num_keypoints),
            "detection_threshold": float(self.conf.detection_threshold),
            "nms_radius": self.conf.nms_radius or 0,
        }

    def _at(self, resize: int | None) -> extractors.Extractor:
        """This extractor with another resize; the weights are shared."""
        net = copy.copy(self.net)
        net.config = replace(net.config, resize=resize)
        return net

    @staticmethod
    def _dict_of(features: Features, resize: int | None) -> dict[str, Tensor]:
        found = {
            "keypoints": features.keypoints,
            "keypoint_scores": features.scores,
            "descriptors": features.descriptors,
            "image_size": features.keypoints.new_tensor(features.image_size),
        }
        if features.scales is not None and features.orientations is not None:
            # Officially in pixels of the resized image.
            found["scales"] = features.scales * Resize.long_side(features.image_size, resize).mean_scale
            found["oris"] = features.orientations
        return found


class ALIKED(Extractor):
    """The official ``lightglue.ALIKED``."""

    features = "aliked"
    default_conf: ClassVar[dict[str, Any]] = {
        "model_name": "aliked-n16",
        "max_num_keypoints": -1,
        "detection_threshold": 0.2,
        "nms_radius": 2,
    }

    def _features_name(self) -> str:
        return str(self.conf.model_name)


class DISK(Extractor):
    """The official ``lightglue.DISK``."""

    features = "disk"
    default_conf: ClassVar[dict[str, Any]] = {
        "weights": "depth",
        "max_num_keypoints": None,
        "desc_dim": 128,
        "nms_window_size": 5,
        "detection_threshold": 0.0,
        "pad_if_not_divisible": True,
    }

    def _options(self) -> dict[str, Any]:
        return {
            "max_keypoints": _none_if_off(self.conf.max_num_keypoints),
            "detection_threshold": float(self.conf.detection_threshold),
            "nms_radius": self.conf.nms_window_size // 2,
        }


class SuperPoint(Extractor):
    """The official ``lightglue.SuperPoint``; needs ``allow_noncommercial=True``: its weights are not for commerce."""

    features = "superpoint"
    default_conf: ClassVar[dict[str, Any]] = {
        "descriptor_dim": 256,
        "nms_radius": 4,
        "max_num_keypoints": None,
        "detection_threshold": 0.0005,
        "remove_borders": 4,
        "allow_noncommercial": False,
    }


class SIFT(Extractor):
    """The official ``lightglue.SIFT`` with the OpenCV backend."""

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

    def _options(self) -> dict[str, Any]:
        if self.conf.backend != "opencv":
            raise ConfigError(f'The SIFT backend {self.conf.backend!r} is not supported; use "opencv".')
        changes = {"edge_threshold": float(self.conf.edge_threshold), "octave_layers": self.conf.num_octaves}
        return super()._options() | changes | self._root()

    def _root(self) -> dict[str, Any]:
        return {"root": self.conf.rootsift}


class DoGHardNet(SIFT):
    """The official ``lightglue.DoGHardNet``."""

    features = "doghardnet"
    default_conf: ClassVar[dict[str, Any]] = {**SIFT.default_conf, "allow_noncommercial": False}

    def _root(self) -> dict[str, Any]:
        return {}


def rbd(data: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the batch axis: the first element of each tensor, array or list, other values as they are."""
    return {name: value[0] if isinstance(value, Tensor | np.ndarray | list) else value for name, value in data.items()}


def match_pair(
    extractor: Extractor, matcher: LightGlue, image0: Tensor, image1: Tensor, device: str = "cpu", **preprocess: Any
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Match two images: (features of image 0, features of image 1, matches), without batch axis, on ``device``."""
    features0, features1 = extractor.extract(image0, **preprocess), extractor.extract(image1, **preprocess)
    matches = matcher({"image0": features0, "image1": features1})
    return _on(device, rbd(features0)), _on(device, rbd(features1)), _on(device, rbd(matches))


def load_image(path: str | os.PathLike[str], resize: int | None = None) -> Float[Tensor, "3 h w"]:
    """An RGB image in [0, 1], its longer side made ``resize`` pixels if given."""
    image = to_rgb(read_image(Path(path)))
    return Resize.long_side((image.shape[2], image.shape[1]), resize).apply(image)


def _on(device: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in data.items()}


def _none_if_off(value: int | float | None) -> Any:
    return None if value is None or value <= 0 else value


def _known(conf: Mapping[str, Any], allowed: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    for name in conf:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f" Did you mean {near[0]!r}?" if near else f" It has: {', '.join(allowed)}."
            raise ConfigError(f"{what} has no option {name!r}.{hint}")
    return conf


def _check_shape(asked: Mapping[str, Any], shape: lightglue.LightGlueShape) -> None:
    """Refuse options that say something else of the network than its weights do."""
    for name in ("input_dim", "descriptor_dim", "num_heads", "add_scale_ori"):
        if asked.get(name, getattr(shape, name)) != getattr(shape, name):
            raise ConfigError(f"{name} is {asked[name]}; these weights have {getattr(shape, name)}. Leave it out.")


def _features_of(data: Mapping[str, Mapping[str, Tensor]], key: str) -> list[Features]:
    if key not in data:
        raise ShapeError(f'The dict has no {key!r}; it must have "image0" and "image1".')
    image = data[key]
    for name, axes in (("keypoints", 3), ("descriptors", 3)):
        if name not in image:
            raise ShapeError(f"{key} has no {name!r}.")
        if image[name].ndim != axes:
            raise ShapeError(
                f"{key}[{name!r}] has shape {tuple(image[name].shape)}; it must have a batch axis: b × n × …. "
                "rbd() removed it? Use value[None], or photoglue.LightGlue, which has no batch axis."
            )
    return [_one_image(image, i) for i in range(len(image["keypoints"]))]


def _one_image(image: Mapping[str, Tensor], i: int) -> Features:
    keypoints = image["keypoints"][i].float()
    sizes: Tensor | Sequence[Sequence[float]] | None = image.get("image_size")
    if sizes is not None:
        sizes = torch.as_tensor(sizes, dtype=torch.float32)
        size = (sizes if sizes.ndim == 1 else sizes[i]).tolist()  # one for all, as officially
    elif len(keypoints):  # as the official code guesses it
        size = (1 + keypoints.amax(dim=0) - keypoints.amin(dim=0)).tolist()
        keypoints = keypoints - keypoints.amin(dim=0)  # the network sees differences only
    else:
        size = [1.0, 1.0]
    # The network sees positions in units of the long side. In a frame where that is 1024 pixels, scales mean what they
    # mean officially: pixels of the processed image.
    unit = SCALE_LONG_SIDE / max(size)
    return Features(
        keypoints=keypoints * unit,
        descriptors=image["descriptors"][i],
        scores=keypoints.new_ones(len(keypoints)),
        image_size=(max(1, round(size[0] * unit)), max(1, round(size[1] * unit))),
        scales=image["scales"][i].float() if "scales" in image else None,
        orientations=image["oris"][i].float() if "oris" in image else None,
    )
