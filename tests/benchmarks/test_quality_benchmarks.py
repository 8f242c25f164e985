"""The benchmarks of quality: tiny runs of each, and that their tables and peers say what they should."""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def photos(astronaut):
    """Two windows of a photo, the second 12 pixels to the right of the first, and the homography between them."""
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    photo = cv2.imread(str(astronaut))
    shift = np.array([[1.0, 0, -12], [0, 1, 0], [0, 0, 1]])
    return [photo[20:212, left : left + 256] for left in (60, 72)], shift


@pytest.fixture
def planar(photos, tmp_path):
    """A development split with one set of two planar pairs."""
    import cv2

    images, homography = photos
    for name in ("a", "b"):
        folder = tmp_path / "data" / "evd" / name
        folder.mkdir(parents=True)
        for number, image in enumerate(images, start=1):
            cv2.imwrite(str(folder / f"{number}.png"), image)
        np.savetxt(folder / "H_1_2", homography)
    return tmp_path / "data"


@pytest.fixture
def posed(photos, tmp_path):
    """One with a posed pair: a plane 1 in front of two cameras that stand side by side."""
    import cv2

    cameras = {}
    for i, image in enumerate(photos[0]):
        path = tmp_path / "posed" / "imb_reichstag" / "images" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
        pose = np.eye(4)
        pose[0, 3] = -12 / 250 * i
        cameras[path.name] = {"K": [[250, 0, 127.5], [0, 250, 95.5], [0, 0, 1]], "T_w2c": pose.tolist()}
    (tmp_path / "posed" / "imb_reichstag" / "cameras.json").write_text(json.dumps(cameras))
    return tmp_path / "posed"


@pytest.fixture
def started(monkeypatch):
    """Runs a benchmark's main with options, and leaves torch's threads as they were."""

    def start(module, options):
        monkeypatch.setattr("sys.argv", [f"{module.__name__}.py", *str(options).split()])
        threads = torch.get_num_threads()
        try:
            with torch.no_grad():
                module.main()
        finally:
            torch.set_num_threads(threads)

    return start


PAGE = "# T\n\n<!-- quality: begin -->\nold\n<!-- quality: end -->\n\nafter\n"


@pytest.mark.slow
def test_quality_is_written_and_not_measured_twice(planar, tmp_path, monkeypatch, capsys, started):
    import quality

    page = tmp_path / "quality.md"
    page.write_text(PAGE)
    options = (
        f"--data {planar} --out {tmp_path / 'out'} --sets evd --methods sift+ratio --processes 1 --docs {tmp_path}"
    )
    started(quality, options)
    report = json.loads((tmp_path / "quality.json").read_text())
    (row,) = report["rows"]
    assert (row["set"], row["method"], row["pairs"]) == ("evd", "sift+ratio", 2)
    assert row["values"]["AUC@5"] > 0.8
    assert row["cpu_s"] > 0
    assert report["protocols"]["homography"]["seeds"] == 5
    text = page.read_text()
    assert "| evd (2) | sift+ratio |" in text
    assert "old" not in text
    assert text.startswith("# T\n\n<!-- quality: begin -->\n")
    assert text.endswith("<!-- quality: end -->\n\nafter\n")
    monkeypatch.setattr(quality, "evaluate", None)  # would fail if it were called
    started(quality, options)
    assert json.loads((tmp_path / "quality.json").read_text())["rows"] == [row]
    capsys.readouterr()


@pytest.mark.slow
def test_quality_in_processes(planar, tmp_path, capsys, started):
    """Two sets in two processes give what they give one after the other."""
    import quality

    shutil.copytree(planar / "evd", planar / "oxford_affine")
    rows = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        (folder / "quality.md").write_text(PAGE)
        options = f"--data {planar} --sets evd oxford_affine --methods sift+ratio sift+nn --out {folder / 'out'}"
        started(quality, f"{options} --processes {processes} --docs {folder}")
        report = json.loads((folder / "quality.json").read_text())
        assert all(row.pop("cpu_s") > 0 for row in report["rows"])
        rows.append(report["rows"])
    assert rows[0] == rows[1]
    assert [(row["set"], row["method"]) for row in rows[1]] == [
        (name, method) for name in ("evd", "oxford_affine") for method in ("sift+ratio", "sift+nn")
    ]
    capsys.readouterr()


