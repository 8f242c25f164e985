"""What the report says in words."""

from dataclasses import replace

import pytest
from report_cases import CARD, OPENCV, record, result

from photoglue.evaluation.report.content import protocol_line, report_of
from photoglue.evaluation.report.pictures import PictureSource


def content(*results, allow_mixed=False, worst_pairs=0):
    return report_of(results, allow_mixed=allow_mixed, worst_pairs=worst_pairs, source=PictureSource())


def test_the_head_says_what_was_compared_and_how():
    report = content(*(result(method, dataset) for method in "abc" for dataset in ("x", "y")))
    assert report.title == "3 methods on x and y"
    assert report.lead == (
        "relative pose · 6 pairs · protocol photoglue: long side 1024 px, at most 2048 keypoints, poselib at 1 px, "
        "seed 0"
    )
    assert content(result("a", "x")).title == "a on x"


def test_the_head_names_every_protocol():
    lead = content(result("a", "x"), result("a", "y", card=OPENCV)).lead
    assert "2 protocols" in lead
    assert "poselib at 1 px" in lead
    assert "opencv at 0.5 px" in lead


def test_a_card_in_one_line():
    card = replace(CARD, protocol="p", resize=None, max_keypoints=None, threshold_px=2.5, seed=3, seeds=5)
    assert protocol_line(card) == "p: full size, all keypoints, poselib at 2.5 px, seeds 3 to 7"


@pytest.mark.parametrize(
    ("aucs", "spread", "finding"),
    [
        ((0.5, 0.7), {}, "m1 has the best AUC@5, 70.0 %, 20.0 points better than m0."),
        (
            (0.5, 0.52),
            {"AUC@5": 0.015},
            "m1 has the best AUC@5, 52.0 %, 2.0 points better than m0, which is within their spread over seeds.",
        ),
        ((0.5, 0.54), {"AUC@5": 0.015}, "m1 has the best AUC@5, 54.0 %, 4.0 points better than m0."),
        ((0.5, 0.50001), {}, "m1 and m0 are level at AUC@5 50.0 %."),
        ((0.5,), {}, ""),
    ],
)
def test_the_finding(aucs, spread, finding):
    report = content(*(result(f"m{i}", auc5=auc, spread=spread) for i, auc in enumerate(aucs)))
    assert report.sections[0].finding == finding


def test_protocols_that_differ_have_no_winner():
    section = content(result("a", auc5=0.1), result("b", card=OPENCV), allow_mixed=True).sections[0]
    assert section.finding == ""
    assert section.kicker == "relative pose · 3 pairs · protocol cards A, B"
    assert section.notes


def test_sections_have_addresses_of_their_own():
    names = ("A b", "a/b", "a-b", "a-b-2", "é", "..")
    report = content(*(result("m", name) for name in names))
    slugs = [section.slug for section in report.sections]
    assert len(set(slugs)) == len(names)
    assert all(set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and slug for slug in slugs)


def test_which_pairs_were_used_is_said():
    report = content(result(card=replace(CARD, image_set="3 of 55 pairs")))
    assert "3 of 55 pairs · protocol card A" in report.sections[0].kicker


def test_values_are_explained_once():
    report = content(result("a", "x"), result("a", "y"))
    assert [name for name, _ in report.glossary] == ["AUC@t", "matches", "match time"]


def test_the_first_error_ranks_and_all_known_ones_are_plotted():
    records = tuple(
        replace(record(1), values={"dlt_error_px": 9.0 - i, "homography_error_px": float(i)}, name0=f"{i}")
        for i in range(3)
    )
    values = {"AUC@3": 0.5}
    section = content(result(benchmark="homography", values=values, records=records), worst_pairs=1).sections[0]
    assert [plot.chart.axis for plot in section.plots] == ["homography error [px]", "DLT error [px]"]
    assert [picture.record.name0 for picture in section.worst] == ["2"]
    assert section.worst_title == "The worst pair of m"


def test_a_benchmark_without_errors_has_no_plot_and_ranks_by_inliers():
    records = tuple(record(1, name0=f"{n}", num_inliers=n) for n in (3, 30))
    section = content(
        result(benchmark="overlap", values={"false_pairs@15": 0.5}, records=records), worst_pairs=1
    ).sections[0]
    assert section.plots == ()
    assert [picture.record.name0 for picture in section.worst] == ["30"]


def test_curves_of_one_of_several_seeds_say_so():
    titles = [content(result(card=replace(CARD, seeds=seeds))).sections[0].plots_title for seeds in (1, 5)]
    assert titles == ["Pairs below each error", "Pairs below each error, by the first seed"]
