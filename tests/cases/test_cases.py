"""Inputs on which PhotoGlue once failed, each with the right outcome; they lie beside a checkout."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def case(request, tmp_path, monkeypatch, as_a_user):
    """A copy of the case's folder, as the current folder; the case is the name of the test."""
    name = request.node.originalname.removeprefix("test_")
    if not (CASES / name).is_dir():
        pytest.skip(f"no inputs at {CASES / name}")
    shutil.copytree(CASES / name, tmp_path / name)
    for folder, _, files in os.walk(tmp_path / name):  # the originals may be read-only
        Path(folder).chmod(0o755)
        for file in files:
            (Path(folder) / file).chmod(0o644)
    monkeypatch.chdir(tmp_path / name)
    return tmp_path / name


@pytest.fixture
def photoglue(capfd):
    """Runs a command: (exit code, everything that it printed)."""

    def run(*arguments):
        from photoglue.cli import main

        capfd.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code
        printed = "".join(capfd.readouterr())
        for sign in ("Unexpected", "Traceback", "bug of PhotoGlue"):
            assert sign not in printed
        return code, printed

    return run


def python(script, *arguments):
    return subprocess.run([sys.executable, script, *map(str, arguments)], capture_output=True, text=True, check=False)


def stored(path):
    from photoglue.store import FeatureStore

    with FeatureStore.open(path) as store:
        return {name: store[name] for name in store.names()}


# Photos, masks, folders


@pytest.mark.slow
def test_hidden_files(case, photoglue):
    code, printed = photoglue("extract", "photos", "--store", "s.h5", "--features", "sift")
    assert code == 0
    assert list(stored("s.h5")) == ["IMG_1.JPG"]
    assert "left out" in printed


@pytest.mark.slow
def test_masks_not_found(case, photoglue):
    code, printed = photoglue("extract", "im", "--masks", "absent", "--store", "s.h5", "--features", "sift")
    assert code != 0
    assert "absent" in printed
    code, printed = photoglue("extract", "im", "--masks", "masks_by_stem", "--store", "s.h5", "--features", "sift")
    assert code == 0
    assert "masks for 2 of 2 photos" in printed
    from photoglue.image import load_mask

    for name, features in stored("s.h5").items():
        wanted = load_mask(case / "masks_by_stem" / f"{Path(name).stem}.png")
        x, y = features.keypoints.round().long().unbind(1)
        assert wanted[y, x].float().mean() > 0.98
        assert len(features) > 0


@pytest.mark.slow
def test_exif_mask(case, photoglue):
    """Masks in stored pixels, as COLMAP and hloc have them: no point where the mask is black in the stored photo."""
    import PIL.Image

    from photoglue.geometry.frames import StoredFrame

    code, _ = photoglue("extract", "photos", "--masks", "masks", "--store", "s.h5", "--features", "sift")
    assert code == 0
    found = stored("s.h5")
    assert set(found) == {"p.jpg", "q.jpg"}
    for name, features in found.items():
        orientation = PIL.Image.open(case / "photos" / name).getexif()[0x112]
        assert orientation in (3, 6)
        frame = StoredFrame(orientation=orientation, upright_size=features.image_size)
        mask = np.asarray(PIL.Image.open(case / "masks" / f"{name}.png").convert("L")) > 127
        x, y = frame.from_upright(features.keypoints).round().long().unbind(1)
        assert len(features) > 50
        assert mask[y, x].mean() > 0.98


@pytest.mark.slow
def test_exif_hloc(case, shared_data, photoglue):
    """Relative rotations of five photos, from points as another program reads them, with EXIF and without."""
    import json

    assert python("make.py", shared_data / "eval").returncode == 0
    truth = json.loads((shared_data / "eval/strecha/fountain-P11/cameras.json").read_text())
    errors = {}
    for folder, orientation in (("plain", 1), ("exif", 6)):
        store = f"{folder}.h5"
        assert photoglue("extract", folder, "--store", store, "--features", "sift", "--max-keypoints", 768)[0] == 0
        errors[folder] = rotation_errors(store, truth, orientation)
    assert np.median(errors["exif"]) < np.median(errors["plain"]) + 0.1
    assert np.median(errors["plain"]) < 0.5


