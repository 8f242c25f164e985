"""The rendered scene as COLMAP would map it without an error: photos, and a model in binary files."""

import struct
from functools import cache

import numpy as np
import PIL.Image
from rendered_scene import CAMERA, SIZE, exact_depth, poses, render

POINTS = 400
"""Points of the model that each photo adds."""


def write_map(folder, *, count=4, photos="images", points=POINTS, model="sparse/0", off=None, exif=None):
    """Photos and a model of them; returns the folder.

    Args:
        folder: Is made, with ``photos`` and ``model`` in it.
        count: Photos, named 0.png, 1.png, …
        photos: Folder of the photos; None: none are written.
        points: How many points each photo adds.
        model: Folder of the model.
        off: Photo → by how many pixels its keypoints are off.
        exif: Photo → EXIF orientation, by which it is stored turned; 6 or 8.
    """
    turned, known = exif or {}, poses(count)
    source = np.random.default_rng(2)
    world = [exact_depth(pose, source.uniform((0, 0), np.array(SIZE) - 1, (points, 2)))[1] for pose in known]
    xyz = np.concatenate([*world, np.zeros((0, 3))])
    tracks, images = [[] for _ in xyz], []
    for number, pose in enumerate(known):
        pixels, rows = _seen(pose, xyz)
        moved = pixels + (off or {}).get(number, 0)
        stored = _turned(moved, turned.get(number)) + 0.5
        for place, row in enumerate(rows.tolist()):
            tracks[row].append((number + 1, place))
        turn = {None: np.eye(3), 6: [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], 8: [[0, -1, 0], [1, 0, 0], [0, 0, 1]]}
        stored_pose = np.asarray(turn[turned.get(number)]) @ pose[:3]
        head = struct.pack("<I7dI", number + 1, *_quaternion(stored_pose[:, :3]), *stored_pose[:, 3], number + 1)
        body = b"".join(struct.pack("<ddq", x, y, row) for (x, y), row in zip(stored, rows.tolist(), strict=True))
        images.append(head + f"{number}.png".encode() + b"\0" + struct.pack("<Q", len(rows)) + body)
        if photos is not None:
            _save(folder / photos / f"{number}.png", _rendered(number), turned.get(number))
    place = folder / model
    place.mkdir(parents=True)
    (place / "images.bin").write_bytes(struct.pack("<Q", count) + b"".join(images))
    cameras = b"".join(_camera(number + 1, turned.get(number)) for number in range(count))
    (place / "cameras.bin").write_bytes(struct.pack("<Q", count) + cameras)
    records = b"".join(
        struct.pack("<Q3d3BdQ", row, *xyz[row], 1, 2, 3, 0.5, len(track))
        + b"".join(struct.pack("<II", *element) for element in track)
        for row, track in enumerate(tracks)
    )
    (place / "points3D.bin").write_bytes(struct.pack("<Q", len(xyz)) + records)
    return folder


@cache
def _rendered(number):
    return render(poses(number + 1)[number])[0]


def _seen(pose, xyz):
    """Where a photo sees which points, upright pixels."""
    in_camera = xyz @ pose[:3, :3].T + pose[:3, 3]
    pixels = (in_camera @ CAMERA.T)[:, :2] / in_camera[:, 2:]
    depth, _ = exact_depth(pose, pixels)
    inside = ((pixels >= 0) & (pixels <= np.array(SIZE) - 1)).all(axis=1)
    rows = np.flatnonzero(inside & (np.abs(depth / in_camera[:, 2] - 1) < 1e-3))
    return pixels[rows], rows


def _turned(points, orientation):
    """Stored pixels of upright ones."""
    x, y = points.T
    stored = {None: (x, y), 6: (y, SIZE[0] - 1 - x), 8: (SIZE[1] - 1 - y, x)}
    return np.stack(stored[orientation], axis=1)


def _camera(number, orientation):
    (fx, _, cx), (_, fy, cy), _ = CAMERA
    (cx, cy), (width, height) = _turned(np.array([[cx, cy]]), orientation)[0], SIZE
    if orientation is not None:
        fx, fy, width, height = fy, fx, height, width
    return struct.pack("<IiQQ4d", number, 1, width, height, fx, fy, cx + 0.5, cy + 0.5)


def _quaternion(rotation):
    w, v = np.linalg.eigh(_quadratic(np.asarray(rotation)))
    x, y, z, w = v[:, np.argmax(w)]
    return w, x, y, z


def _quadratic(r):
    """Its eigenvector of the largest eigenvalue is the quaternion (x, y, z, w) of a rotation (Bar-Itzhack 2000)."""
    return np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], r[1, 0] + r[0, 1], r[2, 0] + r[0, 2], r[2, 1] - r[1, 2]],
            [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], r[2, 1] + r[1, 2], r[0, 2] - r[2, 0]],
            [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )


def _save(path, pixels, orientation):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = PIL.Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
        pixels = np.rot90(pixels, {6: 1, 8: -1}[orientation])
    PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(path, exif=exif)