def test_quality_splits_the_work_into_parts_without_a_common_file(planar, tmp_path):
    import quality

    names = ["sift+nn", "aliked+nn", "official", "opencv", "aliked+nn@float32"]
    args = argparse.Namespace(data=planar, sets=["evd"], methods=names, max_pairs=1, out=tmp_path / "out")
    groups = quality.groups_of(args, names)
    # The official code gets the features that ours in float32 has.
    assert [group.names for group in groups] == [("aliked+nn", "official", "opencv", "aliked+nn@float32"), ("sift+nn",)]
    assert len({group.ledger for group in groups}) == 2
    assert [len(group.dataset.pairs) for group in groups] == [1, 1]


def test_quality_has_full_depth_by_default_only_for_poses(planar, posed, tmp_path):
    import quality

    names = ["aliked+lightglue", "aliked+nn"]
    for data, name, expected in ((planar, "evd", names[1:]), (posed, "imb_reichstag", names)):
        args = argparse.Namespace(data=data, sets=[name], methods=None, max_pairs=None, out=tmp_path / "out")
        (group,) = quality.groups_of(args, names)
        assert list(group.names) == expected
        args.methods = names
        assert list(quality.groups_of(args, names)[0].names) == names


@pytest.mark.slow
def test_quality_leaves_out_what_it_would_have_to_download(planar, tmp_path, monkeypatch, capsys, started):
    import quality

    from photoglue import weights

    monkeypatch.setattr(weights, "locate", lambda record: None)
    started(
        quality,
        f"--data {planar} --out {tmp_path / 'out'} --sets evd --methods sift+lightglue sift+nn --processes 1 "
        "--peers transformers-lightglue kornia-loftr",
    )
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if line.startswith("left out: sift+lightglue"))
    assert line.endswith("are not on this machine")
    assert "| evd (2) | sift+nn |" in printed
    for peer in ("transformers-lightglue", "kornia-loftr"):
        assert f"left out: {peer}: " in printed


def test_unrelated_pairs_are_of_different_places(tmp_path):
    import PIL.Image
    import quality

    for place in ("evd/graf", "oxford_affine/graf", "evd/cat", "boat"):
        for i in range(3):
            path = tmp_path / place / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.new("RGB", (20, 10)).save(path)
    dataset = quality.unrelated(tmp_path)
    pairs = {frozenset(pair.scene.split(" | ")) for pair in dataset.pairs}
    assert len(pairs) == len(dataset.pairs) == 5  # six pairs of four places, without the one place shown twice
    assert frozenset({"evd/graf", "oxford_affine/graf"}) not in pairs
    assert len({pair.name0 for pair in dataset.pairs}) > 3  # not always the first photo
    assert len(quality.unrelated(tmp_path, 2).pairs) == 2


def test_cells_by_hand():
    from quality_table import markdown

    values = {"AUC@5": 0.7512, "AUC@10": 0.5, "AUC@20": 0.25, "epipolar_precision@5e-4": 0.9, "matches": 812.4}
    row = {"set": "s", "benchmark": "relative_pose", "pairs": 3, "method": "m", "values": values,
           "spread": {"AUC@5": 0.0123, "AUC@10": 0.0, "matches": 0.0}}  # fmt: skip
    lines = markdown({"rows": [row], "skipped": {"x": "no weights"}}).splitlines()
    assert "| s (3) | m | 75.1 ± 1.2 | 50.0 | 25.0 | 90.0 | 812 |" in lines
    assert lines[-1] == "Left out: `x`: no weights"
    assert "exit layer" not in "".join(lines)  # no row has one


def test_a_page_without_markers(tmp_path):
    from pages import replace_between

    page = tmp_path / "p.md"
    page.write_text(PAGE.replace("<!-- quality: end -->", ""))
    with pytest.raises(SystemExit, match="has no lines <!-- quality: begin --> and <!-- quality: end -->"):
        replace_between(page, "quality", "new")


@pytest.fixture
def features():
    from photoglue import Features

    def make(descriptors):
        points = torch.arange(2 * len(descriptors), dtype=torch.float32).reshape(-1, 2)
        return Features.from_arrays(points, torch.tensor(descriptors), (100, 90))

    return make


def test_opencvs_ratio_test(features):
    """Distances of image 0's points: 0 (second 5); 2 to the same, which has a nearer (second 3.6); 2.4 (second 2.6)."""
    from peer_methods import OpenCVRatio

    first, second = features([[0.0, 0.0], [0.0, 2.0], [1.6, 2.0]]), features([[0.0, 0.0], [3.0, 4.0], [4.0, 5.0]])
    (found,) = OpenCVRatio().match_many([(first, second)])
    assert found.indices.tolist() == [[0, 0]]
    (far,) = OpenCVRatio().match_many([(first[1:], second)])
    assert far.indices.tolist() == [[0, 0]]  # the other one gets it if it is alone
    (none,) = OpenCVRatio().match_many([(first, second[:1])])
    assert len(none) == 0


