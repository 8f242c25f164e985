"""DoG-HardNet: SIFT's points, described by a small convolutional network on patches of 32 × 32 pixels.

Reference: Mishchuk et al., Working hard to know your neighbor's margins (arXiv:1705.10872).

Everything is as in LightGlue's official wrapper, because the released matcher was trained on it, its oddities
included:

- OpenCV measures angles clockwise, the wrapper hands them to a function that turns patches anticlockwise. So patches
  are turned by the angle the wrong way, and the descriptors do not become invariant to rotation.
- Patches are centred on OpenCV's points, a quarter of a pixel from the true ones (see sift.py). ``keypoints`` are the
  true ones.
- ``scales`` is ``KeyPoint.size``, twice the sigma, and ``orientations`` lies in [0, 2 pi), unlike with SIFT.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from photoglue.extractors.base import ReleasedExtractor
from photoglue.extractors.sift import DogConfig, DogPoints, detect_dog, to_uint8
from photoglue.image import to_gray
from photoglue.precision import require_float32
from photoglue.structs import Features
from photoglue.weights import WeightsRecord, load_strictly

# The terms of the weights are not known to us: the repository's licence was not verified. `commercial` is False so that
# a user is asked before they are loaded, not because they are known to be restricted.
WEIGHTS: Mapping[str, WeightsRecord] = {
    "doghardnet": WeightsRecord(
        name="doghardnet",
        file="checkpoint_liberty_with_aug.pth",
        url=(
            "https://github.com/DagnyT/hardnet/raw/master/pretrained/train_liberty_with_aug/"
            "checkpoint_liberty_with_aug.pth"
        ),
        sha256=None,
        size=None,
        licence="not verified; see the repository",
        commercial=False,
        source="https://github.com/DagnyT/hardnet",
    )
}

PATCH_SIDE = 32
"""Side of a patch, pixels; the network is made for it."""

PATCH_RADIUS = 6.0
"""Half the side of the square that is described, in units of ``KeyPoint.size``."""

PATCHES_AT_ONCE = 64
"""Number of patches in one pass through the network on a CPU: with 512, activations leave the caches and it takes three
times as long (measured, 2048 patches, one thread: 1.0 s instead of 2.9 s)."""


@dataclass(frozen=True, kw_only=True)
class DoGHardNetConfig(DogConfig):
    """Options of DoG-HardNet, which are those of its detector."""


class HardNet(nn.Module):
    """The descriptor network, with the tensor names of the released checkpoint.

    Reference: arXiv:1705.10872, Sec. 3.3 (the architecture is L2-Net's).
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride in [(1, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)]:
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(outputs, affine=False),
                nn.ReLU(),
            ]
        layers += [nn.Dropout(0.3), nn.Conv2d(128, 128, PATCH_SIDE // 4, bias=False), nn.BatchNorm2d(128, affine=False)]
        self.features = nn.Sequential(*layers)
        self.eval()

    def train(self, mode: bool = True) -> "HardNet":  # noqa: ARG002
        """Stay in evaluation mode: dropout and moving statistics would spoil descriptors, and none are trained here."""
        return super().train(False)

    def forward(self, patches: Float[Tensor, "n 32 32"]) -> Float[Tensor, "n 128"]:
        """Descriptors of unit length; gain and offset of a patch's brightness do not matter."""
        deviation, mean = torch.std_mean(patches, dim=(1, 2), keepdim=True)
        standardised = (patches - mean) / (deviation + 1e-6)
        return functional.normalize(self.features(standardised[:, None]).flatten(1), dim=1)


class DoGHardNet(ReleasedExtractor):
    """SIFT's points with HardNet descriptors. Points are found on the CPU (OpenCV, the extra ``sift``)."""

    records = WEIGHTS
    config: DoGHardNetConfig
    kind = "doghardnet"
    descriptor_dim = 128

    def __init__(self, config: DoGHardNetConfig | None = None) -> None:
        super().__init__(config or DoGHardNetConfig())
        self.hardnet = HardNet()

    def load_weights(self, state: Mapping[str, object], origin: str) -> None:
        """Load the tensors of a file, which may lie under "state_dict"; see ``ReleasedExtractor``.

        The batch norms' count of training steps is older torch's or absent, and of no use here: our own stands in.
        """
        nested = state.get("state_dict", state)
        found = nested if isinstance(nested, Mapping) else {}
        own = self.hardnet.state_dict()
        counts = {name: tensor for name, tensor in own.items() if name.endswith("num_batches_tracked")}
        tensors = {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}
        load_strictly(self.hardnet, tensors | counts, origin)

    def detect(self, images: Float[Tensor, "b c h w"], masks: Bool[Tensor, "b h w"] | None = None) -> list[Features]:
        """Features of a batch of images of one size, in pixels of these tensors; see ``Extractor.detect``."""
        require_float32(self)
        grays = to_gray(images)
        wanted = [None] * len(grays) if masks is None else list(masks.cpu().numpy())
        return [
            self._as_features(gray[0], detect_dog(eight_bits, mask, self.config, signed_angles=False))
            for gray, eight_bits, mask in zip(grays, to_uint8(grays), wanted, strict=True)
        ]

    def _as_features(self, gray: Float[Tensor, "h w"], found: DogPoints) -> Features:
        centres, points, scores, sizes, angles = (
            torch.from_numpy(array).to(gray.device)
            for array in (found.opencv_points, found.points, found.scores, found.sizes, found.angles)
        )
        descriptors = self._describe(cut_patches(gray, centres, _turned_frames(PATCH_RADIUS * sizes, angles)))
        return Features(
            keypoints=points,
            descriptors=descriptors,
            scores=scores,
            image_size=(gray.shape[1], gray.shape[0]),
            kind=self.kind,
            scales=sizes,
            orientations=angles,
        )

    def _describe(self, patches: Float[Tensor, "n 32 32"]) -> Float[Tensor, "n 128"]:
        if len(patches) == 0:
            return patches.new_zeros(0, self.descriptor_dim)
        at_once = PATCHES_AT_ONCE if patches.device.type == "cpu" else len(patches)
        return torch.cat([self.hardnet(some) for some in torch.split(patches, at_once)])


def cut_patches(
    image: Float[Tensor, "h w"], centres: Float[Tensor, "n 2"], frames: Float[Tensor, "n 2 2"]
) -> Float[Tensor, "n 32 32"]:
    """Patches of an image along affine frames, each from the level of a pyramid that fits its size.

    Cell (i, j) of a patch is the image at centre + frame · (u_j, u_i), with u_k = (2 k + 1) / 32 - 1. A patch whose
    cells are 2^l to 2^(l+1) pixels apart comes from level l, or from the last one whose shorter side has 32 pixels.
    Outside the image its nearest pixel counts.

    Args:
        image: Gray image, in any range.
        centres: Centres (x, y) of the patches, pixels; the centre of the top-left pixel is (0, 0).
        frames: Matrices whose columns are a patch's x and y axes, from its centre to its edge, pixels.

    Reference: kornia's extract_patches_from_pyramid, which the released matcher was trained with.
    """
    height, width = image.shape
    last_level = max(0, (min(height, width) // PATCH_SIDE).bit_length() - 1)
    spacings = 2 / PATCH_SIDE * torch.linalg.det(frames).abs().sqrt()
    levels = spacings.log2().floor().clamp(0, last_level)
    steps = (2 * torch.arange(PATCH_SIDE, device=image.device, dtype=image.dtype) + 1) / PATCH_SIDE - 1
    cells = torch.cartesian_prod(steps, steps).flip(-1)  # rows of cells, each (x, y)
    positions = centres[:, None] + cells @ frames.mT
    # A level's pixels tile the same area as the image's, so that one grid in [-1, 1] serves all levels.
    grid = (2 * positions + 1) / image.new_tensor([width, height]) - 1
    patches = image.new_zeros(len(centres), PATCH_SIDE, PATCH_SIDE)
    for level in range(int(levels.max()) + 1 if len(levels) else 0):
        image = image if level == 0 else _halved(image)
        rows = torch.nonzero(levels == level).flatten()
        values = functional.grid_sample(
            image[None, None], grid[rows][None], mode="bilinear", padding_mode="border", align_corners=False
        )
        patches[rows] = values.view(-1, PATCH_SIDE, PATCH_SIDE)
    return patches


def _turned_frames(radii: Float[Tensor, " n"], angles: Float[Tensor, " n"]) -> Float[Tensor, "n 2 2"]:
    """Square frames turned anticlockwise as seen, by angles in radians."""
    cosines, sines = radii * angles.cos(), radii * angles.sin()
    return torch.stack([cosines, sines, -sines, cosines], dim=-1).view(-1, 2, 2)


def _halved(image: Float[Tensor, "h w"]) -> Float[Tensor, "h2 w2"]:
    """The image smoothed by a binomial filter of five pixels and resized to half, rounded down."""
    binomial = image.new_tensor([1, 4, 6, 4, 1]) / 16
    padded = functional.pad(image[None, None], (2, 2, 2, 2), mode="reflect")
    smooth = functional.conv2d(functional.conv2d(padded, binomial.view(1, 1, 1, 5)), binomial.view(1, 1, 5, 1))
    size = (image.shape[0] // 2, image.shape[1] // 2)
    return functional.interpolate(smooth, size, mode="bilinear", align_corners=False)[0, 0]
