from dataclasses import replace

import pytest

from photoglue.errors import ConfigError
from photoglue.evaluation.benchmarks.estimators import ESTIMATORS
from photoglue.evaluation.benchmarks.table import BENCHMARKS
from photoglue.evaluation.protocols import NO_ESTIMATOR, PROTOCOLS, protocol_named, versions


def test_rows_are_whole():
    names = [(row.name, row.benchmark) for row in PROTOCOLS]
    assert len(set(names)) == len(names)
    for row in PROTOCOLS:
        assert row.benchmark in BENCHMARKS
        assert row.thresholds_px.keys() == ESTIMATORS.keys() or row.estimator == NO_ESTIMATOR
        assert row.source
    assert {row.name for row in PROTOCOLS} == {"photoglue", "lightglue-paper", "glue-factory", "loftr", "superglue"}
    assert {row.benchmark for row in PROTOCOLS if row.name == "photoglue"} == set(BENCHMARKS)


def test_numbers_of_the_literature():
    """FACTS §4: what the papers say, read off by hand."""
    paper = protocol_named("lightglue-paper", "relative_pose")
    assert (paper.resize, paper.resize_side, paper.max_keypoints) == (1600, "long", 2048)
    planes = protocol_named("glue-factory", "homography")
    assert (planes.resize, planes.resize_side, planes.max_keypoints) == (480, "short", 1024)
    assert len(planes.dropped_scenes) == 8
    loftr = protocol_named("loftr", "relative_pose").card("all")
    assert (loftr.resize, loftr.estimator, loftr.threshold_px) == (840, "opencv", 0.5)
    ours = protocol_named("photoglue", "relative_pose").card("all")
    assert (ours.resize, ours.max_keypoints, ours.estimator, ours.threshold_px) == (1024, 2048, "poselib", 1.0)


def test_card_says_what_was_overridden():
    protocol = protocol_named("glue-factory", "relative_pose")
    card = protocol.card("all")
    assert (card.estimator, card.threshold_px, card.resized_frame) == ("poselib", 2.0, True)
    assert protocol.card("all", estimator="opencv").threshold_px == 0.5
    assert protocol.card("all", threshold_px=3.0, seeds=5) == replace(card, threshold_px=3.0, seeds=5)
    assert {"photoglue", "torch", "poselib", "opencv"} <= card.versions.keys() == versions().keys()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"estimator": "usac"}, "no estimator 'usac'"),
        ({"threshold_px": 0.0}, "threshold_px is 0"),
        ({"seeds": 0}, "seeds is 0"),
    ],
)
def test_cards_that_make_no_sense(options, said):
    with pytest.raises(ConfigError, match=said):
        protocol_named("photoglue", "homography").card("all", **options)


def test_unknown_protocols():
    with pytest.raises(ConfigError, match=r"no protocol 'imc'\. There are: photoglue, lightglue-paper"):
        protocol_named("imc", "relative_pose")
    with pytest.raises(ConfigError, match="'loftr' says nothing of homography; choose one of photoglue, light"):
        protocol_named("loftr", "homography")
