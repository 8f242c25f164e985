"""Work by several processes comes back in order, and the same as by one."""

import os

import pytest
import torch

from photoglue.data.workers import in_order
from photoglue.errors import PhotoGlueError

pytest.importorskip("cv2")


def _scaled(state, item):
    if item == 8:
        raise PhotoGlueError("not this one")
    return state * item, torch.get_num_threads(), os.getpid()


def _fatal(state, item):
    os._exit(3)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_results_come_in_the_order_of_the_items_and_errors_come_through(workers):
    before, results = torch.get_num_threads(), []
    with pytest.raises(PhotoGlueError, match="not this one"):
        results.extend(in_order(_scaled, 3, iter(range(20)), workers))
    assert [value for value, *_ in results] == [3 * item for item in range(8)]
    assert {threads for _, threads, _ in results} == {1}
    assert (os.getpid() in {process for *_, process in results}) == (workers == 0)
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_a_process_that_dies_is_explained():
    with pytest.raises(PhotoGlueError, match="worker process ended unexpectedly"):
        list(in_order(_fatal, None, [1, 2], 1))
