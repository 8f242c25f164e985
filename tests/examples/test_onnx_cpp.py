"""The C++ example builds and runs staged matchers as the runtime in Python does."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from exported_files import small_lightglue, untyped

SOURCE = Path(__file__).resolve().parents[2] / "examples" / "onnx_cpp" / "staged_matcher.cpp"
HEADERS = ("/usr/include/onnxruntime", "/usr/local/include/onnxruntime", os.environ.get("ONNXRUNTIME_INCLUDE", ""))
pytestmark = pytest.mark.rare


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The example, compiled against the library in onnxruntime's wheel."""
    onnxruntime = pytest.importorskip("onnxruntime", exc_type=ImportError)
    compiler = shutil.which("c++") or shutil.which("g++")
    headers = next((folder for folder in HEADERS if Path(folder, "onnxruntime_cxx_api.h").is_file()), None)
    libraries = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if compiler is None or headers is None or not libraries:
        pytest.skip("no C++ compiler, no headers of onnxruntime (Debian 13: libonnxruntime-dev), or no library of it")
    folder = tmp_path_factory.mktemp("cpp")
    library, built = folder / "libonnxruntime.so.1", folder / "staged_matcher"
    library.symlink_to(libraries[0])
    words = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{headers}", f"-Wl,-rpath,{folder}"]
    done = subprocess.run(
        [compiler, *words, str(SOURCE), str(library), "-o", str(built)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return built


def written(path, features):
    """A file of points, as docs/export_samples.md writes it."""
    columns = [features.keypoints, features.scales, features.orientations, features.descriptors]
    arrays = [each.numpy() for each in columns if each is not None]
    each = sum(1 if array.ndim == 1 else array.shape[1] for array in arrays)
    header = np.array([*features.image_size, len(features), each], "<i4")
    path.write_bytes(header.tobytes() + b"".join(array.astype("<f4").tobytes() for array in arrays))
    return path


def assert_equals_runtime(program, folder, pair, tmp_path):
    """Matches, scores, exit layer and dropped points; returns the exit layer and how many points were dropped."""
    from photoglue import LightGlueConfig
    from photoglue.export.runtime import StagedMatcher
    from photoglue.export.staged_matcher import run_staged

    files = [written(tmp_path / f"{i}.points", features) for i, features in enumerate(pair)]
    done = subprocess.run([program, folder, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    expected = run_staged(StagedMatcher(folder, threads=1), pair, LightGlueConfig())
    assert first == f"# exit after layer {expected['stop']}"
    rows = np.array([line.split() for line in lines], float).reshape(-1, 5)
    for i in (0, 1):
        own = rows[rows[:, 0] == i]
        assert (own[:, 1] == np.arange(len(pair[i]))).all()
        assert (own[:, 2] == expected[f"matches{i}"]).all()
        assert (own[:, 4] == expected[f"prune{i}"]).all()
        assert np.abs(own[:, 3] - expected[f"mscores{i}"]).max(initial=0) < 1e-6
    return expected["stop"], int((rows[:, 4] < expected["stop"]).sum()), int((rows[:, 2] >= 0).sum())


def test_it_equals_the_runtime(program, staged_folder, tmp_path):
    from photoglue.export.cases import made_up

    found = [
        assert_equals_runtime(program, staged_folder, made_up(small_lightglue(), *sizes), tmp_path)
        for sizes in ((30, 40), (300, 200), (20, 20), (1, 1), (0, 4))
    ]
    assert len({stop for stop, _, _ in found}) > 1
    assert max(matched for _, _, matched in found) > 20


def test_it_equals_the_runtime_on_photos(program, motorcycle, tmp_path):
    """The released matcher for ALIKED, which exits early and drops points."""
    pytest.importorskip("onnxscript", exc_type=ImportError)
    import photoglue
    from photoglue.export import export_staged

    extractor = photoglue.create_extractor("aliked", max_keypoints=400, resize=480, precision="float32")
    pair = tuple(extractor.extract(path) for path in motorcycle)
    model = photoglue.LightGlue.pretrained("aliked", precision=None)
    model.shape = model.shape.__class__(**{**vars(model.shape), "kinds": None})  # features to check with take long
    with untyped():
        export_staged(tmp_path / "staged", model)
    stop, dropped, matched = assert_equals_runtime(program, tmp_path / "staged", pair, tmp_path)
    assert 2 <= stop < 9
    assert dropped > 100
    assert matched > 200


def test_bad_files(program, staged_folder, tmp_path):
    from photoglue.export.cases import made_up

    good = written(tmp_path / "good.points", made_up(small_lightglue(), 9, 9)[0])
    bad = tmp_path / "bad.points"
    broken = tmp_path / "broken"
    shutil.copytree(staged_folder, broken)
    (broken / "layer0.onnx").write_bytes((broken / "layer0.onnx").read_bytes()[:1000])
    for folder, content, said in (
        (staged_folder, good.read_bytes()[:-4], "bad.points"),
        (staged_folder, b"", "bad.points"),
        (staged_folder, np.array([9, 9, 2, 3], "<i4").tobytes() + bytes(24), "negative"),
        (staged_folder, np.array([9, 9, 2, 7], "<i4").tobytes() + bytes(56), "desc"),
        (tmp_path, good.read_bytes(), "--staged"),
        (broken, good.read_bytes(), "layer0.onnx"),
    ):
        bad.write_bytes(content)
        done = subprocess.run([program, folder, bad, good], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert said in done.stderr
