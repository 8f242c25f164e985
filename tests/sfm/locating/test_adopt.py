"""Any COLMAP model gets our features; what is missing or resized is named, and nothing of it is changed."""

import json
import shutil

import PIL.Image
import pytest
from mapped_scene import FOCAL, SIZE, write
from placed_scene import MAPPED, OPTIONS, TOOLS, error, write_known

from photoglue.errors import ConfigError
from photoglue.sfm import LocalizeOptions, Localizer, read_model
from photoglue.sfm.locating.adopt import adopt_model, scaled_camera
from photoglue.solvers.colmap_files import CameraRecord


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_missing_resized_and_other_photos(placed, tmp_path):
    """000.png is missing, 001.png was cropped, and all are half as large as the model says."""
    photos = shutil.copytree(placed / "photos", tmp_path / "photos")
    model = write_known(tmp_path / "sparse" / "0", size=(2 * SIZE[0], 2 * SIZE[1]))
    (photos / "000.png").unlink()
    PIL.Image.new("L", (300, 240), 1).save(photos / "001.png")
    before = content(model)
    adopted = adopt_model(model, photos, None, OPTIONS, **TOOLS)
    assert adopted.out == tmp_path / "sparse" / "0-photoglue"
    assert (adopted.photos, content(model)) == (3, before)
    said = "\n".join(adopted.notes)
    assert "1 of 5 photos of the model are not in" in said and ": 000.png" in said
    assert "another aspect than the model says, and are left out: 001.png (300 × 240, in the model 640 × 480)" in said
    assert "3 of 5 photos have another size than the model says; their cameras were scaled: 002.png" in said
    view = read_model(adopted.out / "sparse" / "0")
    assert {camera.parameters[0] for camera in view.cameras.values()} == {FOCAL}
    assert len(view.points) > 40 and view.track_lengths.double().mean() > 2.5
    with Localizer(adopted.out, LocalizeOptions(turn=False), **TOOLS) as localizer:
        assert error(localizer.localize(placed / "queries" / "003.png"), 3) < 0.02
    stamps = {path: path.stat().st_mtime_ns for path in (adopted.out / "sparse").rglob("*")}
    again = adopt_model(model, photos, None, OPTIONS, **TOOLS)
    assert "3 photos were there already" in again.notes
    assert {path: path.stat().st_mtime_ns for path in (adopted.out / "sparse").rglob("*")} == stamps


@pytest.mark.slow
def test_photos_that_see_the_same_are_matched(placed, tmp_path):
    """A model with points says which; the one that we made serves as that."""
    adopted = adopt_model(placed / "map" / "sparse" / "0", placed / "photos", tmp_path / "out", OPTIONS, **TOOLS)
    assert adopted.photos == len(MAPPED)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["settings"]["model"].endswith("sparse/0")
    pairs = (tmp_path / "out" / "pairs.txt").read_text().splitlines()
    assert len(pairs) == 9 and "000.png 005.png" not in pairs  # which share fewer than 15 points


@pytest.mark.slow
def test_nothing_to_use(placed, tmp_path):
    with pytest.raises(ConfigError, match=r"No photo of the model .* can be used. 5 of 5 photos of the model are not"):
        adopt_model(placed / "known", write(tmp_path / "photos"), tmp_path / "out", OPTIONS, **TOOLS)
    with pytest.raises(ConfigError, match="There is no folder"):
        adopt_model(tmp_path / "none", placed / "photos", tmp_path / "out", OPTIONS, **TOOLS)


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ((200, 100), (110.0, 100.0, 50.0, 0.1)),
        ((100, 50), (55.0, 50.0, 25.0, 0.1)),
        ((100, 51), (110 * (0.5 * 0.51) ** 0.5, 50.0, 25.5, 0.1)),  # rounded up by who resized it
        ((100, 60), None),
        ((100, 200), None),
    ],
)
def test_scaled_cameras(size, parameters):
    camera = CameraRecord(
        camera_id=1, model="SIMPLE_RADIAL", image_size=(200, 100), parameters=(110.0, 100.0, 50.0, 0.1)
    )
    scaled = scaled_camera(camera, size)
    assert (None if scaled is None else scaled.parameters) == (
        None if parameters is None else pytest.approx(parameters)
    )
