"""Small data sets whose truth is known because the test made them."""

import json
import shutil
import types

import numpy as np
import PIL.Image
import pytest


def rotation(axis, degrees):
    """By Rodrigues' formula."""
    axis = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    angle = np.deg2rad(degrees)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew


def pose(axis=(0, 1, 0), degrees=10.0, translation=(-1.0, 0.1, 0.2)):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(axis, degrees), translation
    return matrix


def matrix_of(focal, cx, cy):
    return np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1.0]])


def matches_of(points0, points1, scores=None):
    """Matches that pair the rows of two lists of points."""
    import torch

    from photoglue import Matches

    n = len(points0)
    rows = torch.arange(n)
    given = torch.ones(n) if scores is None else torch.as_tensor(scores, dtype=torch.float32)
    return Matches(
        matches0=rows,
        matches1=rows.clone(),
        matching_scores0=given,
        matching_scores1=given.clone(),
        keypoints0=torch.as_tensor(np.asarray(points0), dtype=torch.float32).reshape(-1, 2),
        keypoints1=torch.as_tensor(np.asarray(points1), dtype=torch.float32).reshape(-1, 2),
    )


def save_image(path, size=(40, 30), seed=0, exif=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    picture = PIL.Image.fromarray(pixels)
    if exif is None:
        picture.save(path)
    else:
        tags = PIL.Image.Exif()
        tags[0x0112] = exif
        picture.save(path, exif=tags)
    return path


@pytest.fixture
def plain(tmp_path):
    """Three posed images in the plain layout; gives the folder, so that a test can spoil it."""
    folder = tmp_path / "plain"
    cameras = {}
    for i in range(3):
        save_image(folder / "images" / f"{i}.png", (40, 30), i)
        cameras[f"{i}.png"] = {
            "K": matrix_of(50, 19.5, 14.5).tolist(),
            "T_w2c": pose(degrees=5.0 * i, translation=(-float(i), 0, 0)).tolist(),
            "width": 40,
            "height": 30,
        }
    (folder / "cameras.json").write_text(json.dumps(cameras))
    return folder


@pytest.fixture(scope="session")
def planes(astronaut, tmp_path_factory):
    """Two homography sequences of a real photo, which SIFT can match; 256 × 192. Not to be changed by a test."""
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)

    photo = cv2.imread(str(astronaut))
    root = tmp_path_factory.mktemp("data") / "planes"
    for number, (left, top) in enumerate(((60, 20), (150, 60))):
        folder = root / f"v_{number}"
        folder.mkdir(parents=True)
        base = photo[top : top + 192, left : left + 256]
        cv2.imwrite(str(folder / "1.png"), base)
        for k in (2, 3):
            homography = np.array([[1.02, 0.05 * k, 3], [-0.04 * k, 0.98, 8], [1e-4, 5e-5 * k, 1]])
            warped = cv2.warpPerspective(base, homography, (256, 192), flags=cv2.INTER_AREA)
            cv2.imwrite(str(folder / f"{k}.png"), warped)
            np.savetxt(folder / f"H_1_{k}", homography)
    return root


@pytest.fixture
def textured(planes, tmp_path):
    """A copy of them, to be changed at will."""
    return shutil.copytree(planes, tmp_path / "planes")


@pytest.fixture(scope="session")
def out(tmp_path_factory):
    """Where the runs on ``planes`` keep their features, so that they are extracted once for all tests."""
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="session")
def make():
    """The functions above, for the tests."""
    return types.SimpleNamespace(
        rotation=rotation, pose=pose, matrix=matrix_of, matches=matches_of, image=save_image, card=card_of
    )


def card_of(**changes):
    from photoglue.evaluation.results import ProtocolCard

    defaults = {"protocol": "test", "resize": None, "max_keypoints": None, "estimator": "poselib", "threshold_px": 1.0}
    return ProtocolCard(**{**defaults, **changes})
