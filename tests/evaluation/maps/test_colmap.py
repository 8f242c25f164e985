"""The peer runs on real photos, and is told the true cameras exactly."""

import json
import shutil

import pytest

from photoglue.errors import ConfigError
from photoglue.evaluation.maps.colmap import ColmapSift, CpuWatch, set_cameras
from photoglue.evaluation.maps.run import measure_maps, read_truth
from photoglue.solvers.colmap_model import read_model

pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)


def test_cpu_seconds_are_counted():
    watch = CpuWatch()
    for _ in range(2):
        with watch.stage("work"):
            sum(i * i for i in range(400_000))
    assert set(watch.seconds) == {"work"} and watch.seconds["work"] > 0.01


@pytest.mark.data
@pytest.mark.slow
def test_four_photos_with_known_cameras(shared_data, tmp_path):
    """The cameras come back as they were given: half a pixel more, none of them refined."""
    scene = tmp_path / "fountain"
    source = shared_data / "eval" / "strecha" / "fountain-P11"
    (scene / "images").mkdir(parents=True)
    for number in (4, 5, 6, 7):
        shutil.copy(source / "images" / f"000{number}.jpg", scene / "images")
    frames = json.loads((source / "cameras.json").read_text())
    frames = {name: frame for name, frame in frames.items() if (scene / "images" / name).is_file()}
    (scene / "cameras.json").write_text(json.dumps(frames))
    (result,) = measure_maps(
        [scene], {"colmap": ColmapSift(max_keypoints=1200)}, tmp_path / "out", intrinsics=["known"]
    )
    assert result.score.placed == 4
    assert result.score.position < 0.02  # metres
    assert result.score.rotation_deg < 1  # four cameras nearly on a line
    assert set(result.cpu_seconds) == {"extract", "match", "map"}
    model = read_model(tmp_path / "out" / "fountain.known.colmap" / "sparse" / "0")
    _, cameras = read_truth(scene)
    for image in model.images:
        camera, known = model.cameras[image.camera_id], cameras[image.name]
        assert camera.model == "PINHOLE"
        assert camera.parameters == pytest.approx((known.fx, known.fy, known.cx + 0.5, known.cy + 0.5))
    assert "| fountain (K known) | colmap | 4/4 |" in (tmp_path / "out" / "maps.md").read_text()
    with pytest.raises(ConfigError, match=r"4 photos have no known camera, such as '0004\.jpg'"):
        set_cameras(tmp_path / "out" / "fountain.known.colmap" / "database.db", {})
