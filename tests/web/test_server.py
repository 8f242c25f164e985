"""The server: its address, its one worker, its end."""

import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest


def test_the_address_holds_a_new_token_each_time(server):
    from photoglue.web import WebServer

    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    assert server.server_address[0] == "127.0.0.1"
    with urllib.request.urlopen(server.url) as page:
        assert b"PhotoGlue" in page.read()
    with WebServer() as other:
        assert other.token != server.token and len(other.token) >= 32


def test_a_port_that_is_taken(server):
    from photoglue.errors import ConfigError
    from photoglue.web import WebServer

    for port in (server.server_port, 70000):
        with pytest.raises(ConfigError, match=f"Port {port} of 127.0.0.1 cannot be used"):
            WebServer(port)


def test_it_ends_while_a_client_dawdles(server):
    import socket

    with socket.create_connection(server.server_address) as dawdler:
        dawdler.sendall(b"POST /")
        start = time.monotonic()
        server.close()
        assert time.monotonic() - start < 2
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(server.url, timeout=2)


def test_one_job_at_a_time_and_not_too_many_wait(server, monkeypatch):
    from photoglue.web.handler import Refused
    from photoglue.web.server import MAX_WAITING

    at_work, most, go = [], [], threading.Event()

    def job():
        with server.working():
            at_work.append(1)
            most.append(len(at_work))
            go.wait(10)
            at_work.pop()

    threads = [threading.Thread(target=job) for _ in range(MAX_WAITING)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 5
    while server._waiting._value and time.monotonic() < deadline:
        time.sleep(0.005)
    with pytest.raises(Refused, match="jobs are waiting already"), server.working():
        pass
    go.set()
    for thread in threads:
        thread.join()
    assert most == [1] * MAX_WAITING
    with server.working() as waited:
        assert waited < 1


@pytest.mark.slow
def test_closing_waits_for_the_job_and_no_other_begins(server):
    from photoglue.web.handler import Refused

    closing, begun = threading.Thread(target=server.close), []

    def wait_in_line():
        try:
            with server.working():
                begun.append("it")
        except Refused as refused:
            begun.append(str(refused))

    waiting = threading.Thread(target=wait_in_line)
    with server.working():
        closing.start()
        waiting.start()
        closing.join(0.4)
        assert closing.is_alive() and begun == []
    closing.join()
    waiting.join()
    assert begun == ["photoglue web was ended."]


@pytest.mark.slow
def test_serve_ends_with_ctrl_c():
    """As a program of its own: it says its address, and leaves without a traceback."""
    code = (  # a shell that runs the tests in the background has them ignore Ctrl-C
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import photoglue.web; "
        "photoglue.web.serve(on_ready=lambda url: print(url, flush=True)); print('left')"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as it:
        url = it.stdout.readline().strip()
        assert urllib.request.urlopen(url).status == 200
        it.send_signal(2)
        try:
            out, err = it.communicate(timeout=20)
        finally:
            it.kill()
    assert (it.returncode, out, err) == (0, "left\n", "")
