"""Where the axis of a camera meets its photos: taken from them as far as they tell it, and else the middle."""

from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float64

from photoglue.solvers.colmap_adjust import EFFICIENT, adjust_robustly, noise_of

SPREAD = 0.01
"""Standard deviation of principal points in x and y, as a share of the longer side, before any photo was looked at."""
DOUBT = 25.0
"""The variance that the errors of the points let one expect is multiplied by this: points of one track are not
independent, and no camera is exactly as its model. Of a drive straight ahead (KITTI) it was that much too small."""
PHOTOS = 5
"""A camera of fewer placed photos keeps its principal point."""
CAMERAS = 8
"""Only so many cameras of a model, those of most photos, are looked at."""
LEAST_PX = 0.1
"""A shift that is not worth an adjustment."""


def shift_principal_points(module: ModuleType, model: Any, settings: dict[str, bool], threads: int) -> dict[int, float]:
    """Moves the principal points of the cameras of an adjusted model from the middle to where its points want them.

    With the principal point as a further unknown the model is adjusted once more. How much better it fits then says how
    exactly the photos tell the principal point, and the mean of that and of the middle is taken, each weighted by how
    exactly it is known: of all estimates it has the least expected error, so that no test decides whether to take it.
    Where the photos hardly tell it, as on a drive straight ahead or over flat land, it stays at the middle to within a
    pixel or two. Then all else is adjusted to it.

    Args:
        module: The package pycolmap.
        model: Its ``Reconstruction`` after ``adjust_robustly``, which is changed.
        settings: Values of its ``BundleAdjustmentOptions``, by name.
        threads: Threads.

    Returns:
        Cameras whose principal point was moved → how far it is from the middle, pixels.
    """
    photos: dict[int, int] = {}
    for number in model.reg_image_ids():
        photos[model.images[number].camera_id] = photos.get(model.images[number].camera_id, 0) + 1
    wanted = {}
    for camera in sorted(photos, key=lambda each: (-photos[each], each))[:CAMERAS]:
        if photos[camera] >= PHOTOS and hasattr(model.cameras[camera], "principal_point_idxs"):
            place = _wanted(module, model, camera, settings, threads)
            wanted.update({} if place is None else {camera: place})
    for number, place in wanted.items():
        params = np.array(model.cameras[number].params)
        params[list(model.cameras[number].principal_point_idxs())] = place
        model.cameras[number].params = params
    if wanted:
        adjust_robustly(module, model, settings, threads)
    return {number: float(np.linalg.norm(place - _middle(model, number))) for number, place in wanted.items()}


def _wanted(
    module: ModuleType, model: Any, number: int, settings: dict[str, bool], threads: int
) -> Float64[np.ndarray, " 2"] | None:
    """Where the principal point of one camera is to be; None: where it is."""
    noise = noise_of(model)
    trial, scale = module.Reconstruction(model), EFFICIENT * noise
    others = [each for each in trial.cameras if each != number]
    adjust_robustly(module, trial, {**settings, "refine_principal_point": True}, threads, constant=others)
    camera, middle = model.cameras[number], _middle(model, number)
    now, best = (np.array(each.params)[list(each.principal_point_idxs())] for each in (camera, trial.cameras[number]))
    gain = 2 * (_cost(model, scale) - _cost(trial, scale)) / noise**2
    if gain <= 0:
        return None
    variance = DOUBT * float(((best - now) ** 2).sum()) / gain
    trust = (SPREAD * max(camera.width, camera.height)) ** 2
    place: np.ndarray = middle + (best - middle) * trust / (trust + variance)
    return place if np.linalg.norm(place - now) >= LEAST_PX else None


def _middle(model: Any, number: int) -> Float64[np.ndarray, " 2"]:
    return np.array([model.cameras[number].width, model.cameras[number].height]) / 2


def _cost(model: Any, scale: float) -> float:
    """Half the sum of the squared errors of all observations, under a Cauchy loss of that scale."""
    total = 0.0
    for number in sorted(model.reg_image_ids()):
        image = model.images[number]
        seen = [point for point in image.points2D if point.has_point3D()]
        if seen:
            errors = _errors(model, image, seen)
            total += float((scale**2 * np.log1p(errors**2 / scale**2)).sum()) / 2
    return total


def _errors(model: Any, image: Any, seen: list[Any]) -> Float64[np.ndarray, " n"]:
    """Distances of points from where they are seen, pixels."""
    pose = image.cam_from_world
    matrix = (pose() if callable(pose) else pose).matrix()
    points = np.array([model.points3D[point.point3D_id].xyz for point in seen])
    places = np.array([point.xy for point in seen])
    found = model.cameras[image.camera_id].img_from_cam(points @ matrix[:, :3].T + matrix[:, 3])
    distances: np.ndarray = np.linalg.norm(np.asarray(found) - places, axis=1)
    return distances
