"""photoglue localize: from the command line to the same answers."""

import json

import pytest

pytest.importorskip("h5py", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)
pytest.importorskip("pycolmap", exc_type=ImportError)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    from mapped_scene import PLACES, write
    from placed_scene import write_map

    folder = write_map(tmp_path_factory.mktemp("scene"))
    write(folder / "queries", 3, PLACES)
    path = folder / "map" / "run.json"
    run = json.loads(path.read_text())
    run["settings"]["matcher"] = "nearest"
    path.write_text(json.dumps(run))
    return folder


@pytest.mark.slow
def test_a_map(cli, scene, tmp_path):
    pytest.importorskip("matplotlib", exc_type=ImportError)
    files = ["--out", tmp_path / "out", "--plot", tmp_path / "plots", "--report", tmp_path / "page.html"]
    code, out, _ = cli("localize", scene / "queries", "--map", scene / "map", "--no-turn", *files)
    assert code == 1  # one has no place
    assert "1 of 2 photos have a place" in out
    assert "280 px, map" in out and "│ 008.png" in out
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["003.jpg"]
    assert (tmp_path / "page.html").is_file() and (tmp_path / "out" / "results.txt").is_file()
    code, out, _ = cli("localize", scene / "queries" / "003.png", "--map", scene / "map", "--cameras", "170")
    assert code == 0 and "the given focal length, 170 px, does not fit the matches" in out


@pytest.mark.slow
def test_what_must_be_given(cli, scene, tmp_path):
    photo = scene / "queries" / "003.png"
    for words, why in (
        ((), "Give the folder of a map (--map), or a COLMAP model"),
        (("--map", scene / "map", "--model", scene / "known"), "Give the folder of a map (--map), or a COLMAP model"),
        (("--map", scene / "map", "--photos", scene / "photos"), "--photos and --keep go with --model"),
        (("--model", scene / "known"), "--model needs the folder of its photos: --photos"),
        (("--map", scene / "map", "--report", tmp_path / "page.txt"), "the name must end in .html"),
    ):
        code, _, err = cli("localize", photo, *words)
        assert code == 1 and why in " ".join(err.split())
    code, _, err = cli("localize", scene / "queries", "--map", scene / "map", "--plot", tmp_path / "a.jpg")
    assert code == 1 and "There are 2 photos: give --plot a folder" in err


@pytest.mark.slow
def test_a_colmap_model(cli, scene, tmp_path, monkeypatch):
    """It is prepared first, with the options given."""
    from photoglue.cli import localize
    from photoglue.sfm import AdoptedMap

    asked = []

    def adopt_model(model, photos, keep, options, *, progress):
        asked.append((model, photos, keep, options.features))
        progress("extract", 1, 1)
        return AdoptedMap(out=scene / "map", photos=5, points=99, notes=("1 of 6 photos of the model are not in",))

    monkeypatch.setattr(localize, "adopt_model", adopt_model)
    words = ["--model", "sparse/0", "--photos", "images", "--keep", tmp_path, "--features", "disk"]
    code, out, _ = cli("localize", scene / "queries" / "003.png", *words)
    assert code == 0 and "5 photos, 99 points → " in out and "1 of 6 photos of the model are not in" in out
    assert [tuple(map(str, each)) for each in asked] == [("sparse/0", "images", str(tmp_path), "disk")]
