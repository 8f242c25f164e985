"""Processes that end with this one; their work comes back in order, and the same as by one."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
import torch

from photoglue.errors import PhotoGlueError
from photoglue.workers import in_order, process_pool

pytest.importorskip("cv2", exc_type=ImportError)


def _scaled(state, item):
    if item == 8:
        raise PhotoGlueError("not this one")
    return state * item, torch.get_num_threads(), os.getpid()


def _fatal(state, item):
    os._exit(3)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_results_come_in_the_order_of_the_items_and_errors_come_through(workers, monkeypatch):
    monkeypatch.setattr("photoglue.workers.multiprocessing", multiprocessing)  # as users have it
    before, results = torch.get_num_threads(), []
    with pytest.raises(PhotoGlueError, match="not this one"):
        results.extend(in_order(_scaled, 3, iter(range(20)), workers))
    assert [value for value, *_ in results] == [3 * item for item in range(8)]
    assert {threads for _, threads, _ in results} == {1}
    assert (os.getpid() in {process for *_, process in results}) == (workers == 0)
    assert torch.get_num_threads() == before


def _tensors(state, item):
    return [torch.full((3,), item) for _ in range(200)]


@pytest.mark.slow
def test_results_with_many_tensors_take_no_file_handles():
    """Torch would send each through a piece of shared memory, of which there are as many as files may be open."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        results = list(in_order(_tensors, None, [1, 2, 3], 1))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [len(each) for each in results] == [200, 200, 200]
    assert torch.equal(results[2][7], torch.tensor([3, 3, 3]))


@pytest.mark.slow
def test_a_pool_is_deaf_to_ctrl_c():
    with process_pool(1) as pool:
        worker = pool.submit(os.getpid).result(60)
        os.kill(worker, signal.SIGINT)
        assert pool.submit(os.getpid).result(60) == worker


@pytest.mark.slow
def test_a_process_that_dies_is_explained():
    with pytest.raises(PhotoGlueError, match="worker process ended unexpectedly"):
        list(in_order(_fatal, None, [1, 2], 1))


WAITING = """
import os, time
from photoglue.workers import in_order

def wait(state, item):
    os.write(1, f"{os.getpid()}\\n".encode())  # in one piece, whatever the other one writes
    time.sleep(60)

if __name__ == "__main__":
    list(in_order(wait, None, [1, 2], 2))
"""


@pytest.mark.slow
def test_when_the_main_process_is_killed_the_others_end(tmp_path):
    (tmp_path / "waiting.py").write_text(WAITING)
    main = subprocess.Popen([sys.executable, tmp_path / "waiting.py"], stdout=subprocess.PIPE, text=True)
    workers = [int(main.stdout.readline()) for _ in range(2)]
    main.kill()
    try:
        # The output ends when the last process that may write to it has ended.
        main.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        pytest.fail("the workers are still there")
