"""Photos are spoilt, and the finding is read."""

import PIL.Image
import PIL.ImageFilter
import PIL.ImageOps
import pytest
import torch
from doctor_cases import SIZE, made_case, seen


@pytest.mark.slow
@pytest.mark.weights
def test_dark_photo(small_pair, first_finding):
    finding = first_finding(small_pair[0], small_pair[1].point(lambda value: int(0.04 * value)))
    assert finding.cause == "few points"
    assert finding.evidence["strength_stretched"] > 100 > finding.evidence["strength"]
    assert "ImageOps.autocontrast" in finding.command


@pytest.mark.slow
@pytest.mark.weights
def test_blurred_photo(small_pair, first_finding):
    finding = first_finding(small_pair[0], small_pair[1].filter(PIL.ImageFilter.GaussianBlur(8)))
    assert finding.cause == "few points"
    assert "is blurred or plain" in finding.seen


@pytest.mark.slow
@pytest.mark.weights
def test_plain_photos(first_finding):
    plain = PIL.Image.new("RGB", (64, 48), (120, 130, 140))
    assert "is blurred or plain" in first_finding(plain, plain, resize=64).seen


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize(
    ("repaint", "what"),
    [(PIL.ImageOps.invert, "negative"), (lambda photo: PIL.Image.merge("RGB", photo.split()[::-1]), "BGR")],
)
def test_colors(small_pair, first_finding, repaint, what):
    finding = first_finding(small_pair[0], repaint(small_pair[1]))
    assert finding.cause == "colors"
    assert finding.evidence["what"] == what


@pytest.mark.slow
@pytest.mark.weights
def test_commands_repair(small_pair, first_finding, tmp_path, monkeypatch):
    import shlex
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["python"])
    wrong = PIL.Image.merge("RGB", small_pair[1].split()[::-1])
    wrong.save("it's b.png")
    words = shlex.split(first_finding(small_pair[0], "it's b.png").command)
    assert words[:2] == ["python", "-c"]
    exec(words[2], {})
    with PIL.Image.open("repaired.png") as repaired:
        assert repaired.tobytes() == small_pair[1].tobytes()


def test_colors_of_matched_points():
    """Without any network: what is at the matched points decides, and gray photos say nothing."""
    from photoglue.doctor.photos import colors

    points0, points1 = seen()
    images = [torch.rand(3, SIZE[1], SIZE[0]) for _ in range(2)]
    columns, rows = torch.from_numpy(points1).round().long().T
    x, y = torch.from_numpy(points0).round().long().T
    inside = (y >= 0) & (y < SIZE[1]) & (x >= 0) & (x < SIZE[0]) & (columns >= 0) & (columns < SIZE[0])
    inside &= (rows >= 0) & (rows < SIZE[1])
    points = points0[inside], points1[inside]
    values = images[0][:, y[inside], x[inside]]
    for order, what in (((0, 1, 2), None), ((2, 1, 0), "BGR")):
        images[1][:, rows[inside], columns[inside]] = values[list(order)]
        finding = colors(made_case(*points, images=images))
        assert (finding and finding.evidence["what"]) == what
    images[1][:, rows[inside], columns[inside]] = 1 - values
    assert colors(made_case(*points, images=images)).evidence["what"] == "negative"
    gray = [image.mean(dim=0, keepdim=True) for image in images]
    gray[1][:, rows[inside], columns[inside]] = gray[0][:, y[inside], x[inside]]
    assert colors(made_case(*points, images=gray)) is None


def test_too_large():
    from photoglue.doctor.photos import too_large

    finding = too_large(made_case(*seen(), resize=200))
    assert finding.cause == "too large"
    assert "640 pixels long and seen at 200: 3.2 of them become one" in finding.seen
    assert too_large(made_case(*seen(), resize=300)) is None
    assert too_large(made_case(*seen(), resize=None)) is None


def test_all_points_in_one_place():
    from photoglue.doctor.photos import few_points, is_sparse

    points = torch.rand(300, 2) * 60
    case = made_case(points, points, 10, probability=0.2)
    assert is_sparse(case)
    assert "100% of the points of 'a.jpg' lie in a tenth" in few_points(case).seen
    spread = torch.rand(300, 2) * torch.tensor(SIZE)
    assert not is_sparse(made_case(spread, spread, 10, probability=0.2))


def test_measures():
    from photoglue.doctor.photos import correlation, crowding, laplacian_variance

    sharp = torch.rand(1, 30, 30)
    assert laplacian_variance(sharp) > 1000
    assert laplacian_variance(torch.full((3, 30, 30), 0.5)) == 0
    assert laplacian_variance(torch.rand(3, 2, 9)) == 0
    ramp = torch.linspace(0, 1, 10)
    assert correlation(ramp, 1 - ramp) == pytest.approx(-1)
    assert correlation(ramp, torch.full((10,), 0.5)) == 0
    assert crowding(torch.zeros(0, 2), SIZE) == 0
