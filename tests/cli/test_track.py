"""`photoglue track`: what it prints, writes and returns."""

import pytest
from moving_picture import frames, write_folder

for package in ("cv2", "h5py", "poselib"):
    pytest.importorskip(package, exc_type=ImportError)


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Runs `photoglue track` in a folder with the frames f/ and the models of moving_picture."""
    from moving_picture import models

    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "f", frames(9))
    from photoglue.pipeline import Pipeline

    monkeypatch.setattr(Pipeline, "pretrained", classmethod(lambda cls, *_, **__: cls(*models())))

    def run(*arguments):
        from photoglue.cli import main

        capsys.readouterr()
        code = main(["track", *arguments])
        return code, *capsys.readouterr()

    return run


@pytest.mark.slow
def test_summary_and_files(cli, tmp_path):
    code, out, err = cli("f", "--out", "t.h5", "--keyframes", "k", "--intrinsics", "150", "--fps", "10")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("9 frames in ")
    assert "tracks    → t.h5" in lines
    assert lines[-1] == (
        "3D model: photoglue map k/images --out k --single-camera --preset realtime --max-keypoints 512 --resize 640 "
        "--intrinsics 150,150,79.5,59.5"
    )
    assert (tmp_path / "k" / "keyframes.json").exists()


def test_what_cannot_be_done_is_one_line(cli):
    assert cli("none.mp4") == (1, "", "error: There is no video or folder 'none.mp4'. A camera is given by its number, such as 0.\n")  # noqa: E501  # fmt: skip
    code, _, err = cli("f", "--overlay", "o.gif")
    assert code == 1
    assert "must end in .mp4" in err
    code, _, err = cli("f", "--trajectory", "t.txt")
    assert "needs the camera" in err


def test_the_line_of_a_terminal(cli, monkeypatch):
    from rich.console import Console

    from photoglue.cli import app

    monkeypatch.setattr(app, "console_for_output", lambda: Console(force_terminal=True, width=120))
    code, out, _ = cli("f")
    assert code == 0
    assert "fps" in out
