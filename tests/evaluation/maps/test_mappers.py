"""Our mapper maps a scene as the command does, and mappers have names."""

import json

import pytest
from tiny_model import write_tiny_model

from photoglue.errors import ConfigError
from photoglue.evaluation.maps import mappers
from photoglue.evaluation.maps.colmap import ColmapSift
from photoglue.evaluation.maps.mappers import PhotoGlueMapper, mapper_named
from photoglue.evaluation.maps.run import read_truth
from photoglue.sfm.cameras import CameraOptions, find_cameras


def test_names():
    assert mapper_named("colmap") == ColmapSift()
    assert mapper_named("fast").options.preset == "fast"
    assert (mapper_named("disk+default").options.features, mapper_named("default").options.features) == (
        "disk", "aliked",
    )  # fmt: skip
    for name in ("slow", "shapes+fast", "+fast", "disk+colmap"):
        with pytest.raises(ConfigError, match=r"is no mapper. There are colmap, hloc, default, fast"):
            mapper_named(name)


@pytest.mark.parametrize("orientation", [1, 6])
def test_known_cameras_come_through(tmp_path, monkeypatch, orientation):
    """Those of the truth, by way of the mapper's options, are those of the database."""
    tiny = write_tiny_model(tmp_path / "tiny", names=("a.jpg",), exif={"a.jpg": orientation})
    width, height = (64, 48) if orientation == 1 else (48, 64)
    frame = {"K": [[60.0, 0, 30], [0, 61.0, 23.5], [0, 0, 1]], "T_w2c": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0],
             [0, 0, 0, 1]], "width": width, "height": height}  # fmt: skip
    scene = tmp_path / "scene"
    scene.mkdir()
    tiny.photos.rename(scene / "images")
    (scene / "cameras.json").write_text(json.dumps({"a.jpg": frame}))
    given = []

    def map_photos(photos, out, options, *, progress):
        given.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(mappers, "map_photos", map_photos)
    _, cameras = read_truth(scene)
    for known in (cameras, None):
        with pytest.raises(KeyboardInterrupt):
            PhotoGlueMapper()(scene / "images", tmp_path, known, lambda *_: None)
    photos = {"a.jpg": scene / "images" / "a.jpg"}
    (there,) = find_cameras(photos, given[0].cameras).cameras
    (wanted,) = find_cameras(photos, CameraOptions(intrinsics=scene / "cameras.json")).cameras
    assert there == wanted and there.image_size == (64, 48)
    assert given[0].deliver == () and given[1].cameras.intrinsics is None
