"""What a lens does is taken off exactly, whichever way up the photo is and whatever its size."""

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError
from photoglue.geometry.frames import StoredFrame, to_colmap
from photoglue.solvers.colmap_files import CameraRecord
from photoglue.solvers.colmap_lens import ColmapLens

SIZE = (640, 480)
CAMERAS = {
    "SIMPLE_PINHOLE": (500.0, 322.0, 238.0),
    "PINHOLE": (500.0, 510.0, 322.0, 238.0),
    "SIMPLE_RADIAL": (500.0, 322.0, 238.0, -0.12),
    "OPENCV": (500.0, 510.0, 322.0, 238.0, -0.1, 0.02, 0.001, -0.002),
    "OPENCV_FISHEYE": (400.0, 410.0, 322.0, 238.0, 0.03, 0.01, 0.0, 0.0),
}


def lens(model, orientation=1, size=SIZE):
    record = CameraRecord(camera_id=1, model=model, image_size=SIZE, parameters=CAMERAS[model])
    upright = size[::-1] if orientation >= 5 else size
    return ColmapLens(record=record, frame=StoredFrame(orientation=orientation, upright_size=upright))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("model", CAMERAS)
def test_directions_are_those_that_colmap_sees(model, orientation):
    pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)
    size = (960, 720)
    made = lens(model, orientation, size)
    theirs = pycolmap.Camera(model=model, width=SIZE[0], height=SIZE[1], params=list(CAMERAS[model]))
    xyz = np.random.default_rng(0).uniform((-0.4, -0.3, 1), (0.4, 0.3, 1), (50, 3))
    seen = torch.from_numpy(np.asarray(theirs.img_from_cam(xyz))) * 1.5 - 0.5
    straight = made(made.frame.to_upright(seen))
    camera = made.pinhole
    assert camera.image_size == made.frame.upright_size
    rays = torch.from_numpy(xyz) @ made.frame.upright_cam_from_stored_cam().T
    wanted = rays[:, :2] * torch.tensor([camera.fx, camera.fy]) + torch.tensor([camera.cx, camera.cy])
    torch.testing.assert_close(straight, wanted.double(), atol=1e-3, rtol=0)


def test_points_of_the_model_lie_on_the_photo_edge_on_edge():
    corners = torch.tensor([[-0.5, -0.5], [639.5, 479.5]]).double()
    made = lens("PINHOLE", size=(320, 240))
    assert made.to_photo(corners).tolist() == [[-0.5, -0.5], [319.5, 239.5]]
    assert made.pinhole.cx == pytest.approx(322 / 2 - 0.5)
    assert made(corners).tolist() == corners.tolist()
    turned = lens("PINHOLE", 6)
    assert to_colmap(turned.to_photo(torch.tensor([[-0.5, -0.5]]).double())).tolist() == [[480.0, 0.0]]


def test_where_a_lens_cannot_have_seen_anything_nothing_is_there():
    pytest.importorskip("pycolmap", exc_type=ImportError)
    record = CameraRecord(camera_id=1, model="SIMPLE_RADIAL", image_size=SIZE, parameters=(500.0, 320.0, 240.0, -2.0))
    made = ColmapLens(record=record, frame=StoredFrame(orientation=1, upright_size=SIZE))
    found = made(torch.tensor([[0.0, 0.0], [319.5, 239.5]]))
    assert found[0].isnan().all()
    torch.testing.assert_close(found[1], torch.tensor([319.5, 239.5]).double())


def test_a_panorama_is_refused():
    record = CameraRecord(camera_id=1, model="EQUIRECTANGULAR", image_size=SIZE, parameters=(640.0, 480.0))
    with pytest.raises(ConfigError, match="panorama"):
        ColmapLens(record=record, frame=StoredFrame(orientation=1, upright_size=SIZE))
