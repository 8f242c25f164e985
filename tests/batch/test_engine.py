"""Engines apply a function to all chunks, and refuse numbers that make no sense."""

import pytest

from photoglue.batch.engine import Inline, Processes
from photoglue.errors import ConfigError


def _times(state, chunk):
    return [state * number for number in chunk]


CHUNKS = {"a": [1, 2], "b": [], "c": [3]}


@pytest.mark.slow
@pytest.mark.parametrize("engine", [Inline(), pytest.param(Processes(workers=2), marks=pytest.mark.slow)])
def test_every_chunk_is_done(engine):
    assert dict(engine.map(_times, 3, CHUNKS)) == {"a": [3, 6], "b": [], "c": [9]}


def test_processes_need_one():
    with pytest.raises(ConfigError, match="workers is 0; it must be at least 1"):
        Processes(workers=0)
