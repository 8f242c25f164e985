"""Depth: read, looked up at keypoints, and used to find their places in another photo."""

from pathlib import Path

import numpy as np
import PIL.Image
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from photoglue.datasets.scenes import DepthFile, Frame
from photoglue.errors import ImageError, require
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.epipolar import normalized_points


def read_depth(frame: Frame) -> Float[Tensor, "h w"]:
    """Depth along the optical axis at each pixel of the photo, in the unit of its pose; NaN where unknown.

    Args:
        frame: With the depth in a file.

    Raises:
        ImageError: If it cannot be read, or has not the size of the photo.
        MissingExtra: If it is an HDF5 file and h5py is not installed.
    """
    assert isinstance(frame.depth, DepthFile)
    path = frame.depth.path
    try:
        stored = _read_hdf5(path) if path.suffix == ".h5" else _read_png(path)
    except (OSError, KeyError, ValueError, SyntaxError) as error:
        raise ImageError(f"The depth {str(path)!r} of photo {frame.name!r} cannot be read: {error}.") from error
    width, height = frame.camera.image_size
    if stored.shape != (height, width):
        raise ImageError(
            f"The depth {str(path)!r} has shape {stored.shape}, and photo {frame.name!r} {width} × {height} pixels; "
            "a depth for each pixel was wanted."
        )
    depth = torch.from_numpy(stored.astype(np.float32)) / frame.depth.scale
    return torch.where(has_depth(depth), depth, torch.nan)


def sample_depth(depth: Float[Tensor, "h w"], points: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """Depth at points: bilinear between four known pixels, else that of the nearest pixel; NaN where that is unknown.

    Args:
        depth: NaN where unknown.
        points: (x, y) in pixels of the photo; NaN for those outside it.
    """
    height, width = depth.shape
    x, y = points.double().unbind(dim=1)
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.long(), y.long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    across, down = x - left, y - top
    upper = depth[top, left] * (1 - across) + depth[top, right] * across
    lower = depth[bottom, left] * (1 - across) + depth[bottom, right] * across
    # An unknown pixel makes the sum NaN, even with weight 0: then the nearest decides.
    bilinear = (upper * (1 - down) + lower * down).to(depth.dtype)
    nearest = depth[y.round().long(), x.round().long()]
    return torch.where(inside, torch.where(torch.isnan(bilinear), nearest, bilinear), torch.nan)


def has_depth(depths: Float[Tensor, "*n"]) -> Bool[Tensor, "*n"]:
    """Where depth is known."""
    return torch.isfinite(depths) & (depths > 0)


def project_points(
    points: Float[Tensor, "n 2"],
    depths: Float[Tensor, " n"],
    camera0: PinholeCamera,
    camera1: PinholeCamera,
    cam1_from_cam0: Float64[Tensor, "4 4"],
) -> Float64[Tensor, "n 2"]:
    """Where points of image 0 land in image 1, pixels; (NaN, NaN) without depth or behind camera 1."""
    depth = depths.double()[:, None]
    xyz = torch.cat([normalized_points(points, camera0) * depth, depth], dim=1)
    xyz = xyz @ cam1_from_cam0[:3, :3].T + cam1_from_cam0[:3, 3]
    seen = has_depth(depths) & (xyz[:, 2] > 0)
    focal, centre = (xyz.new_tensor(pair) for pair in ((camera1.fx, camera1.fy), (camera1.cx, camera1.cy)))
    return torch.where(seen[:, None], xyz[:, :2] / xyz[:, 2:] * focal + centre, torch.nan)


def _read_png(path: Path) -> np.ndarray:
    with PIL.Image.open(path) as picture:
        if picture.mode not in ("I;16", "I", "I;16B"):
            raise ValueError(f"it is an image of mode {picture.mode}; 16 bits and one channel were wanted")
        return np.asarray(picture)


def _read_hdf5(path: Path) -> np.ndarray:
    with require("h5py", extra="store").File(path, "r") as file:
        return np.asarray(file["depth"][()])
