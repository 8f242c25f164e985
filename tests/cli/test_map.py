"""photoglue map: from photos to a model, and what it says of it."""

import io

import pytest
from rich.console import Console

from photoglue.cli.app import main, parse
from photoglue.cli.map import print_models, stages
from photoglue.sfm import CameraOptions, MapperOptions, VerifyOptions

pytest.importorskip("h5py", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)
pytest.importorskip("pycolmap", exc_type=ImportError)


def test_every_option_arrives(tmp_path):
    words = "map photos --out out --camera-model OPENCV --single-camera --threshold 2 --min-inliers 20 --mapper global "
    words += "--seed 3 --threads -1 --refine-principal-point --extend --snapshot-photos 50 --jobs 2 --matcher nearest "
    words += "--features sift --max-keypoints 100 --resize None --pairs p.txt --masks m --device cpu --ignore-alpha "
    words += "--preset fast"
    options = parse(words.split()).options
    assert options.cameras == CameraOptions(model="OPENCV", single=True)
    assert options.verify == VerifyOptions(threshold_px=2.0, min_inliers=20)
    assert options.mapper == MapperOptions(
        mapper="global", seed=3, threads=-1, refine_principal_point=True, snapshot_photos=50
    )
    assert (options.features, options.max_keypoints, options.resize, options.matcher) == ("sift", 100, None, "nearest")
    assert (options.jobs, options.device, options.ignore_alpha, options.extend) == (2, "cpu", True, True)
    assert options.preset == "fast"
    assert (str(options.pairs), str(options.masks)) == ("p.txt", "m")
    plain = parse(["map", "photos", "--out", "out", "--mapper", "none", "--intrinsics", "500"]).options
    assert plain.max_keypoints == 4096
    words = "map photos --out out --keep-principal-point --by retrieval --descriptors vectors.h5"
    other = parse(words.split()).options
    assert other.mapper == MapperOptions(shift_principal_point=False)
    assert (other.by, str(other.descriptors)) == (("retrieval",), "vectors.h5")
    assert plain.mapper is None
    assert plain.cameras == CameraOptions(intrinsics="500")


@pytest.mark.slow
def test_real_photos(motorcycle, tmp_path, capsys):
    """A stereo pair: too little parallax for COLMAP's first pair, or a model of two; both are said plainly."""
    (tmp_path / "photos").mkdir()
    for path in motorcycle:
        (tmp_path / "photos" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    command = ["map", tmp_path / "photos", "--out", tmp_path / "out", "--features", "sift", "--matcher", "nearest"]
    assert main([str(word) for word in [*command, "--resize", 400]]) == 1
    printed = capsys.readouterr().out
    assert "1 checked pair, " in printed
    assert "1 camera, 0 with a known focal length" in printed
    assert "unreadable: " in printed
    assert "extract " in printed.splitlines()[-1]
    assert main(["map", str(tmp_path / "photos"), "--out", str(tmp_path / "photos")]) == 1


def test_tables():
    console = Console(file=io.StringIO(), width=120)
    print_models(console, (), 3, {f"{number}.jpg": "why [not]" for number in range(60)})
    printed = console.file.getvalue()
    assert "No photo could be placed." in printed
    assert "why [not]" in printed
    assert "and 10 more; run.json has them all" in printed


def test_each_stage_has_a_bar():
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with stages(console) as told:
        told("extract", 1, 2)
        told("match", 0, 9)
    printed = console.file.getvalue()
    assert "extract" in printed
    assert "0/9" in printed
    with pytest.raises(KeyboardInterrupt), stages(console):
        raise KeyboardInterrupt
    assert "the same command goes on from there" in console.file.getvalue()
