"""What is made of a model stands in the folder of the map."""

import json
import os
from dataclasses import replace

import pytest
from mapped_scene import Told, write

from photoglue import sfm
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.sfm.summary import deliver

pytest.importorskip("h5py", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)
pytest.importorskip("pycolmap", exc_type=ImportError)


@pytest.fixture(scope="module")
def summary(tmp_path_factory) -> sfm.MapSummary:
    folder = tmp_path_factory.mktemp("map")
    write(folder / "photos", 0, 1, 2, 3)
    given = {"extractor": Told(), "matcher": NearestNeighbor(0.8)}
    return sfm.map_photos(folder / "photos", folder / "out", sfm.MapOptions(deliver=()), **given)


@pytest.mark.slow
def test_all_deliveries(summary):
    assert summary.delivered == ()
    made = deliver(summary, ("report", "undistort", "nerfstudio", "ply", "text")).delivered
    names = ["undistorted", "nerfstudio", "points.ply", "text", "report.html"]
    assert [path.relative_to(summary.out).as_posix() for path in made] == names
    undistorted = sfm.read_model(summary.out / "undistorted" / "sparse" / "0")
    assert {camera.model for camera in undistorted.cameras.values()} == {"PINHOLE"}
    assert sorted(path.name for path in (summary.out / "undistorted" / "images").iterdir()) == list(summary.names)
    frames = json.loads((summary.out / "nerfstudio" / "transforms.json").read_text())["frames"]
    assert len(frames) == 4
    assert (summary.out / "points.ply").read_bytes().startswith(b"ply")
    assert (summary.out / "text" / "images.txt").is_file()
    page = (summary.out / "report.html").read_text()
    assert all(name in page for name in summary.names)
    assert page.count("data:image/jpeg") >= 4 or page.count("/9j/") >= 4  # photos and weakest links inside


@pytest.mark.slow
def test_nothing_of_no_model(summary):
    assert deliver(replace(summary, models=()), ("report", "ply")).delivered == ()


def test_what_cannot_be_made_keeps_none_of_the_others(summary):
    (summary.out / "text").mkdir(exist_ok=True)
    (summary.out / "text" / "letter.doc").touch()
    made = deliver(summary, ("text", "ply"))
    assert [path.name for path in made.delivered] == ["points.ply"]
    assert made.undelivered.keys() == {"text"}
    assert made.notes == summary.notes
    os.utime(summary.out / "points.ply", (0, 0))
    assert f"{summary.out / 'points.ply'} is of an older model" in deliver(summary, ()).notes
