"""What 3DGS and gsplat, viewers and text readers are given, and what is refused."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
from tiny_model import write_tiny_model

from photoglue.errors import ConfigError, ImageError, OutputError
from photoglue.image import read_image_size
from photoglue.sfm import deliver
from photoglue.sfm.deliver import undistort, write_ply, write_text
from photoglue.solvers.colmap_model import read_model

pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)
TURN = PIL.ExifTags.Base.Orientation


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_model(tmp_path)


def files_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_pinhole_model_beside_its_photos(tiny, tmp_path):
    """images/, sparse/0 and nothing that a reader could take for something else."""
    result = undistort(tiny.model, tiny.photos, tmp_path / "out")
    assert (result.images, result.left_out) == (3, ())
    assert files_below(tmp_path / "out") == {
        *("sparse/0/cameras.bin", "sparse/0/images.bin", "sparse/0/points3D.bin", "undistorted.json"),
        *(f"images/{name}" for name in tiny.names),
    }
    before, after = read_model(tiny.model), read_model(tmp_path / "out" / "sparse" / "0")
    assert [image.name for image in after.images] == tiny.names
    assert {camera.model for camera in after.cameras.values()} == {"PINHOLE"}
    assert (after.points == before.points).all()
    for image in after.images:
        assert (image.cam_from_world == before.image(image.name).cam_from_world).all()
        size = after.cameras[image.camera_id].image_size
        assert read_image_size(tmp_path / "out" / "images" / image.name) == size
    assert not (tmp_path / "out.partial").exists()
    assert pycolmap.Reconstruction(str(tmp_path / "out" / "sparse" / "0")).num_images() == 3


def test_photos_that_see_nothing_are_left_out(tmp_path):
    tiny = write_tiny_model(tmp_path, blind=("b.jpg",))
    assert undistort(tiny.model, tiny.photos, tmp_path / "out").left_out == ("b.jpg",)
    after = read_model(tmp_path / "out" / "sparse" / "0")
    on_disk = files_below(tmp_path / "out" / "images")
    assert {image.name for image in after.images} == on_disk == {"a.jpg", "sub/c.jpg"}
    assert pycolmap.Reconstruction(str(tmp_path / "out" / "sparse" / "0")).num_images() == 2


def test_without_room_nothing_begins(tmp_path, monkeypatch):
    """COLMAP would end the process, whoever called it."""
    tiny = write_tiny_model(tmp_path)
    monkeypatch.setattr(deliver.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"'.*out/splat' needs about 0 MB, and its disk has 0 MB left; make room"):
        undistort(tiny.model, tiny.photos, tmp_path / "out" / "splat")
    assert not (tmp_path / "out").exists()


def test_several_cameras(tmp_path):
    tiny = write_tiny_model(
        tmp_path, cameras=(("SIMPLE_RADIAL", (60.0, 32.0, 24.0, -0.05)), ("OPENCV", (50, 52, 32, 24, 0.1, 0, 0, 0)))
    )
    undistort(str(tiny.model), str(tiny.photos), str(tmp_path / "out"))
    cameras = read_model(tmp_path / "out" / "sparse" / "0").cameras
    assert [cameras[i].model for i in (1, 2)] == ["PINHOLE", "PINHOLE"]
    assert [cameras[i].parameters[0] for i in (1, 2)] == [60.0, 50.0]


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_pixels_stay_as_stored_and_the_turn_is_forgotten(tmp_path, ending):
    """A program that applies EXIF would otherwise see another photo than the model."""
    name = f"a.{ending}"
    tiny = write_tiny_model(tmp_path, names=(name, "b.jpg"), exif={name: 6})
    undistort(tiny.model, tiny.photos, tmp_path / "out")
    with PIL.Image.open(tiny.photos / name) as before, PIL.Image.open(tmp_path / "out" / "images" / name) as after:
        assert before.getexif()[TURN] == 6
        assert after.getexif().get(TURN, 1) == 1
        assert abs(after.width - before.width) < 8 and abs(after.height - before.height) < 8
        after.load()


def test_done_once(tiny, tmp_path, monkeypatch):
    undistort(tiny.model, tiny.photos, tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(deliver, "_undistort", lambda *_: pytest.fail("it was there already"))
        assert undistort(tiny.model, tiny.photos, tmp_path / "out").images == 3
    (tmp_path / "out" / "images" / "a.jpg").unlink()
    undistort(tiny.model, tiny.photos, tmp_path / "out")
    assert (tmp_path / "out" / "images" / "a.jpg").is_file()
    shutil.copy(tiny.photos / "b.jpg", tiny.photos / "a.jpg")  # another photo of that name
    before = (tmp_path / "out" / "images" / "a.jpg").read_bytes()
    undistort(tiny.model, tiny.photos, tmp_path / "out")
    assert (tmp_path / "out" / "images" / "a.jpg").read_bytes() != before


def test_a_folder_of_something_else_stays(tiny, tmp_path):
    out = tmp_path / "out"
    (out / "images").mkdir(parents=True)
    (out / "thesis.txt").write_text("years")
    for write in (lambda: undistort(tiny.model, tiny.photos, out), lambda: write_text(tiny.model, out)):
        with pytest.raises(ConfigError, match=r"holds something else \(.*thesis.txt\)"):
            write()
    (out / "thesis.txt").unlink()
    with pytest.raises(ConfigError, match=r"holds something else \(images\)"):
        undistort(tiny.model, tiny.photos, out)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; give a folder"):
        undistort(tiny.model, tiny.photos, tmp_path / "file")


def test_missing_and_resized_photos_are_named(tiny, tmp_path):
    PIL.Image.new("RGB", (32, 24)).save(tiny.photos / "b.jpg")
    with pytest.raises(ImageError, match=r"1 of 3 photos .* b\.jpg \(32 × 24, in the model 64 × 48\)"):
        undistort(tiny.model, tiny.photos, tmp_path / "out")
    (tiny.photos / "a.jpg").unlink()
    with pytest.raises(ImageError, match=r"1 of 3 photos of the model are not in .*: a\.jpg\. Give the folder"):
        undistort(tiny.model, tiny.photos, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_photo_that_was_turned_by_hand_is_resized(tiny, tmp_path):
    """As stored counts, not as shown: 48 × 64 shown upright is another photo than 64 × 48."""
    PIL.Image.new("RGB", (48, 64)).save(tiny.photos / "b.jpg")
    with pytest.raises(ImageError, match=r"b\.jpg \(48 × 64, in the model 64 × 48\)"):
        undistort(tiny.model, tiny.photos, tmp_path / "out")


def test_names_that_lead_out_of_the_folder(tmp_path):
    tiny = write_tiny_model(tmp_path / "in", names=("../a.jpg", "b.jpg"))
    with pytest.raises(ConfigError, match="outside the folder of photos"):
        undistort(tiny.model, tiny.photos, tmp_path / "out")


def test_photos_that_are_cut_off(tiny, tmp_path):
    """COLMAP fills what is missing with grey, and says nothing."""
    whole = (tiny.photos / "b.jpg").read_bytes()
    (tiny.photos / "b.jpg").write_bytes(whole[:-300])
    with pytest.raises(ImageError, match=r"b\.jpg: damaged or cut off"):
        undistort(tiny.model, tiny.photos, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.partial").exists()


def test_a_photo_that_colmap_cannot_read(tiny, tmp_path, monkeypatch):
    """It goes on to the next and writes none."""

    def without_one(out, model, photos):
        pycolmap.undistort_images(out, model, photos)
        (Path(out) / "images" / "b.jpg").unlink()

    monkeypatch.setattr(deliver, "pycolmap", lambda: SimpleNamespace(undistort_images=without_one))
    with pytest.raises(ImageError, match=r"COLMAP cannot read b\.jpg; give"):
        undistort(tiny.model, tiny.photos, tmp_path / "out")


def test_no_photo_sees_anything(tmp_path):
    tiny = write_tiny_model(tmp_path, blind=("a.jpg", "b.jpg", "sub/c.jpg"), points=0)
    with pytest.raises(ConfigError, match="nothing can be made of it"):
        undistort(tiny.model, tiny.photos, tmp_path / "out")


def test_a_cut_off_model_is_refused_by_all(tiny, tmp_path):
    """pycolmap alone would wait for ever."""
    images = tiny.model / "images.bin"
    images.write_bytes(images.read_bytes()[:-9])
    for write in (
        lambda: undistort(tiny.model, tiny.photos, tmp_path / "out"),
        lambda: write_text(tiny.model, tmp_path / "out"),
        lambda: write_ply(tiny.model, tmp_path / "out.ply"),
    ):
        with pytest.raises(ConfigError, match="cut off or damaged"):
            write()


def test_ply_is_what_was_in_the_model(tiny, tmp_path):
    write_ply(tiny.model, tmp_path / "points.ply")
    header, body = (tmp_path / "points.ply").read_bytes().split(b"end_header\n", 1)
    assert b"format binary_little_endian 1.0\nelement vertex 12\n" in header
    rows = np.frombuffer(body, dtype=[("xyz", "<f4", 3), ("rgb", "u1", 3)])
    assert np.array_equal(rows["xyz"], tiny.points.astype(np.float32))
    assert rows["rgb"][5].tolist() == [5, 100, 200]
    with pytest.raises(ConfigError, match=r"must end in \.ply"):
        write_ply(tiny.model, tmp_path / "points.obj")
    with pytest.raises(OutputError, match="does not exist"):
        write_ply(tiny.model, tmp_path / "no" / "points.ply")


def test_text_is_read_again(tiny, tmp_path):
    write_text(tiny.model, tmp_path / "deep" / "text")
    write_text(tiny.model, tmp_path / "deep" / "text")
    names = files_below(tmp_path / "deep" / "text")
    assert {"cameras.txt", "images.txt", "points3D.txt"} <= names <= deliver.TEXT_FILES
    before, after = read_model(tiny.model), read_model(tmp_path / "deep" / "text")
    order = [after.points[:, 0].argsort(), before.points[:, 0].argsort()]
    assert np.allclose(after.points[order[0]], before.points[order[1]])
    assert [image.name for image in after.images] == tiny.names
