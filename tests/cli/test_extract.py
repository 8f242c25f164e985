"""`photoglue extract`: what it prints, writes and returns."""

import numpy as np
import PIL.Image
import pytest

from photoglue.store import FeatureStore

pytest.importorskip("cv2", exc_type=ImportError)
h5py = pytest.importorskip("h5py", exc_type=ImportError)


@pytest.fixture
def cli(capsys):
    """Run a command; gives (exit code, standard output, standard error)."""

    def run(*arguments):
        from photoglue.cli import main

        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def folder(motorcycle, tmp_path):
    """The demo pair at half its size, in two folders."""
    for path, name in zip(motorcycle, ("a.png", "sub/b.png"), strict=True):
        target = tmp_path / "photos" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with PIL.Image.open(path) as picture:
            picture.resize((picture.width // 2, picture.height // 2)).save(target)
    return tmp_path / "photos"


@pytest.mark.slow
def test_store_and_resume(cli, folder, tmp_path):
    store = tmp_path / "feats.h5"
    command = ("extract", folder, "--store", store, "--features", "sift", "--max-keypoints")
    code, printed, err = cli(*command, 200)
    assert (code, err) == (0, "")
    assert printed == f"2 photos, 400 points → {store}\n"
    with FeatureStore.open(store, "r") as opened:
        assert opened.names() == ["a.png", "sub/b.png"]
        assert opened["sub/b.png"].kind == "sift-opencv"
    PIL.Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(folder / "c.png")
    code, printed, _ = cli(*command, 200)
    assert code == 0
    assert printed.splitlines() == [f"1 photo, 0 points → {store}", "2 photos were there already"]
    (folder / "a.png").write_bytes((folder / "sub" / "b.png").read_bytes())
    code, printed, _ = cli(*command, 200)
    assert code == 0
    assert printed.splitlines()[2] == "1 photo replaced since: extracted again"
    code, _, err = cli(*command, 300)
    assert code == 1
    assert "max_keypoints: 200 there, 300 now" in err


@pytest.mark.slow
def test_unreadable_photos_are_listed(cli, folder, tmp_path):
    (folder / "bad[1].jpg").write_text("hello")
    code, printed, _ = cli("extract", folder, "--store", tmp_path / "f.h5", "--features", "sift")
    assert code == 1
    assert "2 photos" in printed
    assert "\nskipped: bad[1].jpg: " in printed


@pytest.mark.slow
def test_of_many_failures_some_are_listed(cli, folder, tmp_path):
    for number in range(25):
        (folder / f"{number}.jpg").write_text("hello")
    code, printed, _ = cli("extract", folder, "--store", tmp_path / "f.h5", "--features", "sift")
    assert code == 1
    assert printed.count("skipped: ") == 20
    assert "and 5 more; 25 were skipped" in printed


def test_nothing_there(cli, tmp_path):
    code, _, err = cli("extract", tmp_path / "absent", "--store", tmp_path / "f.h5", "--features", "sift")
    assert code == 1
    assert "There is no file or folder" in err
    code, _, err = cli("extract", tmp_path, "--store", tmp_path / "f.h5", "--features", "sift")
    assert code == 1
    assert "There are no photos below" in err
    assert not (tmp_path / "f.h5").exists()


@pytest.mark.slow
def test_jobs_and_masks(cli, folder, tmp_path):
    black = np.zeros((250, 370), np.uint8)
    with PIL.Image.open(folder / "a.png") as picture:
        black = np.zeros(picture.size[::-1], np.uint8)
    (tmp_path / "masks").mkdir()
    PIL.Image.fromarray(black).save(tmp_path / "masks" / "a.png.png")
    options = ("--features", "sift", "--masks", tmp_path / "masks")
    assert cli("extract", folder, "--store", tmp_path / "one.h5", *options)[0] == 0
    assert cli("extract", folder, "--store", tmp_path / "two.h5", *options, "--jobs", 2)[0] == 0
    with FeatureStore.open(tmp_path / "one.h5") as one, FeatureStore.open(tmp_path / "two.h5") as two:
        assert len(one["a.png"]) == 0
        assert [one.digest(name) for name in one.names()] == [two.digest(name) for name in two.names()]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--engine", "ray"], "--engine ray needs --jobs"),
        (["--address", "auto"], "give --engine ray, too"),
    ],
)
def test_engines_that_cannot_work(cli, folder, tmp_path, options, told):
    code, _, err = cli("extract", folder, "--store", tmp_path / "f.h5", "--features", "sift", *options)
    assert code == 1
    assert told in err