def rotation_errors(store, truth, orientation):
    """In degrees, of neighbouring photos: points read as hloc does, poses of the stored photos."""
    h5py = pytest.importorskip("h5py", exc_type=ImportError)
    from photoglue import Pipeline
    from photoglue.geometry.frames import StoredFrame
    from photoglue.geometry.pose import rotation_error_deg
    from photoglue.solvers.poselib import verify

    matcher = Pipeline.pretrained("sift", precision="float32").matcher
    features = stored(store)
    names = sorted(features)
    assert len(names) == 5
    assert {each.image_size for each in features.values()} == {(768, 512)}  # upright, for our own matcher
    frame = StoredFrame(orientation=orientation, upright_size=(768, 512))
    cameras = {name: frame.camera_from_upright(camera_of(truth[name])) for name in names}
    turn = frame.upright_cam_from_stored_cam().T
    found = []
    with h5py.File(store) as file:
        for name0, name1 in itertools.pairwise(names):
            assert tuple(file[name0]["image_size"][()]) == frame.size
            indices = matcher.match(features[name0], features[name1]).indices
            points0, points1 = (
                torch.from_numpy(file[name]["keypoints"][()])[rows]
                for name, rows in ((name0, indices[:, 0]), (name1, indices[:, 1]))
            )
            rotation = verify(
                points0, points1, "essential", camera0=cameras[name0], camera1=cameras[name1], threshold_px=1.0
            ).rotation
            rotation0, rotation1 = (
                turn @ torch.tensor(truth[name]["T_w2c"], dtype=torch.float64)[:3, :3] for name in (name0, name1)
            )
            found.append(rotation_error_deg(rotation, rotation1 @ rotation0.T))
    return found


def camera_of(row):
    """The camera of a photo of 1024 × 683 pixels that was made 768 × 512."""
    from photoglue.geometry.camera import PinholeCamera

    scale_x, scale_y = 768 / row["width"], 512 / row["height"]
    (fx, _, cx), (_, fy, cy), _ = row["K"]
    return PinholeCamera(
        fx=fx * scale_x,
        fy=fy * scale_y,
        cx=(cx + 0.5) * scale_x - 0.5,
        cy=(cy + 0.5) * scale_y - 0.5,
        image_size=(768, 512),
    )


@pytest.mark.slow
def test_odd_bits(case, photoglue):
    from photoglue import Pipeline
    from photoglue.errors import ImageError
    from photoglue.image import load_image

    with pytest.raises(ImageError, match="int32"):
        load_image("int32_0_to_255.tif")
    matches = Pipeline.pretrained("sift", precision="float32").match("a.jpg", "gray_12_bits_in_16.png")
    assert len(matches) > 100


@pytest.mark.slow
def test_nonutf8_name(case, photoglue):
    assert python("make.py").returncode == 0
    code, printed = photoglue("extract", ".", "--store", "s.h5", "--features", "sift")
    assert "damaged" not in printed
    assert "latin" in printed
    assert list(stored("s.h5")) == ["a.jpg"]
    assert code in (0, 1)
    code, printed = photoglue("train", "homography", "--images", ".", "--features", "sift", "--pairs", 1)
    assert "latin" in printed or code == 1


@pytest.mark.slow
def test_cli_small_things(case, photoglue, astronaut):
    shutil.copy(astronaut, "a.png")
    shutil.copy(astronaut, "-dash.png")
    options = ("--features", "sift", "--max-keypoints", 64)
    code, printed = photoglue("match", "a.png", "a.png", "--out", "o [x].json", *options)
    assert code == 0
    assert "o [x].json" in printed
    code, printed = photoglue("match", "a.png", "-dash.png", *options)
    assert code == 2
    assert "./-dash.png" in printed
    code, printed = photoglue("match", "a.png", "a.png", "a.png", *options)
    assert code == 2
    assert "two" in printed


# Files that lie or are damaged


def test_fuzz_jpeg_4GB(case):
    from photoglue.errors import ImageError
    from photoglue.image import load_image

    with pytest.raises(ImageError, match="12000"):
        load_image("x02983.jpg")


def test_fuzz_avif_runtimeerror(case):
    from photoglue.datasets.photos import find_photos

    photos = find_photos(case / "photos")
    assert len(photos) == 6
    assert any("bad.jpg" in str(reason) for reason in photos.skipped)


def test_fuzz_bomb_evaluate(case, photoglue):
    code, printed = photoglue("evaluate", "seq", "--methods", "sift+ratio")
    assert code == 1
    assert "error:" in printed
    assert "2.jpg" in printed or "1.png" in printed


def test_fuzz_cache_missing_arrays(case):
    from photoglue.errors import OutputError
    from photoglue.store import atomic_store
    from photoglue.store.cache import CacheWriter, FeatureCache

    with pytest.raises(OutputError):
        FeatureCache.open("cache.h5").features(0)
    from photoglue import Features

    features = Features.from_arrays(np.zeros((2, 2)), np.zeros((2, 4)), (9, 9), kind="x")
    with pytest.raises(OutputError), atomic_store("cache_append.h5", {"x": 1}, CacheWriter) as writer:
        writer.append([features], steps=1)


