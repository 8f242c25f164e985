"""`photoglue match-pairs`: what it prints, writes and returns."""

import PIL.Image
import pytest
from tiny_photos import write_photo

from photoglue.store import MatchStore

pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("h5py", exc_type=ImportError)


@pytest.fixture
def cli(capsys, tmp_path):
    """Match the photos of a folder; gives (exit code, lines printed, standard error)."""

    def run(*arguments):
        from photoglue.cli import main

        stores = ("--features-store", tmp_path / "feats.h5", "--store", tmp_path / "matches.h5")
        options = ("--features", "sift", "--matcher", "nearest", *arguments)
        capsys.readouterr()
        code = main([str(word) for word in ("match-pairs", tmp_path / "photos", *stores, *options)])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


@pytest.fixture
def photos(tmp_path):
    for number in range(4):
        write_photo(tmp_path / "photos" / f"{number}.png", number, (80, 64))
    return tmp_path / "photos"


@pytest.mark.slow
def test_all_pairs_of_few_photos(cli, photos, tmp_path):
    (photos / "bad.png").write_text("hello")
    code, printed, _ = cli()
    assert code == 1
    assert len(printed) == 3
    for line, start in zip(printed, ("4 photos, ", "skipped: bad.png: ", "6 pairs, "), strict=True):
        assert line.startswith(start)
    with MatchStore.open(tmp_path / "matches.h5") as store:
        assert len(store.pairs()) == 6
    (photos / "bad.png").unlink()
    write_photo(photos / "0.png", 50, (80, 64))
    code, printed, err = cli()
    assert (code, err) == (0, "")
    assert printed[-2:] == ["3 pairs were there already", "3 pairs whose features changed since: matched again"]


@pytest.mark.slow
def test_listed_pairs(cli, photos, tmp_path):
    (tmp_path / "pairs.txt").write_text("0.png 1.png\n1.png absent.png\n")
    code, printed, _ = cli("--pairs", tmp_path / "pairs.txt")
    assert code == 1
    assert printed[-2].startswith("1 pair, ")
    assert printed[-1].startswith("skipped: 1.png absent.png: ")
    with MatchStore.open(tmp_path / "matches.h5") as store:
        assert store.pairs() == [("0.png", "1.png")]


@pytest.mark.slow
@pytest.mark.parametrize("listed", [True, False])
def test_match_of_a_folder_is_the_same(cli, photos, tmp_path, monkeypatch, capsys, listed):
    """`match` with --store, with its own name for the features, and `match-pairs` write the same."""
    from photoglue.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.txt").write_text("0.png 1.png\n2.png 0.png\n")
    options = ["--pairs", "pairs.txt"] if listed else []
    assert cli(*options)[0] == 0
    words = ["match", "photos", "--store", "own.h5", "--features", "sift", "--matcher", "nearest", *options]
    assert main(words) == 0
    assert f"{2 if listed else 6} pairs, " in capsys.readouterr().out
    assert (tmp_path / "own.features.h5").is_file()
    with MatchStore.open(tmp_path / "matches.h5") as theirs, MatchStore.open(tmp_path / "own.h5") as ours:
        assert ours.pairs() == theirs.pairs()
        assert ours.options == theirs.options
        for pair in ours.pairs():
            assert ours.made_from_pair(*pair) == theirs.made_from_pair(*pair)


def test_all_pairs_of_many_photos_must_be_listed(cli, photos):
    for number in range(61):
        (photos / f"{number}.jpg").write_text("")
    code, _, err = cli()
    assert code == 1
    assert "All pairs of 65 photos are 2,080; that is done for up to 60 photos. List the pairs in a file" in err
    assert "photoglue pairs makes one" in err


@pytest.mark.slow
def test_other_options_of_the_matcher_are_refused(cli, photos):
    assert cli()[0] == 0
    code, _, err = cli("--matcher", "lightglue", "--weights", "absent.safetensors")
    assert code == 1
    assert "absent.safetensors" in err


@pytest.mark.slow
@pytest.mark.weights
def test_lightglue(cli, photos):
    assert cli("--matcher", "lightglue")[0] == 0
    code, _, err = cli("--matcher", "lightglue", "--preset", "accurate")
    assert code == 1
    assert "made with other options" in err
    assert "depth_confidence" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "realtime"], "--matcher nearest has no use for --preset"),
        (["--weights", "own.safetensors"], "--matcher nearest has no use for --weights"),
        (["--precision", "bfloat16"], "--matcher nearest has no use for --precision"),
        (["--pairs", "pairs.txt"], "There is no pair to match: 'pairs.txt' is empty"),
        (["--pairs", "absent.txt"], "The list of pairs 'absent.txt' cannot be read"),
        (["--store", "feats.h5"], "--store and --features-store are one file"),
        (["--masks", "absent"], "There is no folder of masks 'absent'"),
        (["--jobs", "-1"], "workers is -1"),
    ],
)
def test_requests_that_would_do_nothing(cli, photos, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.txt").write_text("\n")
    code, printed, err = cli(*options)
    assert code == 1
    assert message in err
    assert printed == []
    assert not list(tmp_path.glob("*.h5"))


def test_one_photo_makes_no_pair(cli, photos):
    for number in (1, 2, 3):
        (photos / f"{number}.png").unlink()
    code, _, err = cli()
    assert code == 1
    assert "There is no pair to match: one photo is none" in err


@pytest.mark.slow
def test_ignore_alpha(cli, photos, tmp_path):
    from photoglue.store import FeatureStore

    for path in photos.iterdir():
        with PIL.Image.open(path) as picture:
            clear = picture.convert("RGB")
        clear.putalpha(0)
        clear.save(path)
    counts = []
    for options in ((), ("--ignore-alpha",)):
        assert cli(*options)[0] == 0
        with FeatureStore.open(tmp_path / "feats.h5") as store:
            counts.append(sum(len(store[name]) for name in store.names()))
        (tmp_path / "feats.h5").unlink()
        (tmp_path / "matches.h5").unlink()
    assert counts[0] == 0 < counts[1]
