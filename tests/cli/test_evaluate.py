import json
import re
import sys

import numpy as np
import pytest
import rendered_scene
import tiny_training
from moving_picture import frames, write_folder
from tiny_model import write_tiny_model

from photoglue.evaluation import MapRun

cv2 = pytest.importorskip("cv2", exc_type=ImportError)


@pytest.fixture
def cli(capsys):
    def run(*arguments):
        from photoglue.cli import main

        capsys.readouterr()
        code = main(["evaluate", *(str(argument) for argument in arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def sequence(astronaut, tmp_path):
    """A photo and its shifted copy."""
    folder = tmp_path / "shifted"
    folder.mkdir()
    photo = cv2.imread(str(astronaut))[:200, :256]
    shift = np.array([[1.0, 0, 12], [0, 1, 7], [0, 0, 1]])
    cv2.imwrite(str(folder / "1.png"), photo)
    cv2.imwrite(str(folder / "2.png"), cv2.warpPerspective(photo, shift, (256, 200)))
    np.savetxt(folder / "H_1_2", shift)
    return folder


@pytest.mark.slow
def test_table_files_and_report(cli, sequence, tmp_path):
    out = tmp_path / "out"
    code, printed, err = cli(
        sequence, "--methods", "sift+nn", "sift+ratio0.7", "--out", out, "--workers", 0, "--seeds", 2, "--device", "cpu"
    )
    assert (code, err) == (0, "")
    assert "shifted · homography · 1 pairs" in printed
    assert "photoglue, poselib at 3 px, 2 seeds" in printed
    for method in ("sift+nn", "sift+ratio0.7"):
        assert re.search(rf"{re.escape(method)} +│ +\d", printed)
        result = json.loads((out / f"shifted.{method}.json").read_text())
        assert result["values"]["AUC@5"] > 0.8
        assert result["card"]["seeds"] == 2
    report = (out / "report.html").read_text()
    assert "sift+ratio0.7" in report
    assert str(out / "report.html") in printed


@pytest.mark.slow
def test_results_that_are_there_join_the_report_if_they_may(cli, sequence, tmp_path):
    common = (sequence, "--out", tmp_path / "out", "--workers", 0, "--device", "cpu")
    assert cli(*common, "--methods", "sift+nn")[0] == 0
    code, _, err = cli(*common, "--methods", "sift+ratio", "--threshold-px", 1)
    assert code == 1
    assert "has a result of sift+nn on shifted under another protocol (threshold_px 1.0 and 3.0)" in err
    assert not (tmp_path / "out" / "shifted.sift+ratio.json").exists()
    assert cli(*common, "--methods", "sift+ratio", "--threshold-px", 1, "--allow-mixed")[0] == 0
    report = (tmp_path / "out" / "report.html").read_text()
    assert "sift+nn" in report
    assert "sift+ratio" in report


@pytest.mark.slow
@pytest.mark.filterwarnings("always::photoglue.errors.PhotoGlueWarning")  # to be printed, as for a user
def test_a_damaged_result_is_left_out_and_replaced(cli, sequence, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("shifted.sift+nn.json", "other.sift+nn.json"):
        (out / name).write_text('{"format": "photoglue.res')
    code, _, err = cli(sequence, "--out", out, "--workers", 0, "--device", "cpu", "--methods", "sift+nn")
    assert code == 0
    assert re.search(r"other\.sift\+nn\.json' is not a result .* left out", err)
    assert json.loads((out / "shifted.sift+nn.json").read_text())["method"] == "sift+nn"
    assert (out / "report.html").is_file()


@pytest.mark.slow
def test_the_same_method_again_replaces_its_result(cli, sequence, tmp_path):
    common = (sequence, "--out", tmp_path / "out", "--workers", 0, "--device", "cpu", "--methods", "sift+nn")
    for threshold in (2, 3):
        assert cli(*common, "--threshold-px", threshold)[0] == 0
    result = json.loads((tmp_path / "out" / "shifted.sift+nn.json").read_text())
    assert result["card"]["threshold_px"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--methods", "sift+lightgleu"), "'sift+lightgleu' is no method"),
        (("--protocol", "imc"), "There is no protocol 'imc'"),
        (("--benchmark", "relative_pose"), "no data set for relative_pose"),
        (("--estimator", "usac"), "no estimator 'usac'"),
    ],
)
def test_mistakes(cli, sequence, tmp_path, arguments, said):
    code, out, err = cli(sequence, "--out", tmp_path / "out", *arguments)
    assert (code, out) == (1, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_no_data(cli, tmp_path):
    code, _, err = cli(tmp_path / "absent")
    assert code == 1
    assert "There is no folder" in err


@pytest.mark.slow
@pytest.mark.filterwarnings("always::photoglue.errors.PhotoGlueWarning")  # to be printed, as for a user
def test_missing_images_are_counted_and_left_out_with_the_option(cli, sequence, tmp_path):
    np.savetxt(sequence / "H_1_3", np.eye(3))
    common = (sequence, "--out", tmp_path / "out", "--workers", 0, "--device", "cpu", "--methods", "sift+nn")
    code, _, err = cli(*common)
    assert code == 1
    assert "--skip-missing" in err
    code, printed, err = cli(*common, "--skip-missing")
    assert code == 0
    assert "1 of 2 pairs" in err
    assert "1 left out for missing images" in re.sub(r"\s+", " ", printed)


@pytest.mark.slow
def test_an_extractor_of_ones_own(cli, sequence, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "corners", raising=False)
    (tmp_path / "corners.py").write_text(tiny_training.EXTRACTOR)
    out = tmp_path / "out"
    method = f"{tmp_path / 'corners.py'}:Corners+nn@float32"
    code, printed, err = cli(sequence, "--methods", method, "--out", out, "--workers", 0, "--device", "cpu")
    assert (code, err) == (0, "")
    assert re.search(r"Corners\+nn +│ +\d", printed)
    assert json.loads((out / "shifted.Corners+nn.json").read_text())["method"] == "Corners+nn"
    assert len(list((out / "features").glob("shifted.Corners.*.h5"))) == 1
    monkeypatch.delitem(sys.modules, "corners")
    (tmp_path / "corners.py").write_text(tiny_training.EXTRACTOR.replace("[:60]", "[:40]"))
    assert cli(sequence, "--methods", method, "--out", out, "--workers", 0, "--device", "cpu")[0] == 0
    assert len(list((out / "features").glob("shifted.Corners.*.h5"))) == 2  # the code is another


@pytest.mark.slow
def test_poses_that_the_matches_contradict(cli, tmp_path):
    """Three photos of a wall, with the poses inverted."""
    folder = rendered_scene.write_scene(tmp_path / "wall", count=3, claimed=[
        np.linalg.inv(pose) for pose in rendered_scene.poses(3)
    ])  # fmt: skip
    out = tmp_path / "out"
    code, printed, _ = cli(folder, "--methods", "sift+ratio", "--out", out, "--workers", 0, "--device", "cpu")
    assert code == 0
    assert "sift+ratio: The matches contradict the given poses: " in printed
    assert "inverted (camera-to-world)" in printed
    for name in ("report.html", "report.md", "wall.sift+ratio.json"):
        assert "contradict the given poses" in (out / name).read_text()


def test_models(cli, tmp_path, monkeypatch):
    pytest.importorskip("pycolmap", exc_type=ImportError)
    tiny = write_tiny_model(tmp_path / "tiny", names=("a.jpg", "b.jpg", "c.jpg"))
    scene = tmp_path / "scene"
    scene.mkdir()
    tiny.photos.rename(scene / "images")
    run = MapRun(model=tiny.model, cpu_seconds={"map": 2.0})
    monkeypatch.setattr("photoglue.evaluation.maps.run.mapper_named", lambda name: lambda *_: run)
    out = tmp_path / "out"
    code, printed, err = cli(scene, "--benchmark", "sfm", "--methods", "fast", "--out", out, "--max-photos", 2)
    assert (code, err) == (0, "") and "2/2" in printed and str(out / "maps.md") in printed
    assert "| scene (K unknown) | fast | 2/2 |" in (out / "maps.md").read_text()
    code, _, err = cli(scene, "--benchmark", "sfm", "--seeds", 2)
    assert code != 0 and "leave out --estimator" in err


@pytest.mark.slow
def test_tracking(cli, tmp_path):
    folder = tmp_path / "walk"
    folder.mkdir()
    write_folder(folder / "images", frames(12))
    (folder / "trajectory_tum.txt").write_text("\n".join(f"{i / 30} {i / 75} 0 0 0 0 0 1" for i in range(12)))
    (folder / "intrinsics.txt").write_text("150")
    out = tmp_path / "out"
    code, printed, err = cli(folder, "--benchmark", "tracking", "--methods", "orb", "--out", out, "--max-frames", 11)
    assert (code, err) == (0, "") and str(out / "tracking.md") in printed
    assert "| walk | orb | 11 |" in (out / "tracking.md").read_text()
    code, _, err = cli(folder, "--benchmark", "tracking", "--seeds", 2)
    assert code != 0 and "leave out --estimator" in err
