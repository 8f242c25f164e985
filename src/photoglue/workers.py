"""Work on many items by several processes, with the results in the order of the items."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from photoglue.errors import PhotoGlueError, require

State = TypeVar("State")
Item = TypeVar("Item")
Result = TypeVar("Result")


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
    # Not forked: torch's and OpenCV's threads do not survive that.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(work, state)) as pool:
        waiting: deque[Future[Any]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(_do, item))
                if len(waiting) > 2 * workers:  # not all at once: results wait in memory
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise PhotoGlueError(
                "A worker process ended unexpectedly (killed for lack of memory?). Run the same again, with fewer "
                "workers: it goes on from here."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_task: tuple[Callable[[Any, Any], Any], Any] | None = None
"""What this worker process was started with."""


def _begin(work: Callable[[Any, Any], Any], state: Any) -> None:
    global _task  # noqa: PLW0603  (a pool gives its processes nowhere else to keep things)
    _task = (work, state)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the main one ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    require("cv2", extra="sift").setNumThreads(1)


def _end_with_parent() -> None:
    """A main process that is killed (SIGTERM, no memory left) ends nobody, and its workers would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do(item: Any) -> Any:
    assert _task is not None
    work, state = _task
    return work(state, item)


@contextmanager
def _one_thread() -> Iterator[None]:
    cv2 = require("cv2", extra="sift")
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
