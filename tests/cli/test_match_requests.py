"""`photoglue match`: a request that can do nothing stops, or the answer says so."""

import json
import os
import sys

import numpy as np
import PIL.Image
import pytest

pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)

SIFT = ("--features", "sift", "--matcher", "nearest", "--max-keypoints", 200, "--resize", "None")
OWN = """
import torch
from photoglue import Extractor, ExtractorConfig, Features

class Grid(Extractor):
    kind, descriptor_dim = "grid", 2

    def __init__(self):
        super().__init__(ExtractorConfig())

    def detect(self, images, masks=None):
        points = torch.rand(self.config.max_keypoints, 2) * 8
        size = (images.shape[3], images.shape[2])
        return [
            Features(keypoints=points, descriptors=points, scores=points[:, 0], image_size=size, kind=self.kind)
            for _ in images
        ]
"""


@pytest.fixture
def photos(motorcycle, tmp_path, monkeypatch):
    """a.png and b.png, a third of the demo's, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, path in zip("ab", motorcycle, strict=True):
        with PIL.Image.open(path) as picture:
            picture.reduce(3).save(f"{name}.png")
    return tmp_path


def gray(path, value, size=(247, 167)):
    PIL.Image.new("L", size, value).save(path)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--intrinsics", "1,2,3,4"], "--intrinsics are for --verify essential"),
        (["--intrinsics", "1,2,3,4", "--verify", "fundamental"], "--intrinsics are for --verify essential"),
        (["--verify", "essential"], "needs --intrinsics"),
        (["--threshold", 2], "--threshold is that of --verify"),
        (["--matcher", "nearest", "--weights", "own.safetensors"], "--matcher nearest has no use for --weights"),
        (["--matcher", "nearest", "--preset", "realtime"], "--matcher nearest has no use for --preset"),
        (["--matcher", "nearest", "--plot-pruning", "p.png"], "--matcher nearest has no use for --plot-pruning"),
        (["--preset", "accurate", "--plot-pruning", "p.png"], "--preset accurate drops none"),
        (["--plot", "a.png"], "--plot and a photo are one file, 'a.png'"),
        (["--plot", "./b.png"], "--plot and the other photo are one file"),
        (["--plot", "p.png", "--plot-pruning", "p.png"], "--plot-pruning and --plot are one file"),
        (["--mask0", "black.png"], "The mask 'black.png' is black everywhere"),
        (["--mask1", "absent.png"], "There is no file 'absent.png'"),
        (["--mask0", "small.png", *SIFT], "The mask 'small.png' has 24 × 16 pixels, its photo 'a.png' 247 × 167"),
        (["--out", f"{'x' * 300}.json"], "is too long for the name of a file"),
        (["--features", "own.py:Grid"], "There is no file 'own.py'"),
    ],
)
def test_requests_that_would_do_nothing(cli, photos, options, message):
    gray("black.png", 0)
    gray("small.png", 255, (24, 16))
    code, printed, err = cli("match", "a.png", "b.png", *options)
    assert (code, printed) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert sorted(path.name for path in photos.iterdir()) == ["a.png", "b.png", "black.png", "small.png"]


def test_folders_and_other_numbers_of_photos(cli, photos):
    for given, what in (
        ((photos, "b.png"), "is a folder"),
        ((photos,), "is a folder"),
        (("a.png", "b.png", "c.png"), "There are 3 photos"),
        (("a.png",), "There is one photo"),
        ((), "There are no photos"),
    ):
        code, _, err = cli("match", *given)
        assert code == 2
        assert f"{what}: the matches of many photos go into a file, --store matches.h5" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pairs", "p.txt", "--jobs", "2"], "--pairs and --jobs cannot be used for two photos; that is for many"),
        (["--masks", "m"], "--masks cannot be used for two photos"),
        (["--store", "m.h5", "--out", "m.json"], "--out cannot be used for many photos (--store); that is for two"),
        (["--store", "m.h5", "--verify", "fundamental"], "--verify cannot be used for many photos"),
        (["--store", "m.h5", "--intrinsics", "1,1,0,0"], "--intrinsics cannot be used for many photos"),
    ],
)
def test_options_for_two_and_for_many_photos(cli, photos, options, message):
    code, _, err = cli("match", "a.png", "b.png", *options)
    assert code == 1
    assert message in err
    assert sorted(path.name for path in photos.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("name", ["-dash.png", "--dash.png", "-dash"])
def test_names_that_look_like_options(cli, photos, name):
    (photos / "a.png").rename(name)
    code, _, err = cli("match", name, "b.png")
    assert code == 2
    assert f"{name!r} is taken for an option; if it is a file, write it as './{name}'" in err
    assert cli("match", f"./{name}", "b.png", *SIFT)[0] == 0


@pytest.mark.parametrize("name", ["o [x].json", "[bold]:smile:.json", "a" * 220 + ".json"])
def test_names_are_printed_whole(cli, photos, name):
    code, printed, _ = cli("match", "a.png", "b.png", "--out", name, *SIFT)
    assert code == 0
    assert printed.splitlines()[-1] == f"matches     → {name}"
    code, _, err = cli("match", "a.png", f"{name}.absent")
    assert code == 1
    assert f"There is no file '{name}.absent'" in err or "File name too long" in err


def test_names_that_are_not_utf8(cli, photos):
    name = os.fsdecode(b"m\xff.json")
    code, printed, _ = cli("match", "a.png", "b.png", "--out", name, *SIFT)
    assert code == 0
    assert (photos / name).exists()
    assert "\\udcff.json" in printed


def test_a_mask_that_takes_nothing_away(cli, photos):
    with PIL.Image.open("a.png") as picture:
        gray("white.png", 255, picture.size)
    code, printed, _ = cli("match", "a.png", "b.png", "--mask0", "white.png", *SIFT)
    assert code == 0
    assert "note        the mask 'white.png' is white everywhere: it takes no point away" in printed


@pytest.mark.parametrize("orientation", [3, 6])
def test_masks_in_stored_pixels_turn_with_their_photo(cli, photos, orientation):
    """Only the upper half of the stored pixels is wanted; what is written is upright."""
    exif = PIL.Image.Exif()
    exif[0x112] = orientation
    with PIL.Image.open("a.png") as picture:
        picture.convert("RGB").save("turned.jpg", exif=exif, quality=95)
        width, height = picture.size
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2] = 255
    PIL.Image.fromarray(mask).save("mask.png")
    code, _, err = cli("match", "turned.jpg", "turned.jpg", "--mask0", "mask.png", "--out", "m.json", *SIFT)
    assert code == 0, err
    found = json.loads((photos / "m.json").read_text())
    x, y = np.array(found["points0"]).T
    assert len(x) > 30
    if orientation == 3:  # upside down: the upper half is the lower one
        assert y.min() > height / 2 - 2
    else:  # stored rows from above are columns from the right
        assert x.min() > height / 2 - 2
    assert found["frame"] == "upright"
    sides = {"width": width, "height": height} if orientation == 3 else {"width": height, "height": width}
    for image in found["images"]:
        assert image["exif_orientation"] == orientation
        assert {name: image[name] for name in sides} == sides


@pytest.mark.slow
def test_transparent_parts_have_no_points_unless_asked_for(cli, photos):
    with PIL.Image.open("a.png") as picture:
        alpha = PIL.Image.new("L", picture.size, 255)
        alpha.paste(0, (0, 0, picture.width // 2, picture.height))
        clear = picture.convert("RGB")
        clear.putalpha(alpha)
        clear.save("clear.png")
    lowest = []
    for options in ([], ["--ignore-alpha"]):
        assert cli("match", "clear.png", "clear.png", "--out", "m.json", *SIFT, *options)[0] == 0
        lowest.append(np.array(json.loads((photos / "m.json").read_text())["points0"])[:, 0].min())
    assert lowest[0] > picture.width // 2 - 2
    assert lowest[1] < picture.width // 4


def test_few_points_name_the_range_of_the_values(cli, photos):
    """A photo of 0.10 to 0.12 of white has none, and what is in it can be judged by that."""
    rng = np.random.default_rng(0)
    PIL.Image.fromarray(rng.integers(26, 32, (100, 120)).astype(np.uint8)).save("dark.png")
    code, printed, _ = cli("match", "dark.png", "a.png", *SIFT)
    assert code == 0
    assert "no points in 'dark.png': its values go from 0.10 to 0.12 of white; is it plain, dark or blurred?" in printed
    assert "'a.png'" not in printed
    PIL.Image.fromarray(np.arange(200, dtype=np.uint8)[:, None]).save("column.png")
    code, printed, _ = cli("match", "column.png", "a.png", *SIFT)
    assert code == 0
    assert "'column.png': it has 1 × 200 pixels, which is too little to be seen" in printed


@pytest.mark.slow
def test_features_of_ones_own(cli, photos, monkeypatch):
    from photoglue import NearestNeighbor, Pipeline

    monkeypatch.setattr(sys, "path", [*sys.path])
    (photos / "grid_features.py").write_text(OWN)
    own = ("--features", "grid_features.py:Grid", "--max-keypoints", 60)
    code, printed, err = cli("match", "a.png", "b.png", "--matcher", "nearest", *own)
    assert code == 0, err
    assert "keypoints   60 and 60 (grid)" in printed
    code, printed, err = cli("extract", "a.png", "b.png", "--store", "s.h5", *own)
    assert code == 0, err
    assert printed.startswith("2 photos, 120 points")
    (photos / "grid_features.py").write_text(OWN + "# changed\n")
    code, _, err = cli("extract", "a.png", "b.png", "--store", "s.h5", *own)
    assert code == 1
    assert "made with other options (source: " in err
    pipeline = Pipeline.pretrained("grid_features.py:Grid", matcher=NearestNeighbor(), max_keypoints=7)
    assert len(pipeline.match("a.png", "b.png").keypoints0) == 7
    code, _, err = cli("match", "a.png", "b.png", *own)
    assert code == 1
    assert "no released LightGlue for 'grid'" in err


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--preset realtime", (2048, 1024)),
        ("--preset edge", (512, 640)),
        ("--preset best", (4096, 1600)),
        ("--preset=edge --max-keypoints 700", (700, 640)),
        ("--max_keypoints=700 --preset edge --resize None", (700, None)),
    ],
)
@pytest.mark.parametrize("command", ["match a.jpg b.jpg", "match-pairs photos --features-store f.h5 --store m.h5"])
def test_a_preset_brings_its_extraction_along(command, words, wanted):
    from photoglue.cli.app import parse

    parsed = parse(f"{command} {words}".split())
    assert (parsed.max_keypoints, parsed.resize) == wanted


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("", (None, None)),
        ("--preset best", ("subpixel", "disk,crop")),
        ("--preset best --also None", ("subpixel", None)),
        ("--preset best --features sift", ("subpixel", None)),
        ("--preset best --refine None --also sift", (None, "sift")),
        ("--preset best --also disk,sift", ("subpixel", "disk,sift")),
        ("--preset best --store m.h5", (None, None)),
    ],
)
def test_two_photos_are_refined_and_matched_by_other_features_too(words, wanted):
    from photoglue.cli.app import parse

    parsed = parse(f"match a.jpg b.jpg {words}".split())
    assert (parsed.refine, parsed.also) == wanted
