import json
import math
from dataclasses import replace

import pytest

from photoglue.errors import ConfigError, OutputError, PhotoGlueWarning
from photoglue.evaluation.results import (
    PairRecord,
    ProtocolCard,
    Result,
    check_comparable,
    earlier_results,
    read_result,
    write_result,
)

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
    write_result(made, path)
    found = read_result(path)
    assert replace(found, records=()) == replace(made, records=())
    values = found.records[0].values
    assert values["pose_error_deg"] == math.inf
    assert math.isnan(values["recall_1px"])
    # Standard JSON, which knows neither Infinity nor NaN.
    json.loads(path.read_text(), parse_constant=pytest.fail)
    assert [file.name for file in tmp_path.iterdir()] == ["r.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    write_result(result(auc=0.1), path)

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "replace", full)
    with pytest.raises(OutputError, match=r"r\.json' cannot be written: the disk is full"):
        write_result(result(auc=0.9), path)
    assert read_result(path).values["AUC@5"] == 0.1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}', '{"format": "photoglue.result"}'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="not a result of photoglue evaluate"):
        read_result(path)


def test_fields_that_are_missing_wrong_or_unknown_are_named(tmp_path):
    path = tmp_path / "r.json"
    write_result(result(), path)
    content = json.loads(path.read_text())
    for change, said in (
        ({"records": None}, "'NoneType' object is not iterable"),
        ({"card": {}}, "missing value for field"),
        ({"odd": 1}, 'can not match "odd"'),
        ({"values": {"AUC@5": "many"}}, "could not convert string to float: 'many'"),
    ):
        path.write_text(json.dumps(content | change))
        with pytest.raises(ConfigError, match=rf"r\.json' holds no Result that can be used here: .*{said}"):
            read_result(path)


def test_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "r.json"
    write_result(result(), path)
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(ConfigError, match="another version than 1: update PhotoGlue"):
        read_result(path)


def test_cards_say_what_differs():
    other = replace(CARD, threshold_px=2.0, versions={"torch": "2.1", "poselib": "2"})
    assert CARD.differences(CARD) == ()
    assert CARD.differences(other) == ("threshold_px 1.0 and 2.0", "poselib absent and 2", "torch 2.0 and 2.1")


def test_different_cards_are_not_comparable():
    with pytest.raises(ConfigError, match=r"n on a: estimator poselib and opencv.*--allow-mixed"):
        check_comparable([result(), result(method="n", card=replace(CARD, estimator="opencv"))])


def test_image_sets_differ_between_data_sets_but_not_within_one():
    fewer = replace(CARD, image_set="10 of 55 pairs")
    check_comparable([result("a"), result("b", card=fewer)])
    with pytest.raises(ConfigError, match="image_set 55 pairs and 10 of 55 pairs"):
        check_comparable([result("a", "x"), result("a", "y", card=fewer)])


def test_a_pair_without_a_number_failed():
    (pair,) = result().records
    assert (pair.error("pose_error_deg"), pair.error("recall_1px"), pair.error("absent")) == (math.inf,) * 3
    assert replace(pair, values={"e": 1.5}).error("e") == 1.5


def test_earlier_results_but_for_those_that_are_measured_again_or_damaged(tmp_path):
    for method in "xy":
        write_result(result(method=method), tmp_path / f"a.{method}.json")
    (tmp_path / "a.z.json").write_text('{"format": "photoglue.res')
    with pytest.warns(PhotoGlueWarning, match=r"a\.z\.json' is not a result .* It is left out"):
        found = earlier_results(tmp_path, {("a", "y"), ("b", "x")})
    assert [each.method for each in found] == ["x"]
    assert earlier_results(tmp_path / "absent") == []
