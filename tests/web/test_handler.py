"""Who is answered, what is refused, and that nothing of a request names a file of this machine."""

import json
import socket
import threading
import time

import PIL.Image
import pytest


def test_the_page_is_guarded(client):
    page = client.ask("GET", "")
    assert page.status == 200 and page.content.startswith(b"<!doctype html>")
    assert "script-src 'sha256-" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store" and page.headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in page.headers
    assert "Python" not in page.headers["Server"]


@pytest.mark.parametrize("token", ["", "wrong", "é", "x" * 5000])
def test_without_the_token(client, token):
    for method, path in (("GET", ""), ("GET", "preview/" + "0" * 32), ("POST", "photo"), ("POST", "match")):
        refused = client.ask(method, path, b"{}" if method == "POST" else None, token=token.replace("é", "%C3%A9"))
        assert refused.status == 403 and "token" in refused.content["error"]


def test_a_foreign_origin(client, server):
    for origin in ("https://example.com", "null", f"http://127.0.0.1:{server.server_port + 1}", "http://localhost"):
        refused = client.ask("POST", "demo", b"", headers={"Origin": origin})
        assert refused.status == 403 and "Another page asks" in refused.content["error"]
        assert client.ask("GET", "", headers={"Origin": origin}).status == 403
    assert client.ask("GET", "", headers={"Origin": None}).status == 200  # a browser's first look has none


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com:80", "192.168.0.7", "", "localhost@evil"])
def test_a_name_that_was_pointed_at_this_machine(client, host):
    """DNS rebinding: a foreign page's own name leads here, and the browser sends it as Host."""
    refused = client.ask("GET", "", headers={"Host": host, "Origin": None})
    assert refused.status == 403 and "Only 127.0.0.1" in refused.content["error"]


def test_through_a_tunnel_the_port_is_another(client):
    assert client.ask("GET", "", host="localhost:8888").status == 200
    assert client.ask("GET", "", host="[::1]:9").status == 200


def test_there_is_nothing_else(client):
    assert client.ask("GET", None).status == 404
    for path in ("x", "../etc/passwd", "page.js", "photo"):
        assert client.ask("GET", path).status == 404
    assert client.ask("POST", "", b"").status == 404
    assert client.ask("DELETE", "").status == 501


def test_a_path_in_place_of_an_upload(client, motorcycle):
    for path in (str(motorcycle[0]), "/etc/passwd", "../../a.jpg", "", "A" * 32):
        refused = client.match(path, path)
        assert refused.status == 422 and "no path" in refused.content["error"]
        assert client.ask("GET", f"preview/{path}").status == 422
    assert client.match("0" * 32, "0" * 32).status == 410
    refused = client.ask("POST", "photo", str(motorcycle[0]).encode(), headers={"X-Name": str(motorcycle[0])})
    assert refused.status == 422 and "'motorcycle_left.png' is not an image" in refused.content["error"]


def test_a_text_file(client):
    refused = client.ask("POST", "photo", b"only words", headers={"X-Name": "my%20notes.txt"})
    assert refused.status == 422
    assert refused.content["error"].startswith("'my notes.txt' is not an image that can be read")


def test_a_photo_comes_back_to_be_shown(client, striped):
    told = client.ask("POST", "photo", striped, headers={"X-Name": "caf%C3%A9.jpg"}).content
    assert told == {"key": told["key"], "name": "café.jpg", "width": 4, "height": 6, "bytes": len(striped)}
    shown = client.ask("GET", f"preview/{told['key']}")
    assert shown.headers["Content-Type"] == "image/jpeg" and shown.content[:3] == b"\xff\xd8\xff"


def test_a_mask_belongs_to_a_photo(client, striped, encode):
    key = client.upload(striped)
    white = encode(PIL.Image.new("L", (6, 4), 255), "PNG")
    told = client.ask("POST", f"mask/{key}", white, headers={"X-Name": "white.png"})
    assert told.status == 200 and told.content["name"] == "white.png"
    assert client.ask("GET", f"preview/{told.content['key']}").status == 200
    assert client.ask("POST", f"mask/{'0' * 32}", white).status == 410
    assert client.ask("POST", "mask/../a.png", white).status == 422
    refused = client.ask("POST", f"mask/{key}", encode(PIL.Image.new("L", (5, 4), 255), "PNG"))
    assert refused.status == 422 and "has 5 × 4 pixels" in refused.content["error"]
    assert client.match(key, key, mask0="/etc/passwd").status == 422
    assert client.match(key, key, mask1="0" * 32).status == 410


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"photo0": 3}', b'{"photo0": "a", "photo1": "b", "weights": "/etc/passwd"}', b"\xff\xfe"],
)
def test_a_request_that_makes_no_sense(client, body):
    refused = client.ask("POST", "match", body)
    assert refused.status == 422 and "MatchRequest" in refused.content["error"]


