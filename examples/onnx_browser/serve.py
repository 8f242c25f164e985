"""Serves this folder on this machine alone, with the headers that let WebAssembly use all cores: `python serve.py`."""

import sys
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    """Files, isolated from other origins."""

    def end_headers(self) -> None:
        """Add what browsers want before they give memory to several threads."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a folder, which is yet to run; port 0: any that is free."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(folder)))


if __name__ == "__main__":
    serving = server(Path(__file__).parent, int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
    print(f"http://127.0.0.1:{serving.server_port}/  (ends with Ctrl-C)")  # noqa: T201
    with suppress(KeyboardInterrupt):
        serving.serve_forever()
