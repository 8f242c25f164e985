import numpy as np
import PIL.Image
import pytest
import torch

from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.look_alikes import cut, write_look_alikes
from photoglue.errors import ConfigError, ImageError
from photoglue.geometry.homography import warp_points


@pytest.fixture
def photos(tmp_path):
    rows = np.random.default_rng(0).integers(0, 255, (2, 40, 120, 3), dtype=np.uint8)
    for name, pixels in zip(("a.png", "b.jpg"), rows, strict=True):
        PIL.Image.fromarray(pixels).save(tmp_path / name)
    return [tmp_path / "a.png", tmp_path / "b.jpg"]


def test_halves_share_nothing_and_wider_parts_what_they_should():
    x = torch.arange(200.0).expand(1, 60, 200) / 200  # each column has a value of its own
    for shared in (0.0, 0.2, 0.4):
        left, right, homography = cut(x, shared, seed=3)
        assert left.shape == right.shape == (1, 60, int(200 / (2 - shared)))
        assert left.shape[2] * shared == pytest.approx(2 * left.shape[2] - 200, abs=1.5)
        points = torch.tensor([[10.0, 20.0], [30.0, 40.0], [60.0, 30.0]])
        seen = right[0, points[:, 1].long(), points[:, 0].long()] * 200
        torch.testing.assert_close(warp_points(points, homography)[:, 0].float(), seen, atol=0.6, rtol=0)
    assert not torch.equal(cut(x, 0.2, seed=1)[1], cut(x, 0.2, seed=2)[1])


def test_written_and_read_again(photos, tmp_path):
    write_look_alikes(photos, tmp_path / "parts", shares=(0.0, 0.4))
    dataset = load_dataset(tmp_path / "parts")
    assert (dataset.benchmark, len(dataset.pairs)) == ("look_alikes", 4)
    assert [pair.truth.share for pair in dataset.pairs] == [0.0, 0.4, 0.0, 0.4]
    assert {pair.scene for pair in dataset.pairs} == {"0 % shared", "40 % shared"}
    assert dataset.sizes["a.40.left.png"] == dataset.sizes["a.40.right.png"] == (75, 40)
    (tmp_path / "parts" / "a.40.left.png").unlink()
    with pytest.raises(ImageError, match=r"no image '.*a\.40\.left\.png'"):
        load_dataset(tmp_path / "parts")


@pytest.mark.parametrize(
    ("names", "shares", "said"),
    [
        ([], (0.0,), "There are 0 photos"),
        (["a.png", "c/a.png"], (0.0,), "2 photos with 1 names"),
        (["a.png"], (1.0,), "shares from 0 to below 1"),
        (["thin.png"], (0.0,), "20 × 40 pixels, too few to be cut"),
    ],
)
def test_what_cannot_be_cut(photos, tmp_path, names, shares, said):
    PIL.Image.new("RGB", (20, 40)).save(tmp_path / "thin.png")
    with pytest.raises(ConfigError, match=said):
        write_look_alikes([tmp_path / name for name in names], tmp_path / "parts", shares)
    assert not (tmp_path / "parts" / "look_alikes.json").exists()


def test_a_gray_photo_stays_gray(tmp_path):
    PIL.Image.new("L", (80, 40), 90).save(tmp_path / "gray.png")
    write_look_alikes([tmp_path / "gray.png"], tmp_path / "parts", shares=(0.0,))
    with PIL.Image.open(tmp_path / "parts" / "gray.0.right.png") as part:
        assert part.mode == "L"
