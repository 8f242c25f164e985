"""Searches of small photos of two things, measured."""

import pytest
from tiny_photos import blobs

from photoglue.errors import ConfigError
from photoglue.evaluation import Settings, evaluate
from photoglue.evaluation.results import read_result
from photoglue.evaluation.searching import SearchMethod
from photoglue.retrieval.efficientnet import RECORD
from photoglue.weights import locate

SETTINGS = Settings(workers=0, device="cpu")


@pytest.fixture
def things(tmp_path):
    folder = tmp_path / "things"
    (folder / "images").mkdir(parents=True)
    lines = ["file\tplace\tsplit"]
    for letter, seed in (("a", 1), ("b", 2)):
        for shift in range(3):
            blobs(seed, shift).save(folder / "images" / f"{letter}{shift}.png")
            lines.append(f"{letter}{shift}.png\t{letter}/place\t{'gallery' if shift else 'query'}")
    (folder / "places.tsv").write_text("\n".join(lines))
    return folder


@pytest.mark.slow
def test_methods_side_by_side(things, tmp_path):
    pytest.importorskip("cv2", exc_type=ImportError)
    methods = ["sift+vlad", "sift+mean", "sift+vlad+rerank"]
    if locate(RECORD) is not None:
        methods += ["efficientnet", "sift+vlad+efficientnet"]
    found = evaluate([things], methods, tmp_path / "out", SETTINGS)
    assert [result.method for result in found.results] == methods
    for result in found.results:
        assert len(result.records) == 2
        assert result.values["first_right"] == 1.0 or result.method == "sift+mean"
        assert set(result.scenes) == {"a", "b", "a/place", "b/place"}
    vlad, mean = found.results[0], found.results[1]
    assert (vlad.values["mAP"], vlad.values["R@5"], vlad.values["group_right"]) == (1.0, 1.0, 1.0)
    assert vlad.values["bytes"] == 128 * 128 + 4 > mean.values["bytes"]
    assert {record.name1 for record in vlad.records} <= {f"images/{x}{i}.png" for x in "ab" for i in (1, 2)}
    assert read_result(tmp_path / "out" / "things.sift+vlad.json") == vlad
    page = found.report.read_text()
    assert "no geometry" in page
    again = evaluate([things], ["sift+vlad"], tmp_path / "out", SETTINGS).results[0]
    timed = ("describe_s",)
    assert {k: v for k, v in again.values.items() if k not in timed} == {
        k: v for k, v in vlad.values.items() if k not in timed
    }


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("aliked+vlad", ("aliked", "vlad", False, False)),
        ("sift+mean+rerank", ("sift", "mean", False, True)),
        ("efficientnet", (None, None, True, False)),
        ("disk+vlad+efficientnet+rerank", ("disk", "vlad", True, True)),
    ],
)
def test_names(name, parts):
    method = SearchMethod.parse(name)
    assert (method.extractor, method.vector, method.network, method.rerank) == parts


@pytest.mark.parametrize(
    "name", ["aliked", "vlad", "aliked+lightglue", "efficientnet+rerank", "aliked+efficientnet", "aliked+vlad+x", ""]
)
def test_names_of_nothing(name):
    with pytest.raises(ConfigError, match=r"is no method of search\. There are EXTRACTOR\+vlad"):
        SearchMethod.parse(name)


def test_what_does_not_go_together(things, planes, tmp_path):
    with pytest.raises(ConfigError, match=r"data of pairs \(planes\) came with them"):
        evaluate([things, planes], ["sift+vlad"], tmp_path / "out", SETTINGS)
    with pytest.raises(ConfigError, match="Searches estimate no geometry"):
        evaluate([things], ["sift+vlad"], tmp_path / "out", Settings(estimator="opencv"))
    with pytest.raises(ConfigError, match="'loftr' says nothing of retrieval; choose one of photoglue"):
        evaluate([things], ["sift+vlad"], tmp_path / "out", Settings(protocol="loftr"))
