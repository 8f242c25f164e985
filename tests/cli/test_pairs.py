"""`photoglue pairs`: what it prints, writes and returns."""

import warnings

import pytest
from tiny_photos import write_photo

from photoglue.datasets.photos import pairs_in


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Runs `photoglue pairs photos` in a folder with four photos; gives (exit code, output, standard error)."""
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        write_photo(tmp_path / "photos" / f"{number} a.png", number, (80, 64))

    def run(*arguments):
        from photoglue.cli import main

        capsys.readouterr()
        code = main(["pairs", "photos", "--out", "pairs.txt", *arguments])
        return code, *capsys.readouterr()

    return run


def test_written_and_read(cli):
    code, out, err = cli("--by", "sequence", "--overlap", "1")
    assert (code, err) == (0, "")
    assert out == "5 of 6 pairs of 4 photos → pairs.txt\n"
    assert pairs_in("pairs.txt")[0] == ("0 a.png", "1 a.png")
    assert len(pairs_in("pairs.txt")) == 5


@pytest.mark.slow
def test_retrieval_with_features_that_are_kept(cli, tmp_path):
    pytest.importorskip("cv2", exc_type=ImportError)
    (tmp_path / "photos" / "bad.png").write_text("hello")
    store = ("--features-store", "feats.h5", "--features", "sift")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, out, err = cli("--by", "retrieval", "--neighbors", "1", *store)
    assert "note: 1 of 5 photos are without local features: bad.png" in err
    assert code == 1  # one photo cannot be read
    assert "4 photos, " in out
    assert (tmp_path / "feats.h5").is_file()
    assert 2 <= len(pairs_in("pairs.txt")) <= 3


def test_names_that_no_list_holds_are_said_first(cli, tmp_path):
    write_photo(tmp_path / "photos" / "a\nb.png", 1, (80, 64))
    code, _, err = cli("--by", "retrieval", "--features-store", "f.h5")
    assert (code, "'a\\nb.png' has a tab, a line break" in err) == (1, True)
    assert not (tmp_path / "f.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--by", "looks"], 2, "invalid choice"),
        (["--model", "x"], 1, "--model has no effect with --by auto"),
        (["--by", "all", "--network"], 1, "--network has no effect with --by all"),
        (["--by", "all", "--descriptors", "d.h5"], 1, "--descriptors has no effect with --by all"),
        (["--by", "retrieval", "--descriptors", "d.h5", "--network"], 1, "--network has no effect with --descriptors"),
        (["--by", "retrieval", "--descriptors", "d.h5"], 1, "'d.h5' has no global descriptors that can be read"),
        (["--by", "all", "--features-store", "f.h5"], 1, "--features-store has no effect"),
        (["--max-distance", "3"], 1, "--max-distance has no effect"),
        (["--by", "poses"], 1, "poses needs a model"),
        (["--neighbors", "0"], 1, "neighbors is 0"),
        (["--features-store", "pairs.txt"], 1, "--features-store and --out are one file"),
        (["--out", "absent/pairs.txt"], 1, "The folder 'absent' does not exist"),
        (["--out", "photos/0 a.png"], 1, "must end in .txt"),
        (["--features", "sift", "--jobs", "2"], 1, "--features and --jobs have no effect without --features-store"),
        (["--by", "all", "--neighbors", "2"], 1, "--neighbors has no effect with --by all"),
        (["--by", "sequence", "--max-angle", "3"], 1, "--max-angle has no effect"),
        (["--by", "gps", "--overlap", "3"], 1, "--overlap has no effect"),
        (
            ["--by", "retrieval", "--features-store", "f.h5", "--features", "aliked-t16"],
            1,
            "There is no vocabulary for features 'aliked-t16'",
        ),
        (["--by", "gps"], 1, "0 of 4 photos have a position in their EXIF data"),
    ],
)
def test_requests_that_make_no_sense(cli, tmp_path, arguments, code, said):
    try:
        found, _, err = cli(*arguments)
    except SystemExit as ended:
        assert ended.code == code
        return
    assert (found, said in err) == (code, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
