"""One request: who asks, what is asked, how much may be sent, and the answer."""

import json
import re
import secrets
import select
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from photoglue.errors import ConfigError, PhotoGlueError
from photoglue.files import from_json, to_json
from photoglue.web.locating import PlaceMap
from photoglue.web.matching import match_held
from photoglue.web.options import MatchRequest, PlaceRequest
from photoglue.web.photos import HeldPhoto, PhotoGone

if TYPE_CHECKING:
    from photoglue.web.server import WebServer

OURS = ("127.0.0.1", "localhost", "[::1]")
"""Names of this machine. A page elsewhere whose name was pointed at this machine sends its own name."""
MAX_REQUEST_BYTES = 10_000
"""Length of what is asked, as opposed to that of a photo."""
UPLOAD_SECONDS = 60.0
"""A photo must have arrived after so long."""
IDLE_SECONDS = 20.0
"""A client that sends nothing for so long is left."""
KEY = re.compile(r"[0-9a-f]{32}")
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
}


class Refused(Exception):  # noqa: N818  (reads as what happened)
    """A request that is not answered, with the status that says so."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """Answers the page, and nobody else."""

    server: "WebServer"
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "photoglue", ""
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        """Give the page, or what it shows of a photo."""
        self._answer({"": self._page, "preview": self._preview, "map": self._map, "mapphoto": self._map_photo})

    def do_POST(self) -> None:
        """Take a photo, or do a job."""
        routes = {"photo": self._photo, "mask": self._mask, "demo": self._demo, "match": self._match}
        self._answer({**routes, "place": self._place})

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def _answer(self, routes: dict[str, Callable[[str], None]]) -> None:
        self._body_read = self.command == "GET"
        try:
            name, rest = self._checked()
            if name not in routes:
                raise Refused(HTTPStatus.NOT_FOUND, "There is nothing here.")
            routes[name](rest)
        except Refused as refused:
            self._fail(refused.status, str(refused))
        except PhotoGone as error:
            self._fail(HTTPStatus.GONE, str(error))
        except PhotoGlueError as error:
            self._fail(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except (ConnectionError, TimeoutError):  # the client left, or dawdles
            self.close_connection = True
        except Exception as error:  # noqa: BLE001  (whatever it is, the page says it)
            out = "memory" in type(error).__name__.lower()
            reason = f"Unexpected {type(error).__name__}: {error}. This is a bug of PhotoGlue."
            advice = "Not enough memory for this. Choose fewer points or a smaller size."
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, advice if out else reason)

    def _checked(self) -> tuple[str, str]:
        """The name of what is asked for, and what follows it, if a page of ours asks."""
        hosts = self.headers.get_all("Host") or []
        host = hosts[0].strip().lower() if len(hosts) == 1 else ""
        if re.sub(r":\d+$", "", host) not in OURS:
            raise Refused(HTTPStatus.FORBIDDEN, "Only 127.0.0.1 and localhost are answered.")
        origin = self.headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{host}":
            raise Refused(HTTPStatus.FORBIDDEN, "Another page asks; only our own is answered.")
        path = self.path.partition("?")[0]
        token, slash, rest = path.removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            raise Refused(HTTPStatus.FORBIDDEN, "Open the whole address that photoglue web printed, with its token.")
        if not slash:
            raise Refused(HTTPStatus.NOT_FOUND, "The address ends in a slash.")
        name, _, rest = rest.partition("/")
        return name, rest

    def _page(self, rest: str) -> None:
        if rest:
            raise Refused(HTTPStatus.NOT_FOUND, "There is nothing here.")
        page = self.server.page
        self._send(page.html, "text/html; charset=utf-8", {"Content-Security-Policy": page.policy})

    def _preview(self, rest: str) -> None:
        self._send(self._held(rest).preview, "image/jpeg")

    def _photo(self, _: str) -> None:
        """The body is the file itself, X-Name what it is called."""
        self._send_json(_told(self.server.photos.add(*self._file())))

    def _mask(self, rest: str) -> None:
        """The body is a mask of the photo whose key is in the address."""
        content, name = self._file()
        self._send_json(_told(self.server.photos.add_mask(content, name, self._held(rest))))

    def _file(self) -> tuple[bytes, str]:
        """A file that is sent, and what it is called."""
        content = self._body(self.server.options.max_upload_mb * 10**6, UPLOAD_SECONDS)
        return content, unquote(self.headers.get("X-Name", ""))

    def _demo(self, _: str) -> None:
        self._body(MAX_REQUEST_BYTES, IDLE_SECONDS)
        self._send_json([_told(photo) for photo in self.server.photos.add_demo()])

    def _match(self, _: str) -> None:
        request = from_json(MatchRequest, self._body(MAX_REQUEST_BYTES, IDLE_SECONDS), origin="The request")
        request.check(self.server.options)
        photos = self._held(request.photo0), self._held(request.photo1)
        masks = tuple(None if key is None else self._held(key) for key in (request.mask0, request.mask1))
        self._work(lambda: match_held(photos, request, self.server.options, masks))

    def _place(self, _: str) -> None:
        request = from_json(PlaceRequest, self._body(MAX_REQUEST_BYTES, IDLE_SECONDS), origin="The request")
        photo, place = self._held(request.photo), self._its_map().place
        self._work(lambda: place(photo))

    def _map(self, _: str) -> None:
        self._send(self._its_map().scene, "application/json")

    def _map_photo(self, rest: str) -> None:
        if not re.fullmatch(r"\d{1,9}", rest):
            raise ConfigError("A photo of the map is named by its number.")
        self._send(self._its_map().small_photo(int(rest)), "image/jpeg")

    def _its_map(self) -> PlaceMap:
        if self.server.map is None:
            raise Refused(HTTPStatus.NOT_FOUND, "There is no map; start photoglue web with --map FOLDER.")
        return self.server.map

    def _work(self, job: Callable[[], Any]) -> None:
        """Do a job when its turn has come, if somebody still waits for it."""
        with self.server.working():
            if self._has_left():
                self.close_connection = True
                return
            answer = job()
        self._send_json(answer)

    def _held(self, key: str) -> HeldPhoto:
        """A photo by its key: nothing else names one, and no path leads to a file."""
        if not KEY.fullmatch(key):
            raise ConfigError("A photo is named by its key of 32 letters and digits, which an upload gives; no path.")
        return self.server.photos.get(key)

    def _has_left(self) -> bool:
        """Whether the client closed the connection while it waited."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def _body(self, most: int, seconds: float) -> bytes:
        """What was sent, if it is not too much and comes in time."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,15}", length) or "Transfer-Encoding" in self.headers:
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "The length of what is sent must be said before: Content-Length.")
        if int(length) > most:
            reason = f"{int(length):,} bytes are too many; at most {most:,} are taken here."
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
        end = time.monotonic() + seconds
        parts, missing = [], int(length)
        while missing:
            part = self.rfile.read1(min(missing, 1 << 20))
            if not part:
                raise ConnectionError("The client left in the middle.")
            if time.monotonic() > end:
                raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"The photo had not arrived after {seconds:g} s.")
            parts.append(part)
            missing -= len(part)
        self._body_read = True
        return b"".join(parts)

    def _send_json(self, content: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(to_json(content).encode(), "application/json", status=status)

    def _fail(self, status: HTTPStatus, reason: str) -> None:
        if not self._body_read:  # what is left of it would be taken for the next request
            self.close_connection = True
        try:
            self._send(json.dumps({"error": reason}).encode(), "application/json", status=status)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _send(
        self,
        content: bytes,
        kind: str,
        headers: dict[str, str] | None = None,
        *,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> None:
        self.send_response(status)
        more = {"Connection": "close"} if self.close_connection else {}
        about = {"Content-Type": kind, "Content-Length": str(len(content))}
        for name, value in {**about, **HEADERS, **(headers or {}), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _told(photo: HeldPhoto) -> dict[str, Any]:
    """What the page is told of a photo."""
    width, height = photo.image_size
    return {"key": photo.key, "name": photo.name, "width": width, "height": height, "bytes": len(photo.content)}