def test_opencvs_sift_is_opencvs(photos):
    import cv2
    from peer_methods import OpenCVSIFT

    from photoglue.extractors.base import ExtractorConfig

    gray = cv2.cvtColor(photos[0][0], cv2.COLOR_BGR2GRAY)
    points, descriptors = cv2.SIFT_create(nfeatures=100).detectAndCompute(gray, None)
    image = torch.from_numpy(gray)[None].float() / 255
    found = OpenCVSIFT(ExtractorConfig(max_keypoints=100, resize=None)).extract(image)
    count = min(100, len(points))
    assert found.keypoints.tolist() == [pytest.approx(point.pt) for point in points[:count]]
    assert np.array_equal(found.descriptors.numpy(), descriptors[:count])
    assert len(OpenCVSIFT(ExtractorConfig()).extract(torch.zeros(1, 64, 64))) == 0


@pytest.mark.weights
@pytest.mark.slow
def test_the_official_peer_matches_as_we_do(official, motorcycle):
    from peer_methods import PEERS

    from photoglue import ALIKED, ALIKEDConfig
    from photoglue.evaluation.methods import Method

    extractor = ALIKED.pretrained(ALIKEDConfig(max_keypoints=200, resize=512, precision="float32"))
    pair = tuple(extractor.extract(path) for path in motorcycle)
    device = torch.device("cpu")
    methods = (PEERS["official"](), Method.parse("aliked+lightglue@float32"))
    theirs, ours = (method.build_matcher("aliked-n16", device).match(*pair) for method in methods)
    assert len(ours) > 50
    assert torch.equal(theirs.matches0, ours.matches0)
    assert torch.equal(theirs.matches1, ours.matches1)
    names = ("extractor", "precision", "device")
    theirs, ours = (method.fingerprint(device) for method in methods)
    assert [theirs[name] for name in names] == [ours[name] for name in names]  # they share the features
    assert theirs != ours  # but not the journal


@pytest.mark.weights
@pytest.mark.slow
def test_adaptivity(posed, tmp_path, capsys, started):
    pytest.importorskip("matplotlib", exc_type=ImportError)
    import adaptivity

    (tmp_path / "images").mkdir()
    page = tmp_path / "quality.md"
    page.write_text("".join(f"<!-- {name}: begin -->\n<!-- {name}: end -->\n" for name in ("adaptivity", "sweep")))
    started(
        adaptivity,
        f"--data {posed} --sets imb_reichstag --out {tmp_path / 'out'} --threads 1 --cpu-time --every 1 "
        f"--sweep-every 1 --depths off 0.5 --widths off --docs {tmp_path}",
    )
    text = page.read_text()
    assert "1 of 1 pairs" in text
    assert "| all | 1 | " in text
    rows = {line.split(" | ")[0]: line.split(" | ")[1:] for line in text.splitlines() if line.startswith("| depth")}
    assert rows.keys() == {"| depth off, width off", "| depth 0.5, width off"}
    assert rows["| depth off, width off"][1] == "9.0"
    assert float(rows["| depth 0.5, width off"][1]) < 9
    assert (tmp_path / "images" / "tradeoff.png").stat().st_size < 60_000
    assert "photoglue" in capsys.readouterr().out


def test_adaptivity_names_sets_that_are_missing(posed):
    import adaptivity

    with pytest.raises(SystemExit, match="no pairs of entry, fountain"):
        adaptivity.known_poses(posed, ["imb_reichstag", "fountain", "entry"])


def test_thresholds(posed, tmp_path, capsys, started):
    import thresholds

    started(
        thresholds,
        f"{posed / 'imb_reichstag'} --method sift+ratio --resize 256 512 --threshold-px 1 3 --seeds 2 "
        f"--out {tmp_path / 'out'}",
    )
    lines = capsys.readouterr().out.splitlines()
    assert "| long side | 1 px | 3 px |" in lines
    assert sum(line.startswith(("| 256 |", "| 512 |")) for line in lines) == 2
    single = [line for line in lines if line.startswith("| 0 | 0 |")]
    assert len(single) == 2
    assert all(line.split(" | ")[3] == "100%" for line in single)  # all matches lie on their epipolar lines
