"""The server: one call, one process, this machine only."""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Any

from photoglue.errors import ConfigError
from photoglue.sfm import Localizer
from photoglue.web.handler import Handler, Refused
from photoglue.web.locating import PlaceMap
from photoglue.web.options import WebOptions
from photoglue.web.page import page_html
from photoglue.web.photos import HeldPhotos

ADDRESS = "127.0.0.1"
MAX_WAITING = 8
"""Jobs that may wait for the one that is being done."""
LAST_SECONDS = 20.0
"""A server that is closed waits so long for the job that is being done."""


class WebServer(ThreadingHTTPServer):
    """The page on 127.0.0.1, served by threads until it is closed: ``with WebServer() as server: print(server.url)``.

    Only who knows ``url`` is answered: it holds a random token. Photos that are sent stay in this process's memory.

    Args:
        port: The port; 0: any that is free.
        map_folder: The folder of a map that photos can be placed in, as ``sfm.Localizer`` takes it; None: no map.
        options: What holds for all jobs.

    Raises:
        ConfigError: If the port is taken or cannot be used, or the folder holds no map.
        MissingExtra: If there is a map, and pycolmap or h5py is not installed.
    """

    daemon_threads = True  # a client that dawdles keeps nobody from leaving
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(
        self,
        port: int = 0,
        *,
        map_folder: str | os.PathLike[str] | None = None,
        options: WebOptions | None = None,
    ) -> None:
        self.options = options or WebOptions()
        self.token = secrets.token_urlsafe(24)
        self.photos = HeldPhotos()
        self.map = None if map_folder is None else PlaceMap(Localizer(map_folder, device=self.options.device))
        self.page = page_html(self.options, None if self.map is None else self.map.name)
        self._worker = threading.Lock()
        self._closed = False
        self._waiting = threading.Semaphore(MAX_WAITING)
        try:
            super().__init__((ADDRESS, port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"Port {port} of {ADDRESS} cannot be used: {reason}. 0 takes any that is free."
            ) from error
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="photoglue-web", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    @contextmanager
    def working(self) -> Iterator[float]:
        """Wait until no other job is being done, and keep others waiting; yields the seconds waited.

        Raises:
            Refused: If too many wait already, or the server is closed meanwhile.
        """
        if not self._waiting.acquire(blocking=False):
            reason = f"{MAX_WAITING} jobs are waiting already; try again in a while."
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, reason)
        try:
            start = time.monotonic()
            with self._worker:
                if self._closed:
                    raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "photoglue web was ended.")
                yield time.monotonic() - start
        finally:
            self._waiting.release()

    def wait(self) -> None:
        """Wait until the server is closed, or for Ctrl-C."""
        while self._thread.is_alive():
            self._thread.join(0.5)  # with a limit, so that Ctrl-C is heard on all systems

    def close(self) -> None:
        """Stop answering, once what is being done is done: native code must not run on while Python ends."""
        self._closed = True
        self.shutdown()
        self.server_close()
        if self._worker.acquire(timeout=LAST_SECONDS):
            self._worker.release()
        if self.map is not None:
            self.map.close()

    def __exit__(self, *_: Any) -> None:
        self.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that left in the middle."""


def serve(
    port: int = 0,
    *,
    map_folder: str | os.PathLike[str] | None = None,
    options: WebOptions | None = None,
    on_ready: Callable[[str], object] | None = None,
) -> None:
    """Serve the page on 127.0.0.1 until Ctrl-C.

    ``photoglue.web.serve(on_ready=print)`` prints the address to open; ``on_ready=webbrowser.open`` opens it. To go on
    with other work meanwhile, use ``WebServer``.

    Args:
        port: The port; 0: any that is free.
        map_folder: The folder of a map, of ``sfm.map_photos``, that photos can be placed in; None: no map.
        options: What holds for all jobs: the device, the largest upload; None: ``WebOptions()``.
        on_ready: Called with the address, which holds a random token, once it is answered.

    Raises:
        ConfigError: If the port is taken or cannot be used, or the folder holds no map.
        MissingExtra: If there is a map, and pycolmap or h5py is not installed.
    """
    with WebServer(port, map_folder=map_folder, options=options) as server:
        try:
            if on_ready is not None:
                on_ready(server.url)
            server.wait()
        except KeyboardInterrupt:
            return
