"""`photoglue index` and `photoglue search`: what they print, write and return."""

import warnings
from pathlib import Path

import PIL.Image
import pytest
from tiny_photos import write_photo

pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("h5py", exc_type=ImportError)


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Runs a command in a folder with photos, the first two of them the same; gives (exit code, output, error)."""
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write_photo(tmp_path / "photos" / f"{number}.png", max(number, 1), (96, 80))

    def run(*arguments):
        from photoglue.cli import main

        capsys.readouterr()
        code = main(list(arguments))
        return code, *capsys.readouterr()

    return run


@pytest.mark.slow
def test_index_and_search(cli):
    code, out, _ = cli("index", "photos", "--out", "index.h5", "--features", "sift")
    assert code == 0
    assert out == "3 photos, 0.1 MB → index.h5\n"
    code, out, _ = cli("search", "photos/0.png", "--in", "index.h5", "--plot", "sheet.jpg")
    assert code == 0
    lines = [line for line in out.splitlines() if ".png" in line]
    assert [lines[0].split("│")[i].strip() for i in (2, 3)] == ["1.png", "1.000"]
    assert len(lines) == 2
    assert out.splitlines()[-1] == "picture → sheet.jpg"
    with PIL.Image.open("sheet.jpg") as sheet:
        assert sheet.width > 600
    code, out, _ = cli(
        *("search", "--pairs", "--in", "index.h5", "--min-score", "0.99", "--out", "alike.txt", "--plot", "pairs.png")
    )
    assert code == 0
    assert sum(".png" in line for line in out.splitlines()[:-2]) == 1
    assert out.splitlines()[-2:] == ["picture → pairs.png", "1 pair → alike.txt"]
    assert Path("alike.txt").read_text(encoding="utf-8") == "0.png 1.png\n"
    with PIL.Image.open("pairs.png") as sheet:
        assert sheet.width > 600
        assert sheet.height < 320


@pytest.mark.slow
def test_names_of_several_lines_and_photos_that_cannot_be_read(cli, tmp_path):
    write_photo(tmp_path / "photos" / "a\nb.png", 1, (96, 80))
    (tmp_path / "photos" / "bad.png").write_text("hello")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, out, err = cli("index", "photos", "--out", "index.h5", "--features", "sift")
    assert (code, out) == (1, "4 photos, 0.1 MB → index.h5\n")
    assert "1 of 5 photos cannot be read" in err
    code, out, _ = cli("search", "photos/0.png", "--in", "index.h5", "--plot", "sheet.png")
    assert code == 0
    assert "'a\\nb.png'" in out
    before = (tmp_path / "photos" / "1.png").read_bytes()
    code, _, err = cli("search", "photos/0.png", "--in", "index.h5", "--plot", "photos/1.png")
    assert (code, "--plot and the photo '1.png' are one file" in err) == (1, True)
    assert (tmp_path / "photos" / "1.png").read_bytes() == before
    cli("index", "photos/0.png", "--out", "one.h5", "--features", "sift")
    assert cli("search", "photos/0.png", "--in", "one.h5")[:2] == (0, "no other photo to find\n")
    assert cli("search", "--pairs", "--in", "one.h5")[:2] == (0, "no photos that look alike\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "--in", "photos"], "Name a photo to search with, or give --pairs"),
        (["search", "photos/0.png", "--in", "photos", "--pairs"], "and not both"),
        (["search", "photos/0.png", "--in", "absent.h5"], "There is no index 'absent.h5'"),
        (["search", "photos/0.png", "--in", "photos", "--top", "0"], "top is 0"),
        (["search", "photos/0.png", "--in", "photos", "--plot", "sheet.pdf"], "must end in .jpg"),
        (["search", "--pairs", "--in", "photos", "--out", "alike.csv"], "must end in .txt"),
        (["search", "photos/0.png", "--in", "photos", "--plot", "photos/0.png"], "are one file"),
        (["search", "photos/0.png", "--in", "photos", "--out", "a.txt"], "--out is the list of --pairs"),
        (["search", "photos/0.png", "--in", "photos", "--min-score", "0.5"], "--min-score is that of --pairs"),
        (["search", "--pairs", "--in", "photos", "--min-score", "nan"], "min_score is nan"),
        (["search", "--pairs", "--in", "photos", "--top", "0"], "neighbors is 0"),
        (["search", "photos/0.png", "--in", "index.h5", "photos"], "The index 'index.h5' is searched alone"),
        (["index", "photos", "--out", "index.npz"], "must end in .h5"),
        (["index", "absent", "--out", "index.h5"], "There is no file or folder 'absent'"),
    ],
)
def test_requests_that_make_no_sense(cli, tmp_path, arguments, said):
    code, out, err = cli(*arguments)
    assert (code, out) == (1, "")
    assert said in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
