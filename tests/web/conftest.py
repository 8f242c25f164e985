"""A server with quick features, small photos, and a client that says what it likes."""

import http.client
import io
import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest


@dataclass
class Client:
    """Asks as a page would, unless it is told otherwise."""

    server: object

    def ask(self, method, path, body=None, *, token=None, host=None, headers=()):
        port = self.server.server_port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        every = {
            "Host": host or f"127.0.0.1:{port}",
            "Origin": f"http://{host or f'127.0.0.1:{port}'}",
            **dict(headers),
        }
        every = {name: value for name, value in every.items() if value is not None}
        token = self.server.token if token is None else token
        try:
            connection.request(method, f"/{token}/{path}" if path is not None else f"/{token}", body, every)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        return SimpleNamespace(
            status=answer.status, headers=answer.headers, content=json.loads(content) if is_json else content
        )

    def upload(self, content, name="a.jpg"):
        answer = self.ask("POST", "photo", content, headers={"X-Name": name})
        assert answer.status == 200, answer.content
        return answer.content["key"]

    def match(self, key0, key1, **options):
        return self.ask("POST", "match", json.dumps({"photo0": key0, "photo1": key1, **QUICK, **options}))


QUICK = {"features": "sift", "max_keypoints": 256, "resize": 320}


def encoded(picture, kind="JPEG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def encode():
    """The content of a file of a PIL image: ``encode(picture, "PNG")``."""
    return encoded


@pytest.fixture(scope="session")
def small_pair(motorcycle):
    """The motorcycle's left and right photo, 300 pixels wide, as content of JPEG files."""
    pair = []
    for path in motorcycle:
        with PIL.Image.open(path) as picture:
            small = picture.convert("RGB")
            small.thumbnail((300, 300))
            pair.append(encoded(small, quality=90))
    return pair


@pytest.fixture(scope="session")
def striped():
    """A photo of 6 × 4 pixels whose top left corner is bright, and that is to be turned: as content of a file."""
    values = np.zeros((4, 6, 3), np.uint8)
    values[:2, :3] = 255
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # a quarter clockwise
    return encoded(PIL.Image.fromarray(values), "JPEG", quality=95, exif=exif)


@pytest.fixture
def server():
    from photoglue.web import WebServer

    with WebServer() as started:
        yield started


@pytest.fixture
def client(server):
    return Client(server)