@pytest.mark.slow
def test_fuzz_full_disk_segfault(case):
    done = python("repro.py")
    assert done.returncode == 0, done.stderr
    assert "raised: OutputError" in done.stdout
    assert "alive after the error" in done.stdout


def test_fuzz_journal_line(case):
    from photoglue.evaluation.journal import Journal

    for name in ("a.jsonl", "b.jsonl"):
        with Journal(case / name, {"k": 1}) as journal:
            assert all(isinstance(pair, int) for pair in journal.done)


POINTS = {"db/0.jpg": 5, "db/1.jpg": 0, "db/2.jpg": 20, "db/3.jpg": 7}
"""Keypoints of the photos whose stores were damaged."""


def read_matches(path):
    """What each pair gives: the number of its matches, or the kind of its error."""
    from photoglue.errors import PhotoGlueError
    from photoglue.store import MatchStore

    found = {}
    with MatchStore.open(path) as store:
        for pair in itertools.combinations(POINTS, 2):
            try:
                matches = store.read(*pair, *(torch.zeros(POINTS[name], 2) for name in pair))
                found[pair] = len(matches.points1)
            except PhotoGlueError as error:
                found[pair] = type(error).__name__
    return list(found.values())


def test_fuzz_match_index_range(case):
    outcomes = read_matches("match.h5")
    assert "OutputError" in outcomes
    assert "ShapeError" not in outcomes


def test_fuzz_store_types(case):
    from photoglue.errors import OutputError
    from photoglue.store import FeatureStore

    for path in sorted(case.glob("feat_*.h5")):
        with FeatureStore.open(path) as store:
            damaged = 0
            for name, count in POINTS.items():
                try:
                    assert len(store[name]) == count
                except OutputError:
                    damaged += 1
            assert damaged in (1, 2), path
    outcomes = read_matches("match_bytes.h5")
    assert outcomes.count("OutputError") == 2
    assert outcomes.count("ShapeError") == outcomes.count("ConfigError") == 0


def test_fuzz_weights_config(case):
    from photoglue import LightGlue
    from photoglue.errors import WeightsError

    for name in ("config_type.safetensors", "int_key.pth", "kinds_float.safetensors"):
        with pytest.raises(WeightsError):
            LightGlue.from_checkpoint(case / name)


# Evaluation


@pytest.mark.slow
def test_evd_original_layout(case, photoglue):
    code, printed = photoglue("evaluate", "EVD", "--methods", "sift+ratio", "--workers", 0)
    assert code == 0, printed
    assert "evd" in printed.lower()


@pytest.mark.slow
def test_evaluate_inverted_pose(case, shared_data, photoglue):
    assert python("make.py", shared_data / "eval").returncode == 0
    for name, warned in (("right", False), ("inverted", True), ("opengl", True)):
        options = ("--methods", "sift+ratio", "--max-pairs", 3, "--workers", 0)
        code, printed = photoglue("evaluate", f"own/{name}", *options, "--out", f"runs/{name}")
        assert code == 0
        assert ("contradict" in printed) == warned, printed


# The official package's interface


@pytest.mark.slow
@pytest.mark.weights
def test_compat_conf_ignored(case):
    """The official package gives 354 matches of these photos, 192 above 0.99, and exits after layer 2 or 9."""
    done = python("mut.py")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("default (2, 35")
    assert lines[1].startswith("filter_threshold = 0.99 (2, 19")
    assert lines[2].startswith("depth and width off (9, ")
    assert "[1, 100, 2]" in lines[3]
    assert "[1, 100, 2]" in lines[4]


@pytest.mark.slow
def test_compat_imports(case):
    done = python("imports.py")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 11
    assert all(line.endswith(" ok") for line in lines), done.stdout


@pytest.mark.slow
@pytest.mark.weights
def test_compat_warning_numbers(case):
    done = python("batches.py")
    assert done.returncode == 0, done.stderr
    assert "427" in done.stderr
    assert "640" in done.stderr
    assert "1024" not in done.stderr


def test_every_case_has_a_test():
    if not CASES.is_dir():
        pytest.skip(f"no cases at {CASES}")
    # How long a command takes while others want the same cores is measured by benchmarks/contention.py.
    elsewhere = {"threads_contended"}
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.name for path in CASES.iterdir() if path.is_dir()} - elsewhere <= tested
