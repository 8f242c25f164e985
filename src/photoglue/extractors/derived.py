"""Tensors that a module computes from its own weights: once for each state of them, not at each call."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Derived:
    """Remembers what was made of some tensors until one of them changes, moves, or is another.

    It is no part of a module's state: nothing of it is saved, copied or loaded.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[list[tuple[Tensor, int, int]], Any]] = {}

    def get(self, key: Hashable, sources: tuple[Tensor, ...], make: Callable[[], T]) -> T:
        """What ``make`` gives.

        Args:
            key: Tells apart what is made of the same tensors, such as a floating type.
            sources: All tensors that ``make`` looks at.
            make: Is called anew where gradients have to flow through it.
        """
        trained = torch.is_grad_enabled() and any(source.requires_grad for source in sources)
        if trained or any(source.is_inference() for source in sources):  # the latter do not count their changes
            return make()
        # A tensor of the state is held, so that no other can take its place in memory.
        state = [(source, source.data_ptr(), source._version) for source in sources]
        kept = self._kept.get(key)
        if kept is None or not _same(kept[0], state):
            with torch.inference_mode(False), torch.no_grad():
                kept = state, make()
            self._kept[key] = kept
        result: T = kept[1]
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> "Derived":
        return Derived()

    def __reduce__(self) -> tuple[type["Derived"], tuple[()]]:
        return Derived, ()


def _same(one: list[tuple[Tensor, int, int]], other: list[tuple[Tensor, int, int]]) -> bool:
    return len(one) == len(other) and all(
        tensor is another and state == its_state
        for (tensor, *state), (another, *its_state) in zip(one, other, strict=True)
    )
