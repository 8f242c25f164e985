"""A small COLMAP model in binary files, written without COLMAP: known cameras, points, and photos of noise."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

NUMBERS = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "OPENCV": 4, "OPENCV_FISHEYE": 5, "FOV": 7}
SIZE = (64, 48)


@dataclass(frozen=True, kw_only=True)
class TinyModel:
    """Where it lies, and the truth."""

    model: Path
    photos: Path
    names: list[str]
    points: np.ndarray
    cam_from_world: dict[str, np.ndarray]


def write_tiny_model(
    folder: Path,
    *,
    cameras=(("SIMPLE_RADIAL", (60.0, 32.0, 24.0, -0.05)),),
    names=("a.jpg", "b.jpg", "sub/c.jpg"),
    blind=(),
    points=12,
    exif=None,
) -> TinyModel:
    """Cameras on an arc around points, each with a small turn; photo ``i`` has camera ``i`` modulo their number.

    Photos named in ``blind`` see no point; those of ``exif`` (name → orientation) are stored turned. Keypoints lie
    where the points are projected without distortion.
    """
    random = np.random.default_rng(0)
    xyz = random.uniform(-1, 1, (points, 3))
    model, photos = folder / "model", folder / "photos"
    model.mkdir(parents=True)
    poses, tracks, images = {}, {i: [] for i in range(points)}, []
    for number, name in enumerate(names, start=1):
        pose = _pose(0.25 * number)
        poses[name] = pose
        _, parameters = cameras[(number - 1) % len(cameras)]
        seen = range(points) if name not in blind else ()
        rows = [(3.0, 4.0, -1)]  # a keypoint without a point
        for i in seen:
            x, y, z = pose[:3, :3] @ xyz[i] + pose[:3, 3]
            rows.append((parameters[0] * x / z + SIZE[0] / 2, parameters[0] * y / z + SIZE[1] / 2, i + 10))
            tracks[i].append((number, len(rows) - 1))
        camera = (number - 1) % len(cameras) + 1
        images.append(_image(number, pose, camera, name, rows))
        _photo(photos / name, number, (exif or {}).get(name))
    (model / "images.bin").write_bytes(struct.pack("<Q", len(images)) + b"".join(images))
    (model / "cameras.bin").write_bytes(
        struct.pack("<Q", len(cameras))
        + b"".join(
            struct.pack(f"<IiQQ{len(values)}d", i, NUMBERS[kind], *SIZE, *values)
            for i, (kind, values) in enumerate(cameras, start=1)
        )
    )
    body = b"".join(
        struct.pack("<Q3d3BdQ", i + 10, *xyz[i], i % 256, 100, 200, 0.5, len(tracks[i]))
        + b"".join(struct.pack("<II", *element) for element in tracks[i])
        for i in range(points)
    )
    (model / "points3D.bin").write_bytes(struct.pack("<Q", points) + body)
    return TinyModel(model=model, photos=photos, names=sorted(names), points=xyz, cam_from_world=poses)


def _pose(angle: float) -> np.ndarray:
    """A camera 4 from the origin, which it looks at, turned about the vertical axis."""
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    pose[2, 3] = 4
    return pose


def _image(number: int, pose: np.ndarray, camera: int, name: str, rows) -> bytes:
    angle = np.arctan2(pose[0, 2], pose[0, 0])
    head = struct.pack("<I7dI", number, np.cos(angle / 2), 0, np.sin(angle / 2), 0, *pose[:3, 3], camera)
    return head + name.encode() + b"\0" + struct.pack("<Q", len(rows)) + b"".join(struct.pack("<ddq", *r) for r in rows)


def _photo(path: Path, seed: int, orientation: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*SIZE[::-1], 3), dtype=np.uint8)
    picture = PIL.Image.fromarray(pixels)
    exif = PIL.Image.Exif()
    if orientation is not None:
        exif[PIL.ExifTags.Base.Orientation] = orientation
    picture.save(path, exif=exif)
