"""Leaving in good order: Ctrl-C and SIGTERM ask, and the trainer leaves when it can."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ANSWER = b"\nWill save and stop after this step or validation. Ctrl-C again stops at once, without saving.\n"


class StopRequest:
    """A request to stop, by Ctrl-C or SIGTERM."""

    def __init__(self, *, talks: bool = False) -> None:
        """
        Args:
            talks: Say on standard error that the request was heard: a validation can take minutes.
        """  # noqa: D205, D212
        self.made = False
        self._talks = talks

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside, the first Ctrl-C or SIGTERM only makes the request; a second Ctrl-C interrupts as usual.

        Signals reach the main thread only: in any other, nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, _: object) -> None:
        if self.made and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self._talks and not self.made:
            with suppress(OSError):
                os.write(2, ANSWER)  # not print(): a handler may run in the middle of another print
        self.made = True