def test_too_large(client, server):
    """Refused by what is announced: nobody waits for the rest."""
    size = server.options.max_upload_mb * 10**6 + 1
    assert "at most 64,000,000" in raw(server, f"POST /{server.token}/photo", f"Content-Length: {size}")
    assert " 413 " in raw(server, f"POST /{server.token}/match", "Content-Length: 10001")
    for length in ("Content-Length: -1", "Content-Length: 1e3", "Transfer-Encoding: chunked", "X: y"):
        assert " 411 " in raw(server, f"POST /{server.token}/photo", length)


def raw(server, request, *headers):
    """What comes back before the server hangs up."""
    lines = [f"{request} HTTP/1.1", "Host: localhost", *headers, "", "begin"]
    with socket.create_connection(server.server_address, timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


@pytest.mark.slow
def test_a_slow_client_keeps_nobody_waiting(client, server, monkeypatch, striped):
    monkeypatch.setattr("photoglue.web.handler.UPLOAD_SECONDS", 0.2)
    with socket.create_connection(server.server_address, timeout=10) as slow:
        slow.sendall(f"POST /{server.token}/photo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n".encode())
        client.upload(striped)  # meanwhile
        answer = b""
        end = time.monotonic() + 5
        while not answer and time.monotonic() < end:
            slow.sendall(b"x")
            time.sleep(0.05)
            slow.settimeout(0.01)
            try:
                answer = slow.recv(4096)
            except TimeoutError:
                continue
        assert b" 408 " in answer


def test_one_that_hangs_up_in_the_middle(client, server, striped):
    with socket.create_connection(server.server_address) as gone:
        gone.sendall(f"POST /{server.token}/photo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nab".encode())
    assert client.upload(striped)


def test_what_goes_wrong_is_said(client, striped, monkeypatch):
    def wrong(*_):
        raise RuntimeError("the <sky> fell")

    key = client.upload(striped)
    monkeypatch.setattr("photoglue.web.handler.match_held", wrong)
    failed = client.match(key, key)
    assert failed.status == 500
    assert failed.content["error"] == "Unexpected RuntimeError: the <sky> fell. This is a bug of PhotoGlue."
    monkeypatch.setattr("photoglue.web.handler.match_held", lambda *_: (_ for _ in ()).throw(MemoryError()))
    assert "Not enough memory" in client.match(key, key).content["error"]


def test_a_job_that_nobody_waits_for_is_not_done(client, server, striped, monkeypatch):
    """A page that was closed, or asked for something else, while another job was being done."""
    done = []
    monkeypatch.setattr("photoglue.web.handler.match_held", lambda *_: done.append(1) or {})
    key = client.upload(striped)
    body = json.dumps({"photo0": key, "photo1": key}).encode()
    with server.working():
        with socket.create_connection(server.server_address) as gone:
            head = f"POST /{server.token}/match HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            gone.sendall(head.encode() + body)
            deadline = time.monotonic() + 5
            while server._waiting._value > 6 and time.monotonic() < deadline:
                time.sleep(0.005)
        waiting = threading.Thread(target=lambda: done.append(client.match(key, key).status))
        waiting.start()
    waiting.join()
    assert done == [1, 200]


@pytest.mark.slow
def test_two_tabs_at_once(client, small_pair):
    """Each gets the answer to its own question."""
    pytest.importorskip("cv2", exc_type=ImportError)
    left, right = (client.upload(content) for content in small_pair)
    answers = {}
    pairs = {"there": (left, right), "back": (right, left), "same": (left, left)}

    def ask(name):
        answers[name] = client.match(*pairs[name]).content["matches"]

    threads = [threading.Thread(target=ask, args=(name,)) for name in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there = {tuple(pair) for pair in answers["there"]["indices"]}
    assert len(there) > 60
    assert len(there ^ {(j, i) for i, j in answers["back"]["indices"]}) <= 0.1 * len(there)
    assert sum(i == j for i, j in answers["same"]["indices"]) >= 0.95 * len(answers["same"]["indices"]) > 150
