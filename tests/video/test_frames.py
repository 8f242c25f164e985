"""Frames: files, folders and what is wrong with them."""

import numpy as np
import pytest
from moving_picture import SIZE, frames, write_folder, write_video

from photoglue.errors import ConfigError, ImageError

pytest.importorskip("cv2", exc_type=ImportError)


def opened(source, **options):
    from photoglue.video import open_frames

    with open_frames(source, **options) as found:
        return list(found), found


def test_a_video_keeps_its_times_and_pixels(tmp_path):
    images = frames(6)
    found, source = opened(write_video(tmp_path / "a.avi", images))
    assert [frame.number for frame in found] == list(range(6))
    assert np.allclose([frame.timestamp for frame in found], np.arange(6) / 25)
    assert (source.fps, source.count, source.live, source.notes) == (25, 6, False, [])
    assert np.abs(found[3].image.astype(int) - images[3]).mean() < 15  # RGB, not BGR
    assert [frame.timestamp for frame in opened(tmp_path / "a.avi", fps=10.0)[0]][:3] == pytest.approx([0, 0.1, 0.2])


def test_a_phone_s_rotation_flag_turns_the_frames(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames(3), codec="mp4v")
    content = bytearray(path.read_bytes())
    unit = (1 << 16).to_bytes(4, "big")
    straight = unit + bytes(12) + unit + bytes(12) + (1 << 30).to_bytes(4, "big")
    quarter = bytes(4) + unit + bytes(4) + (0xFFFF0000).to_bytes(4, "big") + bytes(16) + (1 << 30).to_bytes(4, "big")
    assert len(straight) == len(quarter)
    place = content.index(straight, content.index(b"tkhd"))
    content[place : place + len(quarter)] = quarter
    path.write_bytes(content)
    found, _ = opened(path)
    assert found[0].image.shape == (SIZE[0], SIZE[1], 3)
    expected = np.rot90(frames(1)[0], -1)
    assert np.abs(found[0].image.astype(int) - expected).mean() < 20


def test_a_folder_goes_by_the_numbers_in_its_names(tmp_path):
    images = frames(12)
    folder = write_folder(tmp_path / "f", images)
    for number in (3, 4):
        (folder / f"{number:04d}.png").unlink()
    (folder / "0011.png").rename(folder / "frame11.png")
    (folder / "0007.png").write_bytes(b"no picture")
    found, source = opened(folder, fps=10.0)
    assert [frame.number for frame in found] == [0, 1, 2, 5, 6, 8, 9, 10, 11]
    assert found[3].timestamp == pytest.approx(0.5)
    assert found[-1].name == "frame11.png"
    assert (found[-1].image == images[11]).all()
    assert source.notes[0] == "2 numbers are missing in the folder, the first after 2: gaps in time"
    assert "0007.png" in source.notes[1]


def test_names_without_numbers_are_sorted(tmp_path):
    folder = write_folder(tmp_path / "f", frames(2))
    (folder / "0000.png").rename(folder / "b.png")
    (folder / "0001.png").rename(folder / "a.png")
    assert [frame.name for frame in opened(folder)[0]] == ["a.png", "b.png"]


def test_a_truncated_file_says_so(tmp_path):
    path = write_video(tmp_path / "a.avi", frames(20))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, source = opened(path)
    assert 0 < len(found) < 20
    assert not source.notes or "cut off" in source.notes[0]


def test_what_is_no_video(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("hello")
    for source, message in (
        (tmp_path / "none.mp4", "There is no video or folder"),
        (tmp_path / "empty", "has no pictures"),
        (tmp_path / "text.mp4", "cannot be opened as a video. Is it a video, whole"),
        (97, "camera 97 cannot be opened"),
        ("97", "camera 97 cannot be opened"),
    ):
        with pytest.raises(ImageError, match=message):
            opened(source)
    with pytest.raises(ConfigError, match="positive"):
        opened(tmp_path / "text.mp4", fps=0.0)


def test_frames_of_any_kind_become_rgb():
    from photoglue.video.frames import as_rgb

    image = frames(1)[0]
    assert as_rgb(image) is image
    assert (as_rgb(image.astype(np.float32) / 255) == image).all()
    gray = as_rgb(image[:, :, 0])
    assert gray.shape == image.shape
    assert (gray[..., 2] == image[..., 0]).all()
