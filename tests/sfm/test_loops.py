"""A pair of look-alike walls is found by the rotations around triangles; good pairs stay."""

from itertools import combinations

import numpy as np
import pytest
from mapped_scene import FOCAL, SIZE, Scene, cloud, pose

from photoglue.sfm.cameras import Cameras, ColmapCamera
from photoglue.sfm.loops import contradicted_pairs
from photoglue.sfm.verified import PairKind, VerifiedPair, VerifiedStore
from photoglue.store import FeatureStore
from photoglue.structs import Features

pytest.importorskip("h5py", exc_type=ImportError)
CAMERA = ColmapCamera(model="PINHOLE", image_size=SIZE, params=(FOCAL, FOCAL, 160.0, 120.0), prior=True)


def turned(matrix, degrees):
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return turn @ matrix


def seen(points, matrix):
    """Pixels, COLMAP's."""
    inside = np.c_[points, np.ones(len(points))] @ matrix.T
    return inside[:, :2] / inside[:, 2:] * FOCAL + (160, 120)


def essential(matrix0, matrix1):
    rotation = matrix1[:, :3] @ matrix0[:, :3].T
    x, y, z = matrix1[:, 3] - rotation @ matrix0[:, 3]
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ rotation


def store(folder, poses, alike):
    """Six photos of one cloud; a second half of the points is a wall, which photos of ``alike`` see elsewhere."""
    names = [f"{number}.png" for number in range(len(poses))]
    points, wall = cloud(0)[0], cloud(1)[0]
    with FeatureStore.open(folder / "f.h5", "a", options={}) as features:
        for number, (name, matrix) in enumerate(zip(names, poses, strict=True)):
            there = turned(matrix, 35) if number in alike else matrix
            pixels = np.r_[seen(points, matrix), seen(wall, there)] - 0.5
            features.write(name, Features.from_arrays(pixels, np.zeros((len(pixels), 4)), SIZE, kind="told"))
    with VerifiedStore.open(folder / "v.h5", "a", options={}) as verified:
        for i, j in combinations(range(len(poses)), 2):
            false = (i in alike) != (j in alike) and (i, j) in FALSE
            geometry = essential(poses[i], turned(poses[j], 35) if false else poses[j])
            rows = np.arange(len(points), dtype=np.uint32) + len(points) * false
            found = VerifiedPair(
                kind=PairKind.CALIBRATED, inliers=np.stack([rows, rows], 1), n_matches=len(rows), essential=geometry
            )
            verified.write(names[i], names[j], found)
    cameras = Cameras(cameras=(CAMERA,), number_of=dict.fromkeys(names, 0))
    return list(combinations(names, 2)), folder / "f.h5", folder / "v.h5", cameras


FALSE = {(0, 5), (1, 5)}


def test_look_alikes_are_found_and_nothing_else(tmp_path):
    found = contradicted_pairs(*store(tmp_path, [pose(number) for number in range(6)], alike={5}))
    assert {(each.name0, each.name1) for each in found} == {("0.png", "5.png"), ("1.png", "5.png")}
    assert str(found[0]).startswith("0.png and 5.png (3 triangles of photos against it, ")


@pytest.mark.slow
def test_good_pairs_stay(tmp_path):
    pytest.importorskip("poselib", exc_type=ImportError)
    assert contradicted_pairs(*store(tmp_path, [pose(number) for number in range(6)], alike=set())) == ()
    scene = Scene(tmp_path / "unknown", 0, 1, 2, 3)
    scene.verify()
    files = scene.folder / "f.h5", scene.folder / "v.h5"
    assert contradicted_pairs(scene.pairs, *files, scene.cameras) == ()
