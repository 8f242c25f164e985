"""A COLMAP model as nerfstudio reads it: ``transforms.json`` and a cloud of points."""

import os
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from photoglue.errors import ConfigError
from photoglue.files import to_json, write_whole
from photoglue.sfm.deliver import check_photos, make_folder, ply_of
from photoglue.solvers.colmap_files import CameraRecord
from photoglue.solvers.colmap_model import read_model

UPWARDS = torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
"""nerfstudio's world, whose z points up, from COLMAP's, whose y points down."""
NERFSTUDIO: dict[str, tuple[str, tuple[str, ...]]] = {
    "SIMPLE_PINHOLE": ("OPENCV", ("fl_x", "cx", "cy")),
    "PINHOLE": ("OPENCV", ("fl_x", "fl_y", "cx", "cy")),
    "SIMPLE_RADIAL": ("OPENCV", ("fl_x", "cx", "cy", "k1")),
    "RADIAL": ("OPENCV", ("fl_x", "cx", "cy", "k1", "k2")),
    "OPENCV": ("OPENCV", ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2")),
    "SIMPLE_FISHEYE": ("OPENCV_FISHEYE", ("fl_x", "cx", "cy")),
    "FISHEYE": ("OPENCV_FISHEYE", ("fl_x", "fl_y", "cx", "cy")),
    "SIMPLE_RADIAL_FISHEYE": ("OPENCV_FISHEYE", ("fl_x", "cx", "cy", "k1")),
    "RADIAL_FISHEYE": ("OPENCV_FISHEYE", ("fl_x", "cx", "cy", "k1", "k2")),
    "OPENCV_FISHEYE": ("OPENCV_FISHEYE", ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "k3", "k4")),
}
"""COLMAP's camera models → nerfstudio's name, and what it calls the parameters, in COLMAP's order."""
DISTORTION = {"OPENCV": ("k1", "k2", "p1", "p2"), "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4")}


def write_nerfstudio(
    model: str | os.PathLike[str], photos: str | os.PathLike[str], out: str | os.PathLike[str]
) -> Path:
    """Write ``transforms.json`` and ``sparse_pc.ply`` for nerfstudio (``ns-train … --data out``).

    The photos are not copied: paths in the file lead to them from ``out``. Poses are from camera to world with OpenGL's
    axes (y up, z backwards) in a world whose z points up, and ``applied_transform`` says how it was turned. Distortion
    is kept, and principal points are COLMAP's, as nerfstudio's own converter has them.

    Args:
        model: The folder of a COLMAP model.
        photos: The folder that its names are paths below.
        out: The folder to write the two files to; made if it does not exist.

    Returns:
        The path of ``transforms.json``.

    Raises:
        ConfigError: If the model cannot be read, or has cameras that nerfstudio cannot have: undistort it first.
        ImageError: If photos are missing, or are not of the size that the model says.
        OutputError: If a file cannot be written.
    """
    photos, out = Path(photos), Path(out)
    view = read_model(model)
    check_photos(view, photos)
    used = sorted({image.camera_id for image in view.images})
    intrinsics = {camera_id: _nerfstudio_camera(view.cameras[camera_id]) for camera_id in used}
    kinds = sorted({str(camera["camera_model"]) for camera in intrinsics.values()})
    if len(kinds) != 1:
        raise ConfigError(
            f"nerfstudio has one kind of camera in a scene, and this model has {' and '.join(kinds) or 'no photo'}; "
            "undistort the model first (photoglue convert-model --undistort)."
        )
    content: dict[str, Any] = {"camera_model": kinds[0]} if len(used) > 1 else dict(intrinsics[used[0]])
    way = os.path.relpath(photos.resolve(), out.resolve()).replace(os.sep, "/")
    content["frames"] = [
        {
            "file_path": str(PurePosixPath(way) / image.name),
            "transform_matrix": _nerfstudio_pose(image.cam_from_world).tolist(),
            "colmap_im_id": image.image_id,
            **(intrinsics[image.camera_id] if len(used) > 1 else {}),
        }
        for image in view.images
    ]
    content |= {"applied_transform": UPWARDS[:3].tolist(), "ply_file_path": "sparse_pc.ply"}
    make_folder(out)
    points = view.points @ UPWARDS[:3, :3].T
    write_whole(out / "sparse_pc.ply", ply_of(points, view.colours, text=True))
    write_whole(out / "transforms.json", to_json(content, indent=1).encode())
    return out / "transforms.json"


def _nerfstudio_camera(camera: CameraRecord) -> dict[str, Any]:
    if camera.model not in NERFSTUDIO:
        raise ConfigError(
            f"nerfstudio has no camera like COLMAP's {camera.model}; undistort the model first "
            "(photoglue convert-model --undistort), and convert what that wrote."
        )
    kind, names = NERFSTUDIO[camera.model]
    values = dict(zip(names, camera.parameters, strict=True))
    values = {"fl_y": values["fl_x"], **dict.fromkeys(DISTORTION[kind], 0.0), **values}
    return {"camera_model": kind, "w": camera.image_size[0], "h": camera.image_size[1], **values}


def _nerfstudio_pose(cam_from_world: Float64[Tensor, "4 4"]) -> Float64[Tensor, "4 4"]:
    world_from_cam: Tensor = torch.linalg.inv(cam_from_world)
    world_from_cam[:3, 1:3] *= -1  # OpenGL's axes of a camera
    return UPWARDS @ world_from_cam
