"""Principal points go where the points want them, and stay in the middle where these say nothing."""

import numpy as np
import pytest

from photoglue.solvers.colmap import pycolmap
from photoglue.solvers.colmap_adjust import adjust_robustly
from photoglue.solvers.colmap_principal import shift_principal_points

pytest.importorskip("pycolmap", exc_type=ImportError)
SETTINGS = {"refine_focal_length": True, "refine_extra_params": True, "refine_principal_point": False}
FOCAL, MIDDLE = 1280.0, np.array([512.0, 384.0])


def cloud(photos, shift=(0, 0), noise=0.3):
    """Photos all round a cloud of points, whose camera has its principal point beside the middle; adjusted without."""
    module = pycolmap()
    if not hasattr(module, "synthesize_dataset"):
        pytest.skip("this pycolmap makes no synthetic scenes")
    module.set_random_seed(0)
    options = module.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, photos, 200
    options.camera_params = [FOCAL, *(MIDDLE + shift), 0.0]
    model, source = module.synthesize_dataset(options), np.random.default_rng(0)
    for number in sorted(model.reg_image_ids()):
        for point in model.images[number].points2D:
            point.xy = point.xy + source.normal(scale=noise, size=2)
    (camera,) = model.cameras.values()
    camera.params = [FOCAL, *MIDDLE, 0.0]
    assert adjust_robustly(module, model, SETTINGS, 1)
    assert (principal(model) == 0).all()
    return module, model


def principal(model):
    """From the middle, pixels."""
    (camera,) = model.cameras.values()
    return np.array([camera.principal_point_x, camera.principal_point_y]) - MIDDLE


def test_it_goes_where_the_points_want_it_and_all_else_follows():
    module, model = cloud(8, (8, -6), noise=0.1)
    moved = shift_principal_points(module, model, SETTINGS, 1)
    assert np.abs(principal(model) - (8, -6)).max() < 0.5
    assert list(moved.values()) == [pytest.approx(np.linalg.norm(principal(model)))]
    (camera,) = model.cameras.values()
    assert camera.params[0] == pytest.approx(FOCAL, rel=2e-3)


def test_noise_does_not_move_it():
    module, model = cloud(5, noise=20)
    free = module.Reconstruction(model)
    adjust_robustly(module, free, {**SETTINGS, "refine_principal_point": True}, 1)
    shift_principal_points(module, model, SETTINGS, 1)
    assert np.linalg.norm(principal(model)) < 0.3 * np.linalg.norm(principal(free))


def test_cameras_of_few_photos_are_left_alone():
    module, model = cloud(4, (8, -6))
    assert shift_principal_points(module, model, SETTINGS, 1) == {}
    assert (principal(model) == 0).all()
