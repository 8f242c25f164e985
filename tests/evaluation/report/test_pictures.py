"""The worst pairs are found, and shown small."""

import io
import math

import numpy as np
import PIL.Image
import pytest
import torch
from report_cases import matched, photos, record, result

from photoglue.errors import ImageError
from photoglue.evaluation.benchmarks.table import BENCHMARKS
from photoglue.evaluation.report import pictures as report_pictures
from photoglue.evaluation.report.groups import groups_of
from photoglue.evaluation.report.pictures import MAX_BYTES, PictureSource, pair_jpeg, worst_pictures
from photoglue.viz.canvas import Canvas

PLAIN = PictureSource()
(POSE_ERROR,) = BENCHMARKS["relative_pose"].errors


def group_of(*results):
    return groups_of(results, allow_mixed=False)[0]


def opened(jpeg):
    return np.asarray(PIL.Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(float)


def test_the_worst_come_first_and_failures_with_few_matches_before_all():
    records = (
        record(3, name0="3"),
        record(math.inf, name0="many", num_matches=50),
        record(math.nan, name0="few", num_matches=2),
        record(90, name0="90"),
        record(0.1, name0="best"),
    )
    found = worst_pictures(group_of(result(records=records)), POSE_ERROR, 4, PLAIN)
    assert [picture.record.name0 for picture in found] == ["few", "many", "90", "3"]
    assert [picture.error for picture in found] == ["no pose", "no pose", "90.00°", "3.00°"]
    assert found[0].facts == ("2 matches", "60 inliers")


def test_those_of_the_best_method_with_the_errors_of_the_others():
    good = result("good", auc5=0.9, records=(record(4),))
    bad = result("bad", auc5=0.1, records=(record(8), record(1, name0="else.png")))
    (picture,) = worst_pictures(group_of(bad, good), POSE_ERROR, 10, PLAIN)
    assert (picture.error, picture.others) == ("4.00°", (("bad", 0, "8.00°"),))


def test_where_all_matches_are_wrong_most_inliers_are_worst():
    values = {"false_pairs@15": 0.1}
    records = tuple(record(1, name0=f"{n}", num_inliers=n) for n in (3, 30, 7))
    group = group_of(result(benchmark="overlap", values=values, records=records))
    found = worst_pictures(group, group.benchmark.ranked_by, 2, PLAIN)
    assert [(picture.error, picture.facts) for picture in found] == [
        ("30 inliers", ("120 matches",)), ("7 inliers", ("120 matches",)),
    ]  # fmt: skip


def test_both_photos_at_one_height(tmp_path):
    PIL.Image.new("RGB", (2000, 1000), (255, 0, 0)).save(tmp_path / "a.png")
    PIL.Image.new("L", (500, 1000), 255).save(tmp_path / "b.png")
    jpeg, lines = pair_jpeg(result(images=str(tmp_path)), record(1), PLAIN)
    pixels = opened(jpeg)
    height, width = pixels.shape[:2]
    # Aspects 2 and ½ share 960 - 6 pixels: 381.6 high, 763 and 191 wide.
    assert (width, height) == (763 + 6 + 191, 382)
    assert np.abs(pixels[20:-20, 20:740] - [255, 0, 0]).max() < 8
    assert np.abs(pixels[20:-20, 790:-20] - 255).max() < 8
    assert lines == ""


def test_small_photos_are_not_enlarged(tmp_path):
    photos(tmp_path, size=(90, 60))
    assert opened(pair_jpeg(result(images=str(tmp_path)), record(1), PLAIN)[0]).shape == (60, 90 + 6 + 90, 3)


@pytest.mark.slow
def test_a_picture_is_never_large(tmp_path):
    """Noise, which JPEG cannot compress."""
    photos(tmp_path, size=(1200, 900))
    jpeg, _ = pair_jpeg(result(images=str(tmp_path)), record(1), PLAIN)
    assert 10_000 < len(jpeg) <= MAX_BYTES


def test_very_long_photos(tmp_path):
    photos(tmp_path, size=(3000, 2))
    assert opened(pair_jpeg(result(images=str(tmp_path)), record(1), PLAIN)[0]).shape[1] <= 962


def test_a_photo_that_is_not_there(tmp_path):
    with pytest.raises(ImageError, match=r"no file .*a\.png"):
        pair_jpeg(result(images=str(tmp_path)), record(1), PLAIN)
    (picture,) = worst_pictures(group_of(result(images=str(tmp_path), records=(record(1),))), POSE_ERROR, 1, PLAIN)
    assert picture.jpeg is None
    assert "a.png" in picture.problem


@pytest.fixture
def gray(tmp_path):
    for name in ("a.png", "b.png"):
        PIL.Image.new("L", (300, 200), 40).save(tmp_path / name)
    return result(images=str(tmp_path))


POINTS = torch.tensor([[30.0, 50.0], [30.0, 150.0]])


@pytest.mark.parametrize("correct", [[True, True], [False, True], None])
def test_matches_are_drawn_in_the_colour_of_their_truth(gray, correct):
    source = PictureSource(
        matches_of=lambda *_: matched(POINTS, POINTS),
        correct_of=lambda *_: None if correct is None else torch.tensor(correct),
    )
    jpeg, lines = pair_jpeg(gray, record(1), source)
    pixels = opened(jpeg)
    assert pixels.shape[1] <= 960
    # From (30, 50) in one photo to (30, 50) in the other: a level line at a quarter of the height.
    rows = [round(pixels.shape[0] * share) + np.arange(-4, 5) for share in (0.2525, 0.7525)]
    upper, lower = (pixels[row, 300] for row in rows)
    blue = [(band[:, 2] - band[:, 0]).max() for band in (upper, lower)]
    if correct is None:
        assert "brighter" in lines
        assert min(np.ptp(band, axis=-1).max() for band in (upper, lower)) > 60  # coloured
    else:
        assert [value > 40 for value in blue] == correct
        assert "blue" in lines


def test_no_matches_of_this_pair_are_no_lines(gray):
    none = PictureSource(matches_of=lambda *_: None)
    empty = PictureSource(matches_of=lambda *_: matched(POINTS[:0], POINTS[:0]))
    assert pair_jpeg(gray, record(1), none)[1] == ""
    assert np.ptp(opened(pair_jpeg(gray, record(1), empty)[0])[50:100, 50:100]) < 5


def test_of_many_matches_few_are_drawn(gray, monkeypatch):
    drawn = []
    monkeypatch.setattr(Canvas, "lines", lambda self, starts, *_, **__: drawn.append(len(starts)))
    points = torch.rand(1000, 2) * 190
    pair_jpeg(gray, record(1), PictureSource(matches_of=lambda *_: matched(points, points)))
    assert drawn == [report_pictures.MAX_LINES]
