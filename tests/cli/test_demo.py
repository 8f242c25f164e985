"""`photoglue demo`: pictures, and the precision against the true disparity."""

import re

import pytest


@pytest.mark.slow
@pytest.mark.weights
def test_demo(cli, tmp_path):
    code, printed, err = cli("demo", "--out", tmp_path / "demo", "--max-keypoints", 1024)
    assert (code, err) == (0, "")
    precision = float(re.search(r"precision +([\d.]+)% within 1 px, ([\d.]+)% within 3 px", printed)[2])
    assert precision > 90
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["matches.png", "pruning.png"]


def test_disparity_errors():
    """Three matches at known places: right, two pixels off, and where the truth is unknown."""
    import torch

    from photoglue.cli.demo import disparity_errors, share_within
    from photoglue.structs import Matches

    disparity = torch.full((10, 20), 5.0)
    disparity[3, 12] = float("inf")
    matches = Matches(
        matches0=torch.arange(3), matches1=torch.arange(3),
        matching_scores0=torch.ones(3), matching_scores1=torch.ones(3),
        keypoints0=torch.tensor([[10.0, 2], [11.2, 4], [12, 3]]), keypoints1=torch.tensor([[5.0, 2], [6.2, 6], [0, 0]]),
    )  # fmt: skip
    errors, known = disparity_errors(matches, disparity)
    assert known.tolist() == [True, True, False]
    assert errors[:2].tolist() == pytest.approx([0, 2], abs=1e-5)
    assert share_within(errors[known], 1.0) == 0.5
    assert share_within(errors[:0], 1.0) == 0
