"""Small pictures of matches, and their size in bytes."""

import io

import numpy as np
import PIL.Image
import pytest
import torch

from photoglue.viz.small import compressed, matched_picture

pytest.importorskip("matplotlib", exc_type=ImportError)


def test_lines_end_where_the_points_are():
    """A line between the middles of two white photos, in red; nothing at their corners."""
    photos = [torch.ones(3, 60, 80), torch.ones(3, 60, 80)]
    middle = torch.tensor([[39.5, 29.5]])
    picture = matched_picture(photos, (middle, middle, "#ff0000"), size=(400, 200))
    assert picture.size[0] <= 400 and picture.size[1] <= 200
    pixels = np.asarray(picture).astype(int)
    height, width = pixels.shape[:2]
    red = pixels[..., 0] - pixels[..., 1] > 100
    rows, columns = np.nonzero(red)
    assert abs(rows.mean() - height / 2) < 1.5
    assert columns.min() / width == pytest.approx(0.25, abs=0.02)
    assert columns.max() / width == pytest.approx(0.75, abs=0.02)


def test_no_lines_at_all():
    none = torch.zeros(0, 2)
    assert matched_picture([torch.ones(1, 20, 20)] * 2, (none, none, "#ff0000"), size=(90, 60)).size[0] <= 90


@pytest.mark.parametrize("limit", [30_000, 3_000, 1])
def test_jpegs_are_never_larger(limit):
    """Noise, which JPEG cannot compress; one pixel is the least there is."""
    noise = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8))
    jpeg = compressed(noise, limit)
    assert len(jpeg) <= limit or PIL.Image.open(io.BytesIO(jpeg)).size == (1, 1)
