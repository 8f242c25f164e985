"""Processes that work for this one: they end with it, and do not hear Ctrl-C."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from photoglue.errors import MissingExtra, PhotoGlueError, require

State = TypeVar("State")
Item = TypeVar("Item")
Result = TypeVar("Result")


def process_pool(workers: int, task: bytes = b"") -> ProcessPoolExecutor:
    """Fresh processes of one thread each, which end when this process does, however it ends; Ctrl-C is for it alone.

    Args:
        workers: How many processes.
        task: What ``in_order`` sends to each of them once.
    """
    # Not forked: the threads of torch and OpenCV do not survive that.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(task,))


def in_order(
    work: Callable[[State, Item], Result], state: State, items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """``work(state, item)`` for each item, one thread each, so that the results do not depend on ``workers``.

    Args:
        work: A function at the top of a module.
        state: What all items need; sent to each process once.
        items: Each is sent to the process that works on it.
        workers: Processes. 0: this one, and none is started.

    Raises:
        PhotoGlueError: If a process dies.
    """
    if not workers:
        with _one_thread():
            for item in items:
                yield work(state, item)
        return
    with process_pool(workers, pickle.dumps((work, state))) as pool:
        waiting: deque[Future[bytes]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(_do, item))
                if len(waiting) > 2 * workers:  # not all at once: results wait in memory
                    yield pickle.loads(waiting.popleft().result())
            while waiting:
                yield pickle.loads(waiting.popleft().result())
        except BrokenProcessPool as error:
            raise PhotoGlueError(
                "A worker process ended unexpectedly (killed for lack of memory?). Run the same again, with fewer "
                "workers: it goes on from here."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_task: tuple[Callable[[Any, Any], Any], Any] | None = None
"""What this worker process was started with."""


def _begin(task: bytes) -> None:
    global _task  # noqa: PLW0603  (a pool gives its processes nowhere else to keep things)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the main one ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_threads(1, 1)
    _task = pickle.loads(task) if task else None


def _end_with_parent() -> None:
    """A main process that is killed (SIGTERM, no memory left) ends nobody, and its workers would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do(item: Any) -> bytes:
    """The result in one piece: tensors as such would travel through shared memory, whose handles run out."""
    assert _task is not None
    work, state = _task
    return pickle.dumps(work(state, item))


def set_threads(torch_threads: int, opencv_threads: int) -> tuple[int, int]:
    """Sets the number of threads of torch and, where it is installed, of OpenCV; returns those before."""
    before = torch.get_num_threads()
    torch.set_num_threads(torch_threads)
    try:
        cv2 = require("cv2", extra="sift")
    except MissingExtra:
        return before, 1
    opencv_before = cv2.getNumThreads()
    cv2.setNumThreads(opencv_threads)
    return before, opencv_before


@contextmanager
def _one_thread() -> Iterator[None]:
    before = set_threads(1, 1)
    try:
        yield
    finally:
        set_threads(*before)
