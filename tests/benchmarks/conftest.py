"""Small development splits, and how a benchmark is started on one."""

import json

import numpy as np
import pytest
import torch


@pytest.fixture
def photos(astronaut):
    """Two windows of a photo, the second 12 pixels to the right of the first, and the homography between them."""
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    photo = cv2.imread(str(astronaut))
    shift = np.array([[1.0, 0, -12], [0, 1, 0], [0, 0, 1]])
    return [photo[20:212, left : left + 256] for left in (60, 72)], shift


@pytest.fixture
def planar(photos, tmp_path):
    """A development split with one set of two planar pairs."""
    import cv2

    images, homography = photos
    for name in ("a", "b"):
        folder = tmp_path / "data" / "evd" / name
        folder.mkdir(parents=True)
        for number, image in enumerate(images, start=1):
            cv2.imwrite(str(folder / f"{number}.png"), image)
        np.savetxt(folder / "H_1_2", homography)
    return tmp_path / "data"


@pytest.fixture
def posed(photos, tmp_path):
    """One with a posed pair: a plane 1 in front of two cameras that stand side by side."""
    import cv2

    cameras = {}
    for i, image in enumerate(photos[0]):
        path = tmp_path / "posed" / "imb_reichstag" / "images" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
        pose = np.eye(4)
        pose[0, 3] = -12 / 250 * i
        cameras[path.name] = {"K": [[250, 0, 127.5], [0, 250, 95.5], [0, 0, 1]], "T_w2c": pose.tolist()}
    (tmp_path / "posed" / "imb_reichstag" / "cameras.json").write_text(json.dumps(cameras))
    return tmp_path / "posed"


@pytest.fixture
def started(monkeypatch):
    """Runs a benchmark's main with options, and leaves torch's threads as they were."""

    def start(module, options):
        monkeypatch.setattr("sys.argv", [f"{module.__name__}.py", *str(options).split()])
        threads = torch.get_num_threads()
        try:
            with torch.no_grad():
                module.main()
        finally:
            torch.set_num_threads(threads)

    return start
