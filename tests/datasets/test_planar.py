import numpy as np
import pytest

from photoglue.datasets.layouts import load_dataset
from photoglue.errors import ConfigError, ImageError


@pytest.fixture
def hpatches(tmp_path, make):
    for name in ("i_one", "v_two"):
        for k in (1, 2, 3):
            make.image(tmp_path / "hp" / name / f"{k}.ppm")
        for k in (2, 3):
            np.savetxt(tmp_path / "hp" / name / f"H_1_{k}", np.diag([1.0, 1.0, 1.0]) + k / 100)
    return tmp_path / "hp"


def test_hpatches(hpatches):
    dataset = load_dataset(hpatches)
    assert (dataset.name, dataset.benchmark, len(dataset.pairs)) == ("hp", "homography", 4)
    last = dataset.pairs[-1]
    assert (last.scene, last.name0, last.name1) == ("v_two", "v_two/1.ppm", "v_two/3.ppm")
    np.testing.assert_allclose(last.truth.image1_from_image0, np.eye(3) + 0.03)


def test_one_sequence(hpatches):
    dataset = load_dataset(hpatches / "v_two")
    assert [(pair.scene, pair.name1) for pair in dataset.pairs] == [("v_two", "2.ppm"), ("v_two", "3.ppm")]


def test_missing_image_and_damaged_homography(hpatches):
    (hpatches / "i_one" / "3.ppm").unlink()
    with pytest.raises(ImageError, match=r"no image '.*i_one/3\.ppm', which '.*H_1_3' names"):
        load_dataset(hpatches)
    (hpatches / "i_one" / "H_1_2").write_text("1 0 0 0 1 0")
    with pytest.raises(ConfigError, match="H_1_2' has 6 numbers; 9"):
        load_dataset(hpatches)
    (hpatches / "i_one" / "H_1_2").write_text("0 " * 9)
    with pytest.raises(ConfigError, match="cannot be inverted"):
        load_dataset(hpatches)


@pytest.fixture
def wxbs(tmp_path, make):
    for name in ("WGABS/kyiv", "WGLBS/berlin"):
        for stem in ("01", "02"):
            make.image(tmp_path / "wxbs" / name / f"{stem}.png")
        (tmp_path / "wxbs" / name / "corrs.txt").write_text("1 2 3 4\n5 6 7 8.5\n")
    return tmp_path / "wxbs"


def test_wxbs(wxbs):
    dataset = load_dataset(wxbs)
    assert dataset.benchmark == "correspondences"
    assert [pair.scene for pair in dataset.pairs] == ["WGABS/kyiv", "WGLBS/berlin"]
    truth = dataset.pairs[0].truth
    assert truth.points0.tolist() == [[1, 2], [5, 6]]
    assert truth.points1.tolist() == [[3, 4], [7, 8.5]]


@pytest.mark.parametrize(
    ("text", "said"), [("1 2 3", "has 3 numbers; 4"), ("1 2 99 4", r"points outside 'WGABS/kyiv/02\.png'"), ("", "0")]
)
def test_bad_marks(wxbs, text, said):
    (wxbs / "WGABS/kyiv/corrs.txt").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_dataset(wxbs)
