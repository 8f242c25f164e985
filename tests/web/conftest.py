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


@pytest.fixture(scope="session")
def client_of():
    """Makes a client of a server."""
    return Client


@pytest.fixture
def client(server):
    return Client(server)


@pytest.fixture(scope="session")
def map_folder(tmp_path_factory):
    """A map of the first four photos of a place whose geometry is known."""
    for package in ("pycolmap", "h5py", "cv2", "poselib"):
        pytest.importorskip(package, exc_type=ImportError)
    from mapped_scene import Told, write

    from photoglue import NearestNeighbor, sfm

    folder = tmp_path_factory.mktemp("mapped") / "the <map>"
    photos = write(folder.parent / "photos", 0, 1, 3, 4)
    sfm.map_photos(photos, folder, sfm.MapOptions(), extractor=Told(), matcher=NearestNeighbor(0.8))
    return folder


@pytest.fixture(scope="session")
def told_localizer(map_folder):
    """Makes a localizer of a folder, with the extractor of that map, which finds its points in upright photos only."""
    from mapped_scene import Told

    from photoglue import NearestNeighbor
    from photoglue.sfm import LocalizeOptions, Localizer

    made = {"extractor": Told(), "matcher": NearestNeighbor(0.8)}
    return lambda folder, device=None: Localizer(folder, LocalizeOptions(turn=False), **made)


@pytest.fixture
def map_server(map_folder, told_localizer, monkeypatch):
    from photoglue.web import WebServer

    monkeypatch.setattr("photoglue.web.server.Localizer", told_localizer)
    with WebServer(map_folder=map_folder) as started:
        yield started


@pytest.fixture
def stray(tmp_path):
    """Content of the files of a photo of the map's place that the map lacks, and of one of another place."""
    from mapped_scene import write

    folder = write(tmp_path / "stray", 2, 9)
    return [(folder / f"{number:03}.png").read_bytes() for number in (2, 9)]
