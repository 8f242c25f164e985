"""Many pairs as one sequence of tokens.

The tokens of all images stand back to back: pair i is images 2i and 2i + 1. All that works on single tokens (linear
layers, norms, activations) runs on the whole sequence at once, without padding; only attention knows about segments.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from jaxtyping import Shaped
from torch import Tensor

TOKENS_AT_ONCE = {"cpu": 2048, "mps": 16384, "cuda": 131072}
"""The number of points, of all images, that go into one pass: enough to fill the device, not more than its memory
likes. A pair is never split. CPU: measured on 2 cores, larger passes leave the cache: pairs of 512 points take
a quarter longer at 8192, pairs of 200 a tenth less; CUDA and MPS: an estimate, not measured."""


@dataclass(frozen=True)
class Segments:
    """Where each image's tokens lie in the packed sequence; known on the host, so that nothing has to be read back."""

    lengths: tuple[int, ...]
    """Tokens of each image, images of a pair next to each other."""

    @property
    def offsets(self) -> tuple[int, ...]:
        """First token of each image, and at the end the number of tokens."""
        return (0, *accumulate(self.lengths))

    @property
    def total(self) -> int:
        """The number of tokens."""
        return sum(self.lengths)

    @property
    def equal(self) -> bool:
        """Whether all images have the same number of tokens."""
        return len(set(self.lengths)) <= 1

    def slices(self) -> list[slice]:
        """The tokens of each image."""
        return [slice(start, end) for start, end in pairwise(self.offsets)]

    def partners(self) -> list[slice]:
        """For each image the tokens of the other image of its pair."""
        slices = self.slices()
        return [slices[i ^ 1] for i in range(len(slices))]

    def of_pairs(self, pairs: Iterable[int]) -> "Segments":
        """The segments of some pairs, packed without the others."""
        return Segments(tuple(length for pair in pairs for length in self.lengths[2 * pair : 2 * pair + 2]))

    def spread(self, per_image: Shaped[Tensor, "i ..."]) -> Shaped[Tensor, "t ..."]:
        """One value an image, repeated for each of its tokens."""
        lengths = uploaded(self.lengths, torch.int64, per_image.device)
        return per_image.repeat_interleave(lengths, dim=0, output_size=self.total)


def uploaded(
    numbers: Sequence[int] | Sequence[Sequence[int]], dtype: torch.dtype, device: torch.device
) -> Shaped[Tensor, "..."]:
    """A few numbers of the host, as a tensor on the device.

    The host does not wait for a CUDA device to take them, as it would for any memory but pinned.
    """
    pinned = device.type == "cuda"
    table = torch.tensor(numbers, dtype=dtype, device="cpu", pin_memory=pinned)
    return table.to(device, non_blocking=pinned)


def batches(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Numbers of pairs for each pass, pairs of like size together, so that small ones are not kept waiting.

    Args:
        sizes: Points of each pair.
        budget: Of points in a pass; a pair that is larger goes alone.
    """
    passes: list[list[int]] = []
    room = 0
    for position in sorted(range(len(sizes)), key=lambda i: sizes[i]):
        if not passes or sizes[position] > room:
            passes.append([])
            room = budget
        passes[-1].append(position)
        room -= sizes[position]
    return passes
