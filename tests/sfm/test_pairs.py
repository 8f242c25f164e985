"""Which pairs are found, by each rule."""

import json
from itertools import combinations

import numpy as np
import PIL.Image
import pytest
import torch

from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning
from photoglue.sfm import PairOptions, find_pairs, pairs
from photoglue.sfm.pairs import RULES, is_numbered


def files(folder, names, **exif):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_all_and_auto_of_few(tmp_path):
    files(tmp_path, ["img10.jpg", "img2.jpg", "img1.jpg"])
    wanted = [("img1.jpg", "img2.jpg"), ("img1.jpg", "img10.jpg"), ("img2.jpg", "img10.jpg")]
    assert find_pairs(tmp_path, by="all") == find_pairs(tmp_path) == wanted
    assert find_pairs({name: tmp_path / name for name in ("x", "y")}, by="all") == [("x", "y")]


def test_a_sequence_folder_by_folder(tmp_path):
    files(tmp_path, [f"{folder}/{i}.jpg" for folder in ("a", "b") for i in range(12)])
    found = find_pairs(tmp_path, by="sequence", options=PairOptions(overlap=1))
    steps = {(int(n1[2:-4]) - int(n0[2:-4]), n0[0] == n1[0]) for n0, n1 in found}
    assert steps == {(1, True), (2, True), (4, True), (8, True)}
    assert len(found) == 2 * (11 + 10 + 8 + 4)
    assert len(set(found)) == len(found)


def test_union_of_rules(tmp_path):
    files(tmp_path, [f"{i}.jpg" for i in range(6)])
    assert find_pairs(tmp_path, by=["sequence", "all", "all"]) == find_pairs(tmp_path, by="all")


@pytest.mark.parametrize(
    ("names", "numbered"),
    [
        (["f1.jpg", "f2.jpg", "f10.jpg"], True),
        (["a/f1.jpg", "b/g7.jpg", "b/g8.jpg"], True),
        (["rose.jpg", "tulip.jpg", "lily.jpg"], False),
        (["1_a.jpg", "2_b.jpg", "3_c.jpg"], False),
        (["f1.jpg"], False),
    ],
)
def test_numbered_names(names, numbered):
    assert is_numbered(names) is numbered


def gps_photo(path, latitude, longitude):
    exif = PIL.Image.Exif()
    for tag, ref, value in ((2, "NS", latitude), (4, "EW", longitude)):
        exif.get_ifd(0x8825)[tag - 1] = ref[value < 0]
        degrees = int(abs(value))
        exif.get_ifd(0x8825)[tag] = (degrees, 0, (abs(value) - degrees) * 3600)
    PIL.Image.new("RGB", (8, 8)).save(path, exif=exif)


def test_gps(tmp_path):
    """A row of photos, 11 m from one to the next, across the date line."""
    for i in range(5):
        gps_photo(tmp_path / f"{i}.jpg", 1e-4 * i, 179.9999 if i < 2 else -179.9999)
    found = find_pairs(tmp_path, by="gps", options=PairOptions(neighbors=1))
    assert set(found) == {("0.jpg", "1.jpg"), ("2.jpg", "3.jpg"), ("3.jpg", "4.jpg")}
    near = find_pairs(tmp_path, by="gps", options=PairOptions(max_distance_m=26.0))
    assert ("1.jpg", "2.jpg") in near
    assert ("0.jpg", "3.jpg") not in near
    files(tmp_path, ["broken.jpg"])
    with pytest.warns(PhotoGlueWarning, match=r"1 of 6 photos are without a position in their EXIF data: broken\.jpg"):
        assert find_pairs(tmp_path, by="gps", options=PairOptions(neighbors=1)) == found


def test_without_gps(tmp_path):
    for i in range(3):
        PIL.Image.new("RGB", (8, 8)).save(tmp_path / f"{i}.jpg")
    with pytest.raises(ConfigError, match="0 of 3 photos have a position in their EXIF data; a pair needs two"):
        find_pairs(tmp_path, by="gps")


def test_poses(tmp_path):
    """Cameras on a line; the last one looks back."""
    files(tmp_path, [f"{i}.jpg" for i in range(5)])
    poses = {}
    for i in range(5):
        pose = np.diag([-1.0, 1, -1, 1]) if i == 4 else np.eye(4)
        pose[:3, 3] = -pose[:3, :3] @ [i, 0, 0]
        poses[str(i)] = {"T_w2c": pose.tolist()}
    (tmp_path / "cameras.json").write_text(json.dumps({"frames": poses}))
    found = find_pairs(tmp_path, by="poses", model=tmp_path, options=PairOptions(neighbors=1))
    assert found == [("0.jpg", "1.jpg"), ("1.jpg", "2.jpg"), ("2.jpg", "3.jpg")]
    every = find_pairs(tmp_path, by="poses", model=tmp_path, options=PairOptions(max_angle_deg=180.0))
    assert len(every) == 10


