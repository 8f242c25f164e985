"""An instruction set of the native library for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from photoglue.native.library import instruction_set, library


@contextmanager
def chosen(instructions: bytes) -> Iterator[None]:
    """Has kernels, and networks that are made meanwhile, use an instruction set; skips where there is none such."""
    before = instruction_set().encode()
    if not library().photoglue_choose(instructions):
        pytest.skip("this processor has not these instructions")
    yield
    assert library().photoglue_choose(before)
