"""Pictures on disk."""

import signal

import PIL.Image
import pytest

from photoglue.errors import OutputError
from photoglue.viz import save_figure

figure_module = pytest.importorskip("matplotlib.figure", exc_type=ImportError)


@pytest.fixture
def figure():
    figure = figure_module.Figure(figsize=(2, 1), dpi=100)
    figure.text(0.5, 0.5, "a picture")
    return figure


@pytest.mark.parametrize("ending", ["png", "jpg", "JPEG", "webp", "tif"])
def test_pixel_formats(figure, tmp_path, ending):
    save_figure(figure, tmp_path / f"picture.{ending}")
    with PIL.Image.open(tmp_path / f"picture.{ending}") as picture:
        assert picture.size == (200, 100)
        assert picture.convert("L").getextrema()[0] < 100  # there is ink
    assert [path.name for path in tmp_path.iterdir()] == [f"picture.{ending}"]


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_line_formats(figure, tmp_path, ending, start):
    save_figure(figure, str(tmp_path / f"picture.{ending}"))
    assert (tmp_path / f"picture.{ending}").read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["picture.xyz", "picture", ".png", "picture.png.", "picture.h5"])
def test_an_unknown_format_lists_those_that_work(figure, tmp_path, name):
    with pytest.raises(OutputError, match=r"let it end in one of .*\.jpg, \.pdf, \.png, \.svg"):
        save_figure(figure, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_an_error(figure, tmp_path):
    with pytest.raises(OutputError, match=r"cannot be written: No such file or directory\. Give another path"):
        save_figure(figure, tmp_path / "absent" / "picture.png")


def test_a_folder_in_the_place_of_the_file_is_an_error(figure, tmp_path):
    (tmp_path / "picture.png").mkdir()
    with pytest.raises(OutputError, match=r"picture\.png' cannot be written"):
        save_figure(figure, tmp_path / "picture.png")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), PermissionError(13, "Permission denied")])
def test_a_write_that_fails_leaves_the_old_picture_and_nothing_else(figure, tmp_path, monkeypatch, failure):
    save_figure(figure, tmp_path / "picture.png")
    before = (tmp_path / "picture.png").read_bytes()

    def fail(*_):
        raise failure

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OutputError, match=r"(the disk is full|Permission denied)\. Give another path"):
        save_figure(figure, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_an_interruption_leaves_nothing(figure, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_figure(figure, tmp_path / "picture.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["pdf", "png", "svg"])
def test_a_disk_that_is_full_is_one_line(figure, tmp_path, ending, monkeypatch):
    """A limit of the size of files stands for the disk; matplotlib compresses PDFs while it writes them."""
    resource = pytest.importorskip("resource", exc_type=ImportError)  # not on Windows
    monkeypatch.setattr("sys.dont_write_bytecode", True)  # half a compiled module would stay
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        with pytest.raises(OutputError, match=r"picture\.\w+' cannot be written: File too large\. Give another path"):
            save_figure(figure, tmp_path / f"picture.{ending}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
