import json
import math
from dataclasses import replace

import pytest

from photoglue.errors import ConfigError, OutputError
from photoglue.evaluation.results import PairRecord, ProtocolCard, Result, table_of

CARD = ProtocolCard(
    protocol="photoglue",
    resize=1024,
    max_keypoints=2048,
    estimator="poselib",
    threshold_px=1.0,
    image_set="55 pairs",
    versions={"torch": "2.0"},
)


def result(dataset="a", method="m", card=CARD, auc=0.5, benchmark="relative_pose", spread=None):
    record = PairRecord(
        scene="s", name0="0.jpg", name1="1.jpg", values={"pose_error_deg": math.inf, "recall_1px": math.nan}
    )
    return Result(
        benchmark=benchmark,
        dataset=dataset,
        method=method,
        card=card,
        values={"AUC@5": auc},
        spread=spread or {},
        scenes={"s": {"AUC@5": auc}},
        records=(record,),
        images="/images",
    )


def test_json_gives_back_the_same(tmp_path):
    path = tmp_path / "r.json"
    made = result(spread={"AUC@5": 0.1})
    made.to_json(path)
    found = Result.from_json(path)
    assert replace(found, records=()) == replace(made, records=())
    values = found.records[0].values
    assert values["pose_error_deg"] == math.inf
    assert math.isnan(values["recall_1px"])
    # Standard JSON, which knows neither Infinity nor NaN.
    json.loads(path.read_text(), parse_constant=pytest.fail)
    assert [file.name for file in tmp_path.iterdir()] == ["r.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    result(auc=0.1).to_json(path)

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "replace", full)
    with pytest.raises(OutputError, match=r"r\.json' cannot be written: No space"):
        result(auc=0.9).to_json(path)
    assert Result.from_json(path).values["AUC@5"] == 0.1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}', '{"format": "photoglue.result", "version": 1}'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="not a result of photoglue evaluate"):
        Result.from_json(path)


def test_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "r.json"
    result().to_json(path)
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(ConfigError, match="another version than 1: update PhotoGlue"):
        Result.from_json(path)


def test_cards_say_what_differs():
    other = replace(CARD, threshold_px=2.0, versions={"torch": "2.1", "poselib": "2"})
    assert CARD.differences(CARD) == ()
    assert CARD.differences(other) == ("threshold_px 1.0 and 2.0", "poselib absent and 2", "torch 2.0 and 2.1")


def test_table_has_a_cell_for_each_method_and_data_set():
    table = table_of([result("a", "x", auc=0.1), result("b", "y", auc=0.2, spread={"AUC@5": 0.01})])
    assert table.columns == (("a", "AUC@5"), ("b", "AUC@5"))
    assert table.rows == {"x": (0.1, None), "y": (None, 0.2)}
    assert table.spreads == {"x": (None, None), "y": (None, 0.01)}
    assert table.notes == ()


def test_table_refuses_different_cards_unless_told_to():
    mixed = [result(), result(method="n", card=replace(CARD, estimator="opencv"))]
    with pytest.raises(ConfigError, match=r"n on a: estimator poselib and opencv.*--allow-mixed"):
        table_of(mixed)
    table = table_of(mixed, allow_mixed=True)
    assert table.notes == ("n on a: estimator poselib and opencv",)


def test_image_sets_differ_between_data_sets_but_not_within_one():
    fewer = replace(CARD, image_set="10 of 55 pairs")
    table_of([result("a"), result("b", card=fewer)])
    with pytest.raises(ConfigError, match="image_set 55 pairs and 10 of 55 pairs"):
        table_of([result("a", "x"), result("a", "y", card=fewer)])


def test_table_refuses_several_benchmarks_and_none():
    with pytest.raises(ConfigError, match="homography, relative_pose"):
        table_of([result(), result(benchmark="homography")])
    with pytest.raises(ConfigError, match="no result"):
        table_of([])
