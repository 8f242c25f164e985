"""Networks of ALIKED with random weights, and its joined map the plain way."""

import torch
from torch.nn import functional

from photoglue.extractors.aliked import ALIKED, ALIKEDConfig
from photoglue.extractors.aliked_layers import JoinedMap

SIZES = [(64, 96), (32, 32), (160, 32), (1, 1), (45, 70), (3, 200)]


def lively(variant: str = "t16") -> ALIKED:
    """Random weights, and batch norms that do something."""
    network = ALIKED(ALIKEDConfig(variant=variant, precision="float32")).eval().requires_grad_(False)
    for name, tensor in network.state_dict().items():
        if name.endswith(("bn1.weight", "bn2.weight", "running_var")):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("bn1.bias", "bn2.bias", "running_mean")):
            tensor.normal_(std=0.2)
    return network


def plain_joined(joined: JoinedMap) -> torch.Tensor:
    """The joined map of the padded image, as the paper draws it."""
    size = joined.fine.shape[2:]
    fine = functional.selu(functional.conv2d(joined.fine, joined.fine_weight))
    upsampled = [functional.interpolate(c, size, mode="bilinear", align_corners=True) for c in joined.coarse]
    return torch.cat([fine, *upsampled], dim=1)


def cropped(maps: torch.Tensor, joined: JoinedMap) -> torch.Tensor:
    (left, top), (width, height) = joined.corner, joined.image_size
    return maps[..., top : top + height, left : left + width]
