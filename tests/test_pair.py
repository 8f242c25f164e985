"""What is known of a matched pair, and the files that it is written to."""

import csv
import json

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError, OutputError
from photoglue.pair import Clock, PairResult, save_matches
from photoglue.solvers.verification import Verification
from photoglue.structs import Features, Matches


def features(n):
    return Features.from_arrays(np.arange(2 * n).reshape(n, 2), np.ones((n, 4)), (30, 20), kind="mine")


def matches():
    return Matches(
        matches0=torch.tensor([2, -1, 0]),
        matches1=torch.tensor([2, -1, 0, -1]),
        matching_scores0=torch.tensor([0.5, 0.05, 0.75]),
        matching_scores1=torch.tensor([0.75, 0.05, 0.5, 0.0]),
        keypoints0=torch.tensor([[0.0, 0], [1, 1], [2.25, 2]]),
        keypoints1=torch.tensor([[10.0, 0], [11, 1], [12, 2], [13, 3]]),
    )


def result(verified=True):
    verification = Verification(
        model="fundamental",
        matrix=torch.eye(3, dtype=torch.float64),
        inliers=torch.tensor([True, False]),
        threshold_px=1.5,
    )
    return PairResult(
        image0=torch.rand(3, 20, 30),
        image1=torch.rand(1, 20, 30),
        paths=("a.jpg", None),
        features0=features(3),
        features1=features(4),
        matches=matches(),
        overlap_probability=0.75,
        verification=verification if verified else None,
        seconds={"match": 0.5},
    )


def test_json_holds_points_and_facts(tmp_path):
    result().save(tmp_path / "m.json", {"resize": None})
    found = json.loads((tmp_path / "m.json").read_text())
    assert found["points0"] == [[0, 0], [2.25, 2]]
    assert found["points1"] == [[12, 2], [10, 0]]
    assert found["indices"] == [[0, 2], [2, 0]]
    assert found["scores"] == [0.5, 0.75]
    assert found["inliers"] == [True, False]
    assert found["images"][0] == {"path": "a.jpg", "width": 30, "height": 20, "exif_orientation": 1, "keypoints": 3}
    assert found["frame"] == "upright"
    assert found["images"][1]["path"] is None
    assert (found["features"], found["options"], found["overlap_probability"]) == ("mine", {"resize": None}, 0.75)
    model = {"model": "fundamental", "matrix": np.eye(3).tolist(), "threshold_px": 1.5}
    assert found["verification"] == {**model, "rotation": None, "translation": None}
    assert (found["format"], found["format_version"]) == ("photoglue-matches", 1)


def test_text_is_what_the_file_holds(tmp_path):
    result().save(tmp_path / "m.json", {"resize": 320})
    assert result().to_json({"resize": 320}) == (tmp_path / "m.json").read_text()


def test_npz_holds_what_json_holds(tmp_path):
    result().save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as opened:
        assert json.loads(str(opened["facts"])) == result().facts()
        np.testing.assert_array_equal(opened["points0"], matches().points0)
        assert opened["inliers"].tolist() == [True, False]


@pytest.mark.parametrize("verified", [True, False])
def test_csv_has_a_row_for_each_match(tmp_path, verified):
    result(verified).save(tmp_path / "M.CSV")
    rows = list(csv.DictReader((tmp_path / "M.CSV").read_text().splitlines()))
    assert [(row["x0"], row["y1"], row["index1"], row["score"]) for row in rows] == [
        ("0.0000", "2.0000", "2", "0.500000"),
        ("2.2500", "0.0000", "0", "0.750000"),
    ]
    assert [row.get("inlier") for row in rows] == (["1", "0"] if verified else [None, None])


def test_matches_alone(tmp_path):
    save_matches(matches(), str(tmp_path / "m.json"))
    assert json.loads((tmp_path / "m.json").read_text()).keys() == {"points0", "points1", "indices", "scores"}


def test_refusals(tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.json, \.npz, \.csv"):
        save_matches(matches(), tmp_path / "m.xyz")
    with pytest.raises(OutputError, match=r"absent' does not exist; make it first"):
        save_matches(matches(), tmp_path / "absent" / "m.json")
    assert list(tmp_path.iterdir()) == []


def test_it_says_what_it_is():
    assert repr(result()) == "<PairResult: 2 matches, 1 verified>"
    assert repr(result(verified=False)) == "<PairResult: 2 matches>"
    assert result(verified=False).inliers is None


def test_it_moves_as_one():
    moved = result().to("meta")
    assert {str(each.device) for each in (moved.image0, moved.matches.matches0, moved.inliers)} == {"meta"}


def test_pictures(tmp_path):
    pytest.importorskip("matplotlib", exc_type=ImportError)
    texts = [text.get_text() for text in result().draw().texts]
    assert "1 of 2 matches verified" in texts
    with pytest.raises(ConfigError, match="do not say when points were pruned"):
        result().draw_pruning()


def test_clock():
    clock = Clock({"read": 0.0144, "match": 1.26})
    assert str(clock) == "read 14 ms, match 1.3 s"
    with clock("verify"):
        pass
    assert 0 <= clock.seconds["verify"] < 1
