"""Where a point lies, as rotations of its query and key.

Rotary encoding makes attention depend on the difference of two positions only, so the origin does not matter; the
unit does: positions are divided by half the long side of their image, the aspect is kept.

Reference: LightGlue (arXiv 2306.13643), Sec. 3.1, eq. 3 and 4.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from photoglue.matchers.lightglue.packing import Segments
from photoglue.structs import Features

SCALE_LONG_SIDE = 1024
"""Scales enter the network in pixels of an image with this long side, the one that the released weights were trained
on. The official code passes the pixels of whatever image was processed: the same at its default resize, and
inconsistent with the normalised positions at any other."""


class FourierEncoding(nn.Module):
    """Learned frequencies: each of them turns one pair of channels, the same for all heads and layers."""

    def __init__(self, position_dim: int, head_dim: int) -> None:
        super().__init__()
        self.Wr = nn.Linear(position_dim, head_dim // 2, bias=False)
        nn.init.normal_(self.Wr.weight)

    def forward(self, positions: Float[Tensor, "t p"]) -> Float[Tensor, "2 t 1 f"]:
        """Cosine and sine of each point's angles; the axis of length 1 is for the heads."""
        angles = self.Wr(positions)
        return torch.stack([angles.cos(), angles.sin()]).unsqueeze(2)


def rotate(x: Float[Tensor, "t h e"], encoding: Float[Tensor, "2 t 1 f"]) -> Float[Tensor, "t h e"]:
    """Each pair of neighbouring channels, turned by its angle."""
    cosine, sine = encoding
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], dim=-1).flatten(-2)


def positions_of(images: Sequence[Features], segments: Segments, add_scale_ori: bool) -> Float[Tensor, "t p"]:
    """Normalised positions of all points, packed: x, y in [-1, 1] along the long side; then scale and orientation.

    Scale is in pixels of an image with a long side of 1024 pixels, orientation in radians. Of a photo that was turned
    before its points were described, positions and orientations are turned likewise.
    """
    images = [features.as_described() if features.quarters else features for features in images]
    keypoints = torch.cat([features.keypoints for features in images])
    sizes = keypoints.new_tensor([features.image_size for features in images])
    half = segments.spread(sizes / 2)
    positions = (keypoints - half) / half.amax(dim=1, keepdim=True)
    if not add_scale_ori:
        return positions
    scales = torch.cat([features.scales for features in images if features.scales is not None])
    orientations = torch.cat([features.orientations for features in images if features.orientations is not None])
    unit = segments.spread(SCALE_LONG_SIDE / sizes.amax(dim=1))
    return torch.cat([positions, (scales.float() * unit)[:, None], orientations[:, None].float()], dim=1)
