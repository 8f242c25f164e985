"""hloc's own code over our files: its readers, and its reconstruction; skipped where hloc is not installed.

hloc is on no package index: ``pip install git+https://github.com/cvg/Hierarchical-Localization``, or its folder on
PYTHONPATH.
"""

from pathlib import Path

import numpy as np
import pytest
from mapped_scene import FOCAL, SIZE, Scene, position_error

from photoglue.datasets.photos import write_pairs
from photoglue.sfm import PairOptions, find_pairs
from photoglue.solvers.colmap import pycolmap
from photoglue.store import MatchStore

for package in ("pycolmap", "poselib", "hloc"):
    pytest.importorskip(package, reason=f"{package} is not installed", exc_type=ImportError)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    scene = Scene(tmp_path_factory.mktemp("hloc"), *range(5))
    write_pairs(scene.pairs, scene.folder / "pairs.txt")
    return scene


def test_its_readers(scene):
    from hloc.utils.io import get_keypoints, get_matches, list_h5_names
    from hloc.utils.parsers import parse_retrieval

    assert sorted(list_h5_names(scene.folder / "f.h5")) == sorted(scene.features)
    for name, features in scene.features.items():
        assert np.allclose(get_keypoints(scene.folder / "f.h5", name), features.keypoints, atol=1e-4)
    partners = parse_retrieval(scene.folder / "pairs.txt")
    assert [(name0, name1) for name0, found in partners.items() for name1 in found] == scene.pairs
    with MatchStore.open(scene.folder / "m.h5") as store:
        for name0, name1 in scene.pairs:
            own = store.read(name0, name1, *(scene.features[name].keypoints for name in (name0, name1)))
            theirs, scores = get_matches(scene.folder / "m.h5", name0, name1)
            assert np.array_equal(theirs, own.indices) and np.allclose(scores, own.scores, atol=1e-3)


def test_its_pairs_from_retrieval(tmp_path):
    import h5py
    from hloc import pairs_from_retrieval

    names = [f"{number:02}.jpg" for number in range(12)]
    with h5py.File(tmp_path / "g.h5", "w") as file:  # as its extract_features writes them
        for name, vector in zip(names, np.abs(np.random.default_rng(0).normal(size=(12, 32))), strict=True):
            file.create_group(name)["global_descriptor"] = (vector / np.linalg.norm(vector)).astype(np.float16)
    photos = dict.fromkeys(names, tmp_path / "not looked at.jpg")
    found = find_pairs(photos, by="retrieval", descriptors=tmp_path / "g.h5", options=PairOptions(neighbors=3))
    pairs_from_retrieval.main(tmp_path / "g.h5", tmp_path / "pairs.txt", 3)
    theirs = {tuple(sorted(line.split())) for line in (tmp_path / "pairs.txt").read_text().splitlines()}
    assert set(found) == theirs


@pytest.mark.slow
def test_its_reconstruction(scene):
    from hloc import reconstruction

    files = (Path(scene.folder / name) for name in ("pairs.txt", "f.h5", "m.h5"))
    camera = {"camera_model": "SIMPLE_PINHOLE", "camera_params": f"{FOCAL},{SIZE[0] / 2},{SIZE[1] / 2}"}
    model = reconstruction.main(
        scene.folder / "sfm",
        scene.folder / "photos",
        *files,
        camera_mode=pycolmap().CameraMode.SINGLE,
        image_options=camera,
        mapper_options={"min_num_matches": 15, "mapper": {"init_min_num_inliers": 50}},
    )
    assert model.num_reg_images() == 5
    assert position_error(scene.folder / "sfm") < 0.05
