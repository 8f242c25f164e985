"""Tensors that a module computes from its own weights: once for each state of them, not at each call."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Derived:
    """A memory for what was computed from some tensors, until one of them changes, moves or is replaced.

    It is no part of a module's state: it is not saved, copied or loaded.
    """

    def __init__(self) -> None:
        self._remembered: dict[Hashable, tuple[list[tuple[Tensor, int, int]], Any]] = {}

    def get(self, key: Hashable, sources: tuple[Tensor, ...], make: Callable[[], T]) -> T:
        """The result of ``make``, from memory if the sources are as they were.

        Args:
            key: Name of the result among those of the same tensors, such as a floating type.
            sources: All tensors that ``make`` looks at.
            make: Function that computes the result; called each time where gradients have to flow through it.
        """
        trained = torch.is_grad_enabled() and any(source.requires_grad for source in sources)
        if trained or any(source.is_inference() for source in sources):  # the latter do not count their changes
            return make()
        # A tensor of the state is held, so that no other can take its place in memory.
        state = [(source, source.data_ptr(), source._version) for source in sources]
        entry = self._remembered.get(key)
        if entry is None or not _same(entry[0], state):
            with torch.inference_mode(False), torch.no_grad():
                entry = state, make()
            self._remembered[key] = entry
        result: T = entry[1]
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
