"""Videos with a known camera path."""

import numpy as np
import pytest
from moving_picture import SIZE, frames, write_folder

from photoglue.errors import ConfigError

pytest.importorskip("cv2", exc_type=ImportError)


def write_walk(folder, count=6):
    """A folder as read_walk wants it; the camera moves by 0.1 a frame."""
    folder.mkdir()
    write_folder(folder / "images", frames(count))
    rows = [f"{number / 10} {number / 10} 0 0 0 0 0 1" for number in range(count)]
    (folder / "trajectory_tum.txt").write_text("# a comment\n" + "\n".join(rows) + "\n")
    (folder / "intrinsics.txt").write_text("150 150 80 60\n")
    return folder


def test_read(tmp_path):
    from photoglue.evaluation.tracking.walks import read_walk

    walk = read_walk(write_walk(tmp_path / "w"), max_frames=4)
    assert (walk.name, walk.camera.fx, walk.camera.image_size) == ("w", 150, SIZE)
    assert walk.fps == pytest.approx(10)
    assert [frame.number for frame in walk.frames()] == [0, 1, 2, 3]
    assert walk.relative(1, 3)[:3, 3].tolist() == pytest.approx([-0.2, 0, 0])


def test_frames_without_a_pose_nearby_have_none(tmp_path):
    from photoglue.evaluation.tracking.walks import read_walk

    folder = write_walk(tmp_path / "w")
    lines = (folder / "trajectory_tum.txt").read_text().splitlines()
    (folder / "trajectory_tum.txt").write_text("\n".join([*lines[:3], *lines[4:]]))
    assert sorted(read_walk(folder).cams_from_world) == [0, 1, 3, 4, 5]


def test_what_is_missing_or_wrong(tmp_path):
    from photoglue.evaluation.tracking.walks import read_walk

    folder = write_walk(tmp_path / "w")
    with pytest.raises(ConfigError, match="max_frames is 1"):
        read_walk(folder, 1)
    for text, message in (("0 0 0 x", "no TUM trajectory"), ("0 0 0 0 0 0 0 1", "has 1 poses")):
        (folder / "trajectory_tum.txt").write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_walk(folder)
    (folder / "intrinsics.txt").unlink()
    with pytest.raises(ConfigError, match="no video with a known path"):
        read_walk(folder)


def test_gaps_and_cuts(tmp_path):
    from photoglue.evaluation.tracking.walks import read_walk, with_cut, with_gap

    images = list(read_walk(write_walk(tmp_path / "w", 9)).frames())
    found, before, after = with_gap(images)
    assert [frame.number for frame in found] == list(range(69))
    assert (before, after) == (5, 66)
    assert (found[before].image == images[5].image).all()
    assert (found[after].image == images[6].image).all()
    assert not any(frame.image.any() for frame in found[6:66])
    found, before, after = with_cut(images)
    assert (before, after) == (2, 8)
    assert np.array_equal(found[after].image, images[before].image)
