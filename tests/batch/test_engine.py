"""Engines apply a function to all chunks, and refuse numbers that make no sense."""

import threading

import pytest

from photoglue.batch.engine import Inline, Processes, Threads
from photoglue.errors import ConfigError


def _times(state, chunk):
    return [state * number for number in chunk]


CHUNKS = {"a": [1, 2], "b": [], "c": [3]}


@pytest.mark.parametrize(
    "engine", [Inline(), Threads(workers=2), pytest.param(Processes(workers=2), marks=pytest.mark.slow)]
)
def test_every_chunk_is_done(engine):
    assert dict(engine.map(_times, 3, CHUNKS)) == {"a": [3, 6], "b": [], "c": [9]}


def test_threads_work_at_once_and_give_back_in_order():
    both = threading.Barrier(2)

    def met(state, chunk):
        if chunk in (0, 1):
            both.wait(timeout=30)  # broken, if the two are not worked on at once
        return state + chunk

    chunks = {str(number): number for number in range(20)}
    assert list(Threads(workers=2).map(met, 5, chunks)) == [(str(number), 5 + number) for number in range(20)]


def test_an_error_in_a_thread_is_raised():
    with pytest.raises(TypeError):
        list(Threads(workers=2).map(_times, None, {"a": [1]}))


@pytest.mark.parametrize("engine", [Processes, Threads])
def test_workers_are_one_at_least(engine):
    with pytest.raises(ConfigError, match="workers is 0; it must be at least 1"):
        engine(workers=0)
