"""A last bundle adjustment in which gross errors weigh little: COLMAP's own is plain least squares."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

ROUNDS = 2
"""Adjustments, each with the noise that the one before left."""
EFFICIENT = 2.385
"""Scale of a Cauchy loss, in standard deviations, that loses 5 % if there are no gross errors."""
MEAN_NORM = float(np.sqrt(np.pi / 2))
"""Mean length of an error in two directions, in standard deviations of one."""

TOLERANCE = 1e-6
"""Relative gain of a step after which an adjustment ends, Ceres' own default. COLMAP goes on for a hundred steps, in
four times the time, which move cameras by less than a hundredth of their errors."""


def adjust_robustly(
    module: ModuleType, model: Any, settings: dict[str, bool], threads: int, *, constant: Sequence[int] = ()
) -> bool:
    """Improves all cameras, poses and points of a model under a Cauchy loss, whose scale is taken from its own noise.

    Matches that pass the verification are a quarter of a pixel off, some one or two: in plain least squares these few
    decide.

    Args:
        module: The package pycolmap.
        model: Its ``Reconstruction``, which is changed.
        settings: Values of its ``BundleAdjustmentOptions``, by name.
        threads: Threads.
        constant: Cameras that stay as they are.

    Returns:
        Whether it was done: this pycolmap may lack what is needed, and a model may have no points.
    """
    needed = ("BundleAdjustmentConfig", "BundleAdjustmentOptions", "LossFunctionType", "create_default_bundle_adjuster")
    if not all(hasattr(module, name) for name in needed) or not model.num_points3D():
        return False
    for _ in range(ROUNDS):
        noise = noise_of(model)
        options = module.BundleAdjustmentOptions()
        for name, value in settings.items():
            setattr(options, name, value)
        options.print_summary = False
        ceres = getattr(options, "ceres", options)  # since 4.0
        ceres.loss_function_type = module.LossFunctionType.CAUCHY
        ceres.loss_function_scale = EFFICIENT * noise
        ceres.solver_options.num_threads = threads
        ceres.solver_options.function_tolerance = TOLERANCE
        config = module.BundleAdjustmentConfig()
        for number in model.reg_image_ids():
            config.add_image(number)
        for number in constant:
            config.set_constant_cam_intrinsics(number)
        if hasattr(module, "BundleAdjustmentGauge"):
            config.fix_gauge(module.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
        module.create_default_bundle_adjuster(options, config, model).solve()
    model.update_point_3d_errors()
    return True


def noise_of(model: Any) -> float:
    """Standard deviation of the errors of a model's points in x and in y, pixels; gross errors do not count."""
    model.update_point_3d_errors()
    return max(float(np.median([point.error for point in model.points3D.values()])) / MEAN_NORM, 1e-3)
