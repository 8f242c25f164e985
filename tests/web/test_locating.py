"""A map on the page: where a photo was taken, as the viewer draws it and as numbers."""

import json
import shlex
from base64 import b64decode

import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def client(map_server, client_of):
    return client_of(map_server)


def cameras(client):
    told = client.ask("GET", "map").content
    return told["names"], np.frombuffer(b64decode(told["cameras"]), "<f4").reshape(-1, 14)


def test_a_photo_is_placed_among_the_cameras(client, stray):
    answer = client.ask("POST", "place", json.dumps({"photo": client.upload(stray[0], "me.png")}))
    assert answer.status == 200, answer.content
    told, record = answer.content, answer.content["record"]
    assert record["localised"] and record["reason"] is None and record["name"] == "me.png"
    names, known = cameras(client)
    assert names == ["000.png", "001.png", "003.png", "004.png"]
    assert len(told["camera"]) == 14
    centre, before, after = (np.array(row[9:12]) for row in (told["camera"], known[1], known[2]))
    assert np.linalg.norm(centre - (before + after) / 2) < 0.1 * np.linalg.norm(after - before)  # along an arc
    assert told["camera"][12] == pytest.approx(known[0][12], rel=0.05)
    assert len(record["keypoints"]) == record["inliers"] > 60
    assert {near["name"] for near in record["nearest"]} <= set(names)
    pose = np.array(record["upright_cam_from_world"])
    assert -pose[:3, :3].T @ pose[:3, 3] == pytest.approx(np.array(told["centre"]))


def test_a_photo_of_elsewhere_is_not_placed(client, stray):
    answer = client.ask("POST", "place", json.dumps({"photo": client.upload(stray[1])}))
    assert answer.status == 200, answer.content
    told = answer.content
    assert not told["record"]["localised"] and told["record"]["reason"]
    assert told["camera"] is told["centre"] is told["focal_px"] is None


def test_photos_of_the_map_are_shown_by_number(client):
    assert client.ask("GET", "mapphoto/3").content[:3] == b"\xff\xd8\xff"
    for rest in ("4", "-1", "../../etc/passwd", "", "9" * 99):
        assert client.ask("GET", f"mapphoto/{rest}").status == 422
    refused = client.ask("POST", "place", json.dumps({"photo": "/etc/passwd"}))
    assert refused.status == 422 and "no path" in refused.content["error"]


def test_without_a_map(server, client_of):
    client = client_of(server)
    for method, path in (("GET", "map"), ("GET", "mapphoto/0")):
        answer = client.ask(method, path)
        assert answer.status == 404 and "--map" in answer.content["error"]


def test_a_folder_that_is_no_map(tmp_path):
    from photoglue.errors import PhotoGlueError
    from photoglue.web import WebServer

    with pytest.raises(PhotoGlueError, match=r"map|model"):
        WebServer(map_folder=tmp_path)


def test_the_command_and_the_code(client, stray, map_folder, told_localizer, monkeypatch, capsys):
    """What the page shows can be run as it stands."""
    from photoglue.cli.app import parse

    told = client.ask("POST", "place", json.dumps({"photo": client.upload(stray[0], "-me.png")})).content
    command = parse(shlex.split(told["command"])[1:])
    assert ([str(path) for path in command.images], command.map) == (["-me.png"], map_folder.resolve())
    monkeypatch.chdir(map_folder.parent)
    (map_folder.parent / "-me.png").write_bytes(stray[0])
    monkeypatch.setattr("photoglue.sfm.Localizer", told_localizer)
    exec(told["python"])
    assert "localised=True" in capsys.readouterr().out
