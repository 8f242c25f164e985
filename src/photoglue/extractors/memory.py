"""Memory for large maps that a network keeps from one photo to the next."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


class Memory:
    """Large maps in single precision on the CPU, taken by name and given back when nobody needs them any more.

    Memory that is new each time has to be asked of the system and cleared by it: for a photo of 1024 × 704 pixels that
    would take ALIKED a tenth of its time. One map of each name is kept. It is no part of a network's state: it is not
    saved, copied or loaded. Threads may share it.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def take(self, name: str, channels: int, height: int, width: int) -> Float[Tensor, "1 c h w"]:
        """A map to be filled, with its channels last in memory."""
        count = channels * height * width
        flat = self._kept.pop(name, None)
        if flat is None or not count <= len(flat) <= 16 * count:
            flat = torch.empty(count, dtype=torch.float32, device="cpu")
        return flat[:count].view(1, height, width, channels).permute(0, 3, 1, 2)

    def give(self, name: str, maps: Float[Tensor, "1 c h w"]) -> None:
        """Give back a map that was taken by this name; it must not be used any more."""
        base = maps._base
        assert base is not None
        self._kept[name] = base

    def __deepcopy__(self, memo: dict[int, Any]) -> "Memory":
        return Memory()

    def __reduce__(self) -> tuple[type["Memory"], tuple[()]]:
        return Memory, ()
