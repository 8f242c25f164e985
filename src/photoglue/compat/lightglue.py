"""``lightglue.lightglue``: the matcher."""

import math
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from photoglue.compat.options import current, known, number, number_or_off, use_official_names
from photoglue.errors import ConfigError, ShapeError, WeightsError
from photoglue.matchers import lightglue
from photoglue.matchers.lightglue import pretrained
from photoglue.matchers.lightglue.adaptive import PRUNING_MIN_KEYPOINTS, confidence_threshold
from photoglue.matchers.lightglue.encoding import SCALE_LONG_SIDE
from photoglue.precision import Precision
from photoglue.structs import Features, Matches

SHAPE = ("input_dim", "descriptor_dim", "num_heads", "add_scale_ori")
"""Options that weights decide."""


class LightGlue(nn.Module):
    """The official matcher's interface: ``LightGlue(features="superpoint", **conf)(data) -> dict``.

    ``conf`` holds the options, and may change at any time: each call reads it. ``weights`` is the path of a checkpoint
    of any kind that ``photoglue.LightGlue.from_checkpoint`` reads, used with ``features=None``.
    """

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
    }
    """The official options. ``mp`` chooses the fastest precision of the machine, else it is float32. ``flash`` only
    chooses the threshold of pruning: the kernel is the one that the machine does best."""

    features: ClassVar[dict[str, dict[str, Any]]] = {
        "superpoint": {"weights": "superpoint_lightglue", "input_dim": 256},
        "disk": {"weights": "disk_lightglue", "input_dim": 128},
        "aliked": {"weights": "aliked_lightglue", "input_dim": 128},
        "sift": {"weights": "sift_lightglue", "input_dim": 128, "add_scale_ori": True},
        "doghardnet": {"weights": "doghardnet_lightglue", "input_dim": 128, "add_scale_ori": True},
    }
    """The features that there are official weights for. PhotoGlue's other models go by their names as well."""

    pruning_keypoint_thresholds: ClassVar[dict[str, int]] = {**PRUNING_MIN_KEYPOINTS, "cuda": 1024, "flash": 1536}
    """An image is pruned only while it has more points than this."""

    required_data_keys: ClassVar[list[str]] = ["image0", "image1"]
    version = "v0.1_arxiv"
    url = "https://github.com/cvg/LightGlue/releases/download/{}/{}_lightglue.pth"

    def __init__(self, features: str | None = "superpoint", **conf: Any) -> None:
        super().__init__()
        # Not official, but scripts that were written for PhotoGlue may pass it.
        conf = {name: value for name, value in conf.items() if name != "compile"}
        asked = known(conf, self.default_conf, "LightGlue")
        conf = {**self.default_conf, **asked}
        self.static_lengths: list[int] | None = None
        self.net = _network(features, conf, asked)
        # Officially too, conf then says what the weights are.
        shape = {name: getattr(self.net.shape, name) for name in (*SHAPE, "n_layers")}
        self.conf = SimpleNamespace(**{**conf, **shape, **self.features.get(features or "", {})})
        self._built = dict(vars(self.conf))
        use_official_names(self, "net.", "")

    def forward(self, data: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The official dict of matches for a batch of pairs.

        Args:
            data: "image0" and "image1", each with "keypoints" (b × n × 2, pixels), "descriptors" (b × n × d), optional
                "image_size" (b × 2, width and height), and "scales" and "oris" (b × n) for SIFT-like features.

        Raises:
            ConfigError: If ``conf`` holds what does not exist or does not fit.
            ShapeError: If an entry is missing or has no batch axis, or the two batches differ in length.
        """
        options = current(self.conf, self._built, (*SHAPE, "n_layers", "weights"), "LightGlue")
        self.net.config = replace(
            self.net.config, **_thresholds(options), pruning_min_keypoints=self.pruning_min_kpts(self.net.device)
        )
        precision = _precision(options)
        if self.net.precision != precision:
            self.net.prepare(precision)
        images0, images1 = (_features_of(data, key) for key in self.required_data_keys)
        if len(images0) != len(images1):
            raise ShapeError(f"image0 is a batch of {len(images0)}, image1 of {len(images1)}; they must be as many.")
        return self._as_dict(self.net.match_many(list(zip(images0, images1, strict=True))))

    def compile(self, mode: str = "reduce-overhead", static_lengths: list[int] | None = None) -> None:  # noqa: ARG002
        """Accepted, and compiles nothing: packed pairs need no padding to static lengths. Pruning stays on."""
        self.static_lengths = static_lengths

    def pruning_min_kpts(self, device: torch.device) -> int:
        """How many points an image must exceed to be pruned on a device."""
        flash = device.type == "cuda" and getattr(self.conf, "flash", True)
        return self.pruning_keypoint_thresholds.get("flash" if flash else device.type, -1)

    def confidence_threshold(self, layer_index: int) -> float:
        """How confident a point must be after a layer, counted from 0, to be called done."""
        return confidence_threshold(layer_index, self.net.shape.n_layers)

    def _as_dict(self, found: list[Matches]) -> dict[str, Any]:
        stacked = {
            name: torch.stack([getattr(matches, name) for matches in found])
            for name in ("matches0", "matches1", "matching_scores0", "matching_scores1", "prune0", "prune1")
        }
        if self.net.config.width_confidence is None:  # then the official code gives floating tensors
            stacked |= {name: stacked[name].float() for name in ("prune0", "prune1")}
        return {
            **stacked,
            "stop": max(matches.stop or 0 for matches in found),
            "matches": [matches.indices for matches in found],
            "scores": [matches.scores for matches in found],
        }

    def _read_state(self, state: Mapping[str, object]) -> dict[str, Tensor]:
        """The weights of an official file under the network's names."""
        return pretrained.network_state(state, "The state dict")


def normalize_keypoints(
    kpts: Float[Tensor, "*b n 2"], size: Float[Tensor, "*b 2"] | tuple[float, float] | list[float] | None = None
) -> Float[Tensor, "*b n 2"]:
    """Positions as the network sees them: x, y in [-1, 1] along the longer side, the aspect kept.

    Args:
        kpts: Pixels.
        size: (width, height) in pixels; None: guessed from the extent of the points.
    """
    extent = kpts.amax(dim=-2) - kpts.amin(dim=-2) + 1 if size is None else torch.as_tensor(size).to(kpts)
    half = extent / 2
    return (kpts - half.unsqueeze(-2)) / half.amax(dim=-1)[..., None, None]


def _network(features: str | None, conf: Mapping[str, Any], asked: Mapping[str, Any]) -> lightglue.LightGlue:
    """The network that the options mean; ``asked`` are those that the user gave, which must fit the weights."""
    weights, precision = conf["weights"], _precision(conf)
    config = lightglue.LightGlueConfig(**_thresholds(conf), n_layers=asked.get("n_layers"))
    if features is None and weights is None:
        shape = lightglue.LightGlueShape(**{name: conf[name] for name in (*SHAPE, "n_layers")})
        return lightglue.LightGlue(config, shape=shape)
    if features is None:
        net = lightglue.LightGlue.from_checkpoint(weights, config, precision=precision)
    elif weights is None or weights == LightGlue.features.get(features, {}).get("weights"):
        net = _official(features, config, precision)
        # The official code has no kinds: dicts do not say what they hold.
        net.shape = replace(net.shape, kinds=None)
    else:
        raise ConfigError(
            f"weights is {str(weights)!r}, but features={features!r} asks for released weights. For a file of your own "
            "use LightGlue(features=None, weights=PATH)."
        )
    for name in SHAPE:
        if name in asked and asked[name] != getattr(net.shape, name):
            raise ConfigError(f"{name} is {asked[name]!r}; the weights have {getattr(net.shape, name)}. Leave it out.")
    return net


def _official(features: str, config: lightglue.LightGlueConfig, precision: Precision) -> lightglue.LightGlue:
    """The released network that the official code takes for these features."""
    if features != "sift":
        return lightglue.LightGlue.pretrained(features, config, precision=precision)
    try:
        return lightglue.LightGlue.pretrained("sift-official", config, precision=precision)
    except WeightsError as error:
        advice = 'PhotoGlue\'s own model for SIFT needs no download: LightGlue(features="sift-photoglue").'
        raise WeightsError(f"{error} {advice}") from error


def _precision(conf: Mapping[str, Any]) -> Precision:
    return "auto" if conf["mp"] else "float32"


def _thresholds(conf: Mapping[str, Any]) -> dict[str, Any]:
    """The options that may change at any time, as fields of the matcher's config."""
    return {
        "depth_confidence": number_or_off(conf, "depth_confidence"),
        "width_confidence": number_or_off(conf, "width_confidence"),
        "filter_threshold": number(conf, "filter_threshold"),
    }


def _features_of(data: Mapping[str, Mapping[str, Any]], key: str) -> list[Features]:
    if key not in data:
        raise ShapeError(f'The dict has no {key!r}; it must have "image0" and "image1".')
    image = dict(data[key])
    for name, axes in (("keypoints", 3), ("descriptors", 3)):
        if name not in image:
            raise ShapeError(f"{key} has no {name!r}.")
        image[name] = torch.as_tensor(image[name])
        if image[name].ndim != axes:
            raise ShapeError(
                f"{key}[{name!r}] has shape {tuple(image[name].shape)}; it must have a batch axis: b × n × …. "
                "rbd() removed it? Use value[None], or photoglue.LightGlue, which has no batch axis."
            )
    points, descriptors = image["keypoints"], image["descriptors"]
    if not len(points) or points.shape[:2] != descriptors.shape[:2]:
        hint = ""
        if points.shape[1] == descriptors.shape[2]:
            hint = " Are descriptors d × n, as hloc stores them? Pass descriptors.transpose(-1, -2)."
        raise ShapeError(
            f"{key} has keypoints of shape {tuple(points.shape)} and descriptors of shape {tuple(descriptors.shape)}; "
            f"they must be b × n × 2 and b × n × d, with b at least 1.{hint}"
        )
    return [_one_image(image, key, i) for i in range(len(points))]


def _one_image(image: Mapping[str, Any], key: str, i: int) -> Features:
    keypoints = image["keypoints"][i].float()
    sizes = image.get("image_size")
    if sizes is not None:
        sizes = torch.as_tensor(sizes, dtype=torch.float32)
        size = (sizes if sizes.ndim == 1 else sizes[i]).tolist()  # one for all, as officially
        if len(size) != 2 or not all(0 < side < math.inf for side in size):
            raise ShapeError(f"{key}['image_size'] is {size}; it must be (width, height) in pixels.")
    elif len(keypoints):  # as the official code guesses it
        size = (1 + keypoints.amax(dim=0) - keypoints.amin(dim=0)).tolist()
        keypoints = keypoints - keypoints.amin(dim=0)  # the network sees differences only
    else:
        size = [1.0, 1.0]
    # Sizes of Features are whole numbers, and the network sees positions in units of the long side: where that is not
    # whole, the frame is made larger until it is. All else stays in the user's pixels, which messages speak of.
    long_side = math.ceil(max(size))
    unit = long_side / max(size)
    scales = None
    if "scales" in image:
        # Officially they enter as they are; here, multiplied by SCALE_LONG_SIDE / long_side.
        scales = torch.as_tensor(image["scales"])[i].float() * (long_side / SCALE_LONG_SIDE)
    return Features(
        keypoints=keypoints if unit == 1 else keypoints * unit,
        descriptors=image["descriptors"][i],
        scores=keypoints.new_ones(len(keypoints)),
        image_size=(max(1, round(size[0] * unit)), max(1, round(size[1] * unit))),
        scales=scales,
        orientations=torch.as_tensor(image["oris"])[i].float() if "oris" in image else None,
    )
