import shutil
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from photoglue.datasets.layouts import load_dataset
from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning
from photoglue.evaluation.jobs import Settings
from photoglue.evaluation.run import measure


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
def released(planes, tmp_path):
    """The two sequences of ``planes`` as Oxford-affine was released, and their first pairs as EVD was."""
    for sequence in sorted(planes.iterdir()):
        oxford = tmp_path / "oxford" / "planes" / sequence.name
        oxford.mkdir(parents=True)
        evd = tmp_path / "evd" / "planes"
        for number in (1, 2, 3):
            with PIL.Image.open(sequence / f"{number}.png") as image:
                image.save(oxford / f"img{number}.ppm")
        for number in (2, 3):
            shutil.copy(sequence / f"H_1_{number}", oxford / f"H1to{number}p")
        for source, place in (("1.png", "1/{}.png"), ("2.png", "2/{}.png"), ("H_1_2", "h/{}.txt")):
            target = evd / place.format(sequence.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(sequence / source, target)
    return tmp_path


@pytest.mark.slow
def test_oxford_affine_and_evd_as_released_are_the_same_data(planes, released, tmp_path):
    ours = load_dataset(planes)
    oxford, evd = (load_dataset(released / name / "planes") for name in ("oxford", "evd"))
    assert ours.name == oxford.name == evd.name
    assert ours.benchmark == oxford.benchmark == evd.benchmark
    assert [(pair.scene, pair.name1) for pair in oxford.pairs][:2] == [("v_0", "v_0/img2.ppm"), ("v_0", "v_0/img3.ppm")]
    assert [(pair.scene, pair.name0) for pair in evd.pairs] == [("v_0", "1/v_0.png"), ("v_1", "1/v_1.png")]
    for other, pairs in ((oxford, ours.pairs), (evd, ours.pairs[::2])):
        for mine, theirs in zip(pairs, other.pairs, strict=True):
            assert (mine.truth.image1_from_image0 == theirs.truth.image1_from_image0).all()
    ours_first = replace(ours, pairs=ours.pairs[::2])
    settings = Settings(workers=0, device="cpu")
    values = [
        measure([dataset], ["sift+nn"], tmp_path / f"out{number}", settings)[0].values
        for number, dataset in enumerate((ours, oxford, ours_first, evd))
    ]
    for mine, theirs in (values[:2], values[2:]):
        assert {**mine, "match_s": 0} == {**theirs, "match_s": 0}
        assert mine["AUC@3"] > 0.5


def test_evd_in_a_folder_of_data_sets_and_without_an_image(released):
    assert {pair.scene for pair in load_dataset(released / "evd").pairs} == {"planes/v_0", "planes/v_1"}
    (released / "evd" / "planes" / "2" / "v_1.png").unlink()
    with pytest.raises(ImageError, match=r"no image '.*/2/v_1\.png', which '.*/h/v_1\.txt' names"):
        load_dataset(released / "evd")


def test_the_two_images_of_evd_are_of_one_scene(released):
    """Pairs of different places are no pairs of its folders 1 and 2."""
    dataset = load_dataset(released / "evd", "overlap")
    assert {pair.scene for pair in dataset.pairs} == {"planes/v_0 | planes/v_1"}


def test_pairs_of_a_missing_image_are_left_out_if_that_is_wanted(hpatches):
    (hpatches / "i_one" / "3.ppm").unlink()
    with pytest.warns(PhotoGlueWarning, match=r"1 of 4 pairs .*i_one/3\.ppm'"):
        dataset = load_dataset(hpatches, skip_missing=True)
    assert [pair.name1 for pair in dataset.pairs] == ["i_one/2.ppm", "v_two/2.ppm", "v_two/3.ppm"]


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


def test_a_marked_pair_without_an_image_is_left_out_if_that_is_wanted(wxbs):
    (wxbs / "WGABS/kyiv" / "02.png").unlink()
    with pytest.raises(ImageError, match="--skip-missing"):
        load_dataset(wxbs)
    with pytest.warns(PhotoGlueWarning, match="1 of 2 pairs"):
        assert [pair.scene for pair in load_dataset(wxbs, skip_missing=True).pairs] == ["WGLBS/berlin"]
