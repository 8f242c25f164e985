"""A map of photos that say what they see (``mapped_scene``), with their true poses: photos are placed in it at once."""

import numpy as np
import torch
from mapped_scene import FOCAL, SIZE, Told, pose, write

from photoglue.matchers.nearest import NearestNeighbor
from photoglue.sfm.locating.adopt import AdoptOptions, adopt_model
from photoglue.solvers.colmap_files import CameraRecord
from photoglue.solvers.colmap_triangulation import write_posed
from photoglue.structs import Features

MAPPED = 0, 1, 2, 4, 5
OPTIONS = AdoptOptions(features="mapped_scene:Told", max_keypoints=None, resize=None)
TOOLS = {"extractor": Told(), "matcher": NearestNeighbor(0.8)}


class Landscape(Told):
    """Recognises nothing in photos that are higher than wide."""

    def _features(self, image):
        if image.shape[2] > image.shape[1]:
            return super()._features(image)
        return Features.from_arrays(np.ones((20, 2)), np.eye(20, 16), (image.shape[2], image.shape[1]), kind=self.kind)


def true_pose(number):
    """World to camera, 4 × 4."""
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3] = torch.from_numpy(pose(number))
    return matrix


def write_known(folder, numbers=MAPPED, size=SIZE):
    """A COLMAP model without points: the true cameras and poses of those photos."""
    folder.mkdir(parents=True, exist_ok=True)
    scale = size[0] / SIZE[0]
    camera = CameraRecord(
        camera_id=3, model="SIMPLE_PINHOLE", image_size=size, parameters=(FOCAL * scale, size[0] / 2, size[1] / 2)
    )
    write_posed(folder, [camera], [(10 + i, 3, f"{i:03}.png", true_pose(i)) for i in numbers])
    return folder


def write_map(folder, numbers=MAPPED):
    """folder/map, of folder/photos with folder/known."""
    write(folder / "photos", *numbers)
    adopt_model(write_known(folder / "known", numbers), folder / "photos", folder / "map", OPTIONS, **TOOLS)
    return folder


def error(answer, number):
    """Distance from the true place; the points are some six units away."""
    matrix = true_pose(number)
    return float((answer.centre + matrix[:3, :3].T @ matrix[:3, 3]).norm())
