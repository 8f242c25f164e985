"""SuperPoint: one VGG-style encoder, a head that detects and a head that describes, trained on its own labels.

Reference: SuperPoint: Self-supervised interest point detection and description (arXiv:1712.07629), Sec. 3; layer names
of the weights released with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from photoglue.errors import ConfigError, ShapeError
from photoglue.extractors.base import ExtractorConfig, ReleasedExtractor
from photoglue.extractors.deform_conv import empty_map, strips
from photoglue.extractors.derived import Derived
from photoglue.extractors.keypoints import best, iterated_maxima, sample_bilinear, without_blank, without_border
from photoglue.extractors.memory import Memory
from photoglue.image import to_gray
from photoglue.native import extract as native
from photoglue.precision import Precision
from photoglue.structs import Features
from photoglue.weights import WeightsRecord

WEIGHTS: Mapping[str, WeightsRecord] = {
    "superpoint": WeightsRecord(
        name="superpoint",
        file="superpoint_v1.pth",
        url="https://github.com/cvg/LightGlue/releases/download/v0.1_arxiv/superpoint_v1.pth",
        sha256="52b6708629640ca883673b5d5c097c4ddad37d8048b33f09c8ca0d69db12c40e",
        size=5_206_086,
        licence="Magic Leap: academic or non-profit, non-commercial research only",
        commercial=False,
        source="https://github.com/magicleap/SuperGluePretrainedNetwork",
    )
}
"""Record of the released weights, by kind."""

_DESCRIPTOR_DIM = 256
_CELL = 8  # three halvings: a cell of 8 × 8 pixels has one row of scores and one descriptor
_STRIP = 32  # rows at full size that each thread computes at once: 4 to 8 MB of a map
_BUFFERS = ("even", "odd")  # where the encoder's maps lie, by turns


@dataclass(frozen=True, kw_only=True)
class SuperPointConfig(ExtractorConfig):
    """Options of SuperPoint; the defaults are those that LightGlue was released with."""

    detection_threshold: float = 0.0005
    """Probability above which a point counts. SuperPoint's authors use 0.005."""
    nms_radius: int = 4
    """Reach, in pixels of the resized image to each side, of the square window in which a point has the highest score;
    0: no suppression."""
    border: int = 4
    """Width of the frame without points along the edge of the resized image, pixels."""
    precision: Precision = "auto"
    """Number format of the network's larger products; "auto" is single precision here. With random weights bfloat16
    keeps 92 to 98 % of the points of real photos within half a pixel, in half the time; with the released ones nobody
    has measured it for this package."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.border < 0:
            raise ConfigError(f"border is {self.border}; it must be 0 or more pixels.")


class SuperPoint(ReleasedExtractor):
    """SuperPoint: whole-pixel keypoints, scores in [0, 1], descriptors of length 256. Sees gray images.

    Height and width beyond the last whole cell of 8 pixels are not looked at.

    Reference: SuperPoint (arXiv:1712.07629), Sec. 3. Suppression, border and descriptor sampling are those that
    LightGlue was trained with.
    """

    records = WEIGHTS
    kind = "superpoint"
    descriptor_dim = _DESCRIPTOR_DIM
    config: SuperPointConfig

    def __init__(self, config: SuperPointConfig | None = None) -> None:
        super().__init__(config or SuperPointConfig())
        self.conv1a = nn.Conv2d(1, 64, 3, padding=1)
        self.conv1b = nn.Conv2d(64, 64, 3, padding=1)
        self.conv2a = nn.Conv2d(64, 64, 3, padding=1)
        self.conv2b = nn.Conv2d(64, 64, 3, padding=1)
        self.conv3a = nn.Conv2d(64, 128, 3, padding=1)
        self.conv3b = nn.Conv2d(128, 128, 3, padding=1)
        self.conv4a = nn.Conv2d(128, 128, 3, padding=1)
        self.conv4b = nn.Conv2d(128, 128, 3, padding=1)
        self.convPa = nn.Conv2d(128, 256, 3, padding=1)
        self.convPb = nn.Conv2d(256, _CELL * _CELL + 1, 1)
        self.convDa = nn.Conv2d(128, 256, 3, padding=1)
        self.convDb = nn.Conv2d(256, _DESCRIPTOR_DIM, 1)
        # On a CPU the encoder takes 0.6 of the time with the channels last; loading weights keeps the layout.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._derived = Derived()
        self._memory = Memory()

    def compute_dtype(self, device: torch.device) -> torch.dtype:
        """Number format of the network's larger products on a device: not less than single, unless asked for."""
        chosen = super().compute_dtype(device)
        return torch.float32 if self.config.precision == "auto" else chosen

    def detect(self, images: Float[Tensor, "b c h w"], masks: Bool[Tensor, "b h w"] | None = None) -> list[Features]:
        """Features of a batch of images of one size, in pixels of these tensors.

        Args:
            images: RGB or gray, in [0, 1]. Without a whole cell of 8 × 8 pixels there are no points.
            masks: True where keypoints are wanted.
        """
        # One by one: a batch of photos is no faster, and its maps would not stay in a CPU's cache.
        return [self._detect_one(image, None if masks is None else masks[i]) for i, image in enumerate(images)]

    def describe_in(self, image: Float[Tensor, "c h w"], points: Float[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
        """Descriptors at given points, sampled like those of detected points.

        Args:
            image: RGB or gray, in [0, 1].
            points: (x, y) in pixels of ``image``, inside it.

        Raises:
            ShapeError: If the image has no whole cell of 8 × 8 pixels.
        """
        height, width = image.shape[1:]
        if min(height, width) < _CELL:
            raise ShapeError(
                f"The image is {width} × {height} pixels at the size that SuperPoint sees; it needs at least "
                f"{_CELL} × {_CELL} to describe a point. Use a larger resize, or a less elongated part of the image."
            )
        return self._sample(self._descriptor_map(self._encode(image)), points)

    def _detect_one(self, image: Float[Tensor, "c h w"], mask: Bool[Tensor, "h w"] | None) -> Features:
        height, width = image.shape[1:]
        if min(height, width) < _CELL:
            return Features(
                keypoints=image.new_zeros(0, 2),
                descriptors=image.new_zeros(0, _DESCRIPTOR_DIM),
                scores=image.new_zeros(0),
                image_size=(width, height),
                kind=self.kind,
            )
        encoded = self._encode(image)
        score_map = self._score_map(encoded)
        maxima = iterated_maxima(score_map[None], self.config.nms_radius, threshold=self.config.detection_threshold)
        wanted = without_blank(without_border(maxima, self.config.border), image[None])[0]
        if mask is not None:
            wanted &= mask[: wanted.shape[0], : wanted.shape[1]]
        scores = score_map[wanted]
        chosen = best(scores, self.config.max_keypoints)
        keypoints = wanted.nonzero()[chosen].flip(1).float()
        descriptors = self._sample(self._descriptor_map(encoded), keypoints)
        if native.usable(encoded, self.conv1a.weight):
            self._memory.give(_BUFFERS[0], encoded[None])
        return Features(
            keypoints=keypoints,
            descriptors=descriptors,
            scores=scores[chosen],
            image_size=(width, height),
            kind=self.kind,
        )

    def _encode(self, image: Float[Tensor, "c h w"]) -> Float[Tensor, "k h2 w2"]:
        dtype = self.compute_dtype(image.device)
        if dtype == torch.float32 and native.usable(image, self.conv1a.weight):
            return self._encode_natively(to_gray(image)[None])
        maps = self._encode_at_full_size(to_gray(image)[None], dtype)
        maps = self._conv("conv2b", _relu(self._conv("conv2a", maps)))
        maps = self._conv("conv3b", _relu(self._conv("conv3a", _pooled(maps))))
        maps = _relu(self._conv("conv4b", _relu(self._conv("conv4a", _pooled(maps)))))
        return maps[0]

    def _encode_natively(self, gray: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "k h2 w2"]:
        """The encoder by way of the native kernels."""
        height, width = gray.shape[2:]
        first, second = self.conv1a, self.conv1b
        taps, kernel = self._derived.get(
            "native",
            (first.weight, second.weight),
            lambda: (first.weight.permute(1, 2, 3, 0).contiguous(), native.packed(second.weight)),
        )
        maps = self._memory.take(_BUFFERS[0], second.out_channels, height // 2, width // 2)
        native.run(
            native.Opening,
            plane=functional.pad(gray, (1, 1, 1, 1)),
            weights1=taps,
            bias1=first.bias,
            weights2=kernel,
            bias2=second.bias,
            result=maps,
            height=height,
            width=width,
            channels=first.out_channels,
        )
        for number, name in enumerate(("conv2a", "conv2b", "conv3a", "conv3b", "conv4a", "conv4b")):
            result = self._native_conv(name, maps, _BUFFERS[1 - number % 2], halved=name in ("conv2b", "conv3b"))
            self._memory.give(_BUFFERS[number % 2], maps)
            maps = result
        return maps[0]

    def _native_conv(
        self, name: str, maps: Float[Tensor, "1 c h w"], buffer: str, *, halved: bool = False
    ) -> Float[Tensor, "1 d h2 w2"]:
        """A convolution by its name and the gate, if wanted with the maxima over 2 × 2 pixels."""
        weight, bias = self.get_parameter(f"{name}.weight"), self.get_parameter(f"{name}.bias")
        kernel = self._derived.get(("native", name), (weight,), lambda: native.packed(weight))
        height, width = maps.shape[2:]
        cell = 2 if halved else 1
        result = self._memory.take(buffer, len(bias), height // cell, width // cell)
        native.run(
            native.Conv,
            maps=maps,
            weights=kernel,
            bias=bias,
            result=result,
            height=height,
            width=width,
            inputs=maps.shape[1],
            outputs=len(bias),
            halved=int(halved),
        )
        return result

    def _encode_at_full_size(self, gray: Float[Tensor, "1 1 h w"], dtype: torch.dtype) -> Float[Tensor, "1 k h2 w2"]:
        """The first two convolutions and the first halving, in strips that stay in a CPU's cache.

        The first layer, a hundredth of the work, is in single precision: half of it would round a photo to fewer shades
        than it has.
        """
        height, width = gray.shape[2:]
        even = height // 2 * 2
        halved = empty_map(gray, self.conv1b.out_channels, height // 2, width // 2, dtype)
        for first, last in strips(gray[:, :, :even], _STRIP):
            # Each of the convolutions looks one row further; beyond the image there are zeros.
            start, stop = max(first - 1, 0), min(last + 1, height)
            above = max(start - 1, 0)
            hidden = _relu(self.conv1a(gray[:, :, above : stop + 1]))[:, :, start - above : stop - above].to(dtype)
            if start > first - 1 or stop < last + 1:
                hidden = functional.pad(hidden, (0, 0, start - first + 1, last + 1 - stop))
            halved[:, :, first // 2 : last // 2] = _pooled(self._conv("conv1b", hidden, padding=(0, 1)))
        return halved

    def _conv(
        self, name: str, maps: Float[Tensor, "b c h w"], padding: tuple[int, int] = (1, 1)
    ) -> Float[Tensor, "b d h2 w2"]:
        """A convolution by its name, in the floating type of the maps."""
        weight: Tensor = self.get_parameter(f"{name}.weight")
        bias: Tensor = self.get_parameter(f"{name}.bias")
        dtype = maps.dtype
        if dtype != weight.dtype:
            weight, bias = self._derived.get((name, dtype), (weight, bias), lambda: (weight.to(dtype), bias.to(dtype)))
        return functional.conv2d(maps, weight, bias, padding=padding)

    def _score_map(self, encoded: Float[Tensor, "k h2 w2"]) -> Float[Tensor, "h w"]:
        """The probability of a point at each pixel: of the 65 outcomes of a cell, the last is "no point"."""
        logits = self._pointwise("convPb", self._hidden("convPa", encoded).float())[0]
        return functional.pixel_shuffle(logits.softmax(dim=0)[:-1], _CELL)[0]

    def _pointwise(self, name: str, maps: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 d h w"]:
        """A convolution of single pixels by its name."""
        weight, bias = self.get_parameter(f"{name}.weight"), self.get_parameter(f"{name}.bias")
        if not native.usable(maps, weight):
            return self._conv(name, maps, padding=(0, 0))
        kernel, summand = self._derived.get(
            ("native", name), (weight, bias), lambda: (native.packed(weight), native.padded(bias))
        )
        return native.pointwise(native.dense(maps), kernel, summand, len(summand))[:, : len(bias)]

    def _hidden(self, name: str, encoded: Float[Tensor, "k h2 w2"]) -> Float[Tensor, "1 d h2 w2"]:
        """The first layer of a head, gated."""
        if native.usable(encoded, self.conv1a.weight):
            return self._native_conv(name, encoded[None], name)
        return _relu(self._conv(name, encoded[None]))

    def _descriptor_map(self, encoded: Float[Tensor, "k h2 w2"]) -> Float[Tensor, "d h2 w2"]:
        descriptors = self._pointwise("convDb", self._hidden("convDa", encoded))[0].float()
        return functional.normalize(descriptors, dim=0)

    def _sample(self, maps: Float[Tensor, "d h2 w2"], points: Float[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
        """Descriptors at points in pixels of the image.

        The centre of a cell is 3.5 pixels after its first pixel. The released code, with which LightGlue was trained,
        then stretches the map a little: its last cell lies where pixel 8·w - 1 would be, not at the centre of the cell.
        """
        cells = points.new_tensor([maps.shape[2], maps.shape[1]])
        offset = (_CELL - 1) / 2
        in_cells = (points - offset) / (cells * _CELL - _CELL / 2 - 0.5) * (cells - 1)
        # Beyond the outermost cells the border's direction is as good as the released code's shrinking to zero.
        return functional.normalize(sample_bilinear(maps, in_cells, padding_mode="border"), dim=1)


def _pooled(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """The maximum over 2 × 2, then the gate: in this order a quarter of the work."""
    return _relu(functional.max_pool2d(maps, 2))


def _relu(maps: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return functional.relu(maps, inplace=True)