@pytest.mark.slow
def test_retrieval(two_things, sift_features):
    found = find_pairs(two_things, by="retrieval", features=sift_features, options=PairOptions(neighbors=2))
    assert found == [*combinations(["a0.png", "a1.png", "a2.png"], 2), *combinations(["b0.png", "b1.png", "b2.png"], 2)]


@pytest.mark.slow
def test_auto_of_many(two_things, sift_features, monkeypatch):
    monkeypatch.setattr(pairs, "ALL_PAIRS", 5)
    options = PairOptions(neighbors=1, overlap=2)
    found = find_pairs(two_things, features=sift_features, options=options)
    assert set(find_pairs(two_things, by="retrieval", features=sift_features, options=options)) == set(found)
    numbered = {f"photo_{name}": path for name, path in ((f"{i}.png", two_things / f"a{i % 3}.png") for i in range(6))}
    with pytest.raises(ConfigError, match="has no features of any of the 6 photos"):
        find_pairs(numbered, features=sift_features, options=options)


@pytest.mark.slow
def test_photos_without_features_are_said(two_things, sift_features):
    photos = {path.name: path for path in sorted(two_things.iterdir())} | {"new.png": two_things / "a0.png"}
    with pytest.warns(PhotoGlueWarning, match=r"1 of 7 photos are without local features: new\.png"):
        find_pairs(photos, by="retrieval", features=sift_features)


@pytest.mark.weights
def test_descriptors_of_another_program(tmp_path):
    h5py = pytest.importorskip("h5py", exc_type=ImportError)
    names = [f"{i}.jpg" for i in range(5)]
    files(tmp_path / "photos", names)
    angles = dict(zip(names, (0.0, 0.1, 0.3, 2.0, 2.1), strict=True))
    with h5py.File(tmp_path / "netvlad.h5", "w") as file:
        for name, angle in angles.items():
            if name != "4.jpg":
                file[f"db/{name}/global_descriptor"] = np.float16([3 * np.cos(angle), 3 * np.sin(angle)])
        file["db/of another place.jpg/global_descriptor"] = np.float16([1, 0])
    given = {"by": "retrieval", "descriptors": tmp_path / "netvlad.h5", "options": PairOptions(neighbors=1)}
    with pytest.warns(PhotoGlueWarning, match="1 of 5 photos are without a vector in .*netvlad.h5': 4.jpg"):
        found = find_pairs(tmp_path / "photos", **given)
    assert found == [("0.jpg", "1.jpg"), ("1.jpg", "2.jpg"), ("2.jpg", "3.jpg")]
    files(tmp_path / "others", ["x.jpg", "y.jpg"])
    with pytest.raises(ConfigError, match=r"0 of 2 photos have a vector in .* file of these photos"):
        find_pairs(tmp_path / "others", **given)


@pytest.mark.slow
def test_retrieval_with_nothing_prepared(two_things):
    found = find_pairs(two_things, by="retrieval", options=PairOptions(neighbors=2))
    assert ("a0.png", "a1.png") in found
    assert ("b0.png", "b1.png") in found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"by": "looks"}, "no rule 'looks' to find pairs by. There are: auto, all, sequence"),
        ({"by": []}, "There is no rule"),
        ({"by": "poses"}, "poses needs a model: cameras.json"),
        ({"by": "model"}, "model needs a model: a folder with a COLMAP model"),
        ({"by": "model", "model": "absent"}, "There is no folder 'absent'"),
        ({"by": "poses", "model": "absent"}, "'absent' has no poses"),
    ],
)
def test_requests_that_make_no_sense(tmp_path, arguments, said):
    files(tmp_path, ["0.jpg", "1.jpg"])
    with pytest.raises(ConfigError, match=said):
        find_pairs(tmp_path, **arguments)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"neighbors": 0}, "neighbors is 0"),
        ({"overlap": 0}, "overlap is 0"),
        ({"max_distance_m": float("nan")}, "max_distance_m is nan"),
        ({"max_angle_deg": 200.0}, "max_angle_deg is 200"),
    ],
)
def test_numbers_that_make_no_sense(options, said):
    with pytest.raises(ConfigError, match=said):
        PairOptions(**options)


def test_too_few_photos(tmp_path):
    with pytest.raises(ConfigError, match="There are no photos below"):
        find_pairs(tmp_path)
    with pytest.raises(ImageError, match="There is no file or folder"):
        find_pairs(tmp_path / "absent")
    files(tmp_path, ["0.jpg"])
    with pytest.raises(ConfigError, match="There is one photo: a pair has two"):
        find_pairs(tmp_path)


def test_nearest_of_many_in_blocks(monkeypatch):
    monkeypatch.setattr(pairs, "ROWS_AT_ONCE", 7)
    points = np.random.default_rng(0).random((40, 3))
    found = pairs._nearest(list(range(40)), points, 3, None)
    distances = torch.cdist(torch.from_numpy(points), torch.from_numpy(points)).fill_diagonal_(9)
    wanted = {(i, int(j)) for i in range(40) for j in distances[i].topk(3, largest=False).indices}
    assert set(found) == wanted


def test_all_rules_are_documented():
    assert all(f"``{rule}``" in (find_pairs.__doc__ or "") for rule in RULES)
