"""`photoglue web`: options, and what it says."""

import pytest


def test_it_serves_what_was_asked_for(cli, monkeypatch):
    from photoglue.web import WebOptions

    opened = []

    def serve(port, *, map_folder, options, on_ready):
        assert map_folder is None
        assert (port, options) == (8123, WebOptions(max_upload_mb=9, device="cpu", precision="float32"))
        on_ready("http://127.0.0.1:8123/" + "t" * 300 + "/")

    monkeypatch.setattr("photoglue.cli.web.serve", serve)
    monkeypatch.setattr("webbrowser.open", opened.append)
    options = ("--port", 8123, "--max-upload-mb", 9, "--device", "cpu", "--precision", "float32")
    code, out, err = cli("web", *options)
    assert (code, err, opened) == (0, "", [])
    assert f"http://127.0.0.1:8123/{'t' * 300}/\n" in out  # on one line, to be clicked
    cli("web", *options, "--open")
    assert opened == ["http://127.0.0.1:8123/" + "t" * 300 + "/"]


@pytest.mark.parametrize("option", [("--max-upload-mb", 0), ("--port", 99999)])
def test_what_makes_no_sense(cli, option):
    code, out, err = cli("web", *option)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
