"""The cameras of photos: who shares one, what EXIF says of its focal length, or what the user knows.

All numbers are COLMAP's: in stored pixels, with the centre of the top-left pixel at (0.5, 0.5).
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float64

from photoglue.datasets.cameras import read_cameras
from photoglue.datasets.images import camera_of
from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.frames import StoredFrame, colmap_pinhole
from photoglue.image import read_exif, read_image_size

MODELS: Mapping[str, tuple[int, tuple[str, ...]]] = MappingProxyType(
    {
        "SIMPLE_PINHOLE": (0, ("f", "cx", "cy")),
        "PINHOLE": (1, ("fx", "fy", "cx", "cy")),
        "SIMPLE_RADIAL": (2, ("f", "cx", "cy", "k")),
        "RADIAL": (3, ("f", "cx", "cy", "k1", "k2")),
        "OPENCV": (4, ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")),
        "OPENCV_FISHEYE": (5, ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4")),
    }
)
"""COLMAP's camera models by name: number, and names of the parameters in their order."""
GUESSED_FOCAL = 1.2
"""Focal length of a camera of which nothing is known, as a share of the longer side, as COLMAP guesses it."""
DIAGONAL_35MM = math.hypot(36, 24)
"""Millimetres of the diagonal of 35-mm film, to which equivalent focal lengths refer (CIPA DCG-001)."""
POSSIBLE_FOCAL = (0.25, 20.0)
"""Focal lengths that are believed, as shares of the longer side."""
MAKE, MODEL, ORIENTATION = 0x010F, 0x0110, 0x0112
FOCAL, FOCAL_35MM, LENS, WIDTH = 0x920A, 0xA405, 0xA434, 0xA002
PLANE_RESOLUTION, PLANE_UNIT = 0xA20E, 0xA210
MM_OF_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Millimetres of EXIF's units of resolution: inch, centimetre, millimetre, micrometre."""

Header: TypeAlias = tuple[Mapping[int, Any], tuple[int, int]]
"""EXIF tags, and (width, height) in stored pixels."""


@dataclass(frozen=True, kw_only=True)
class ColmapCamera:
    """A camera as COLMAP has it: stored pixels, the centre of the top-left pixel at (0.5, 0.5)."""

    model: str
    """A key of ``MODELS``."""
    image_size: tuple[int, int]
    """(width, height) of the stored photo, pixels."""
    params: tuple[float, ...]
    """Parameters in the order of ``MODELS``; lengths in pixels."""
    prior: bool
    """Whether the focal length is known, from EXIF or the user, and not guessed."""
    given: bool = False
    """Whether the user gave all parameters, which are then kept."""

    @property
    def pinhole(self) -> PinholeCamera:
        """The camera without its distortion, still in COLMAP's pixels."""
        terms = dict(zip(MODELS[self.model][1], self.params, strict=True))
        fx = terms["f"] if "f" in terms else terms["fx"]
        return PinholeCamera(fx=fx, fy=terms.get("fy", fx), cx=terms["cx"], cy=terms["cy"], image_size=self.image_size)

    def undistorted(self, points: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        """Where the camera would see points (x, y) without its distortion, pixels."""
        terms = dict(zip(MODELS[self.model][1], self.params, strict=True))
        if not any(terms.get(name) for name in ("k", "k1", "k2", "k3", "k4", "p1", "p2")):
            return points
        camera = self.pinhole
        focal, centre = np.array([camera.fx, camera.fy]), np.array([camera.cx, camera.cy])
        seen = (points - centre) / focal
        bend = _fisheye if self.model == "OPENCV_FISHEYE" else _radial
        rays = seen
        for _ in range(20):
            rays = rays - (bend(rays, terms) - seen)
        return np.asarray(rays * focal + centre)


Keyed: TypeAlias = tuple[Any, ColmapCamera]
"""What photos of one camera have in common, and the camera as one of them tells it."""


@dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """How the cameras of photos are found."""

    model: str | None = None
    """COLMAP's camera model; None: SIMPLE_RADIAL, or PINHOLE for cameras that are given."""
    intrinsics: str | os.PathLike[str] | None = None
    """The cameras, if they are known: a ``cameras.json`` (``K`` of each photo, upright pixels), or numbers for all
    photos in stored pixels: "f" or "fx,fy,cx,cy" with the centre of the top-left pixel at (0, 0) or, with ``model``,
    its parameters as COLMAP lists them, whose (0, 0) is the corner of that pixel."""
    single: bool = False
    """All photos were taken with one camera, at one focal length."""

    def __post_init__(self) -> None:
        if self.model is not None and self.model not in MODELS:
            raise ConfigError(f"There is no camera model {self.model!r}; choose one of {', '.join(MODELS)}.")


@dataclass(frozen=True, kw_only=True)
class Cameras:
    """The cameras of a collection of photos."""

    cameras: tuple[ColmapCamera, ...]
    """Each camera once."""
    number_of: Mapping[str, int]
    """Position in ``cameras`` of the camera of each photo, by name."""

    def of(self, name: str) -> ColmapCamera:
        """The camera of a photo."""
        return self.cameras[self.number_of[name]]

    def __str__(self) -> str:
        known, count = sum(camera.prior for camera in self.cameras), len(self.cameras)
        return f"{count} camera{'s' * (count != 1)}, {known} with a known focal length"


def find_cameras(photos: Mapping[str, Path], options: CameraOptions | None = None) -> Cameras:
    """The cameras of photos, shared by those of one folder, make, model, lens, focal length and stored size.

    Photos without EXIF share a camera if those of their folder are all of one size; else each has its own, as photos
    from many sources have. The focal length is taken from EXIF's 35-mm equivalent, or from the focal length and the
    resolution in the focal plane, scaled to the stored size; else 1.2 times the longer side is a first guess, and not
    a known one.

    Args:
        photos: Photos by name, such as the path below their folder; only their headers are read.
        options: What is known of the cameras; None: nothing.

    Raises:
        ConfigError: If given cameras cannot be read or do not fit the photos, or photos of several sizes are said to
            be of a single camera.
        ImageError: If a photo cannot be read.
    """
    options = options or CameraOptions()
    headers = {name: (read_exif(path), read_image_size(path, upright=False)) for name, path in sorted(photos.items())}
    found = _shared(headers, options) if options.intrinsics is None else _given(photos, headers, options)
    keys: dict[Any, ColmapCamera] = {}
    for name, (key, camera) in found.items():
        before = keys.setdefault(key, camera)
        if before.image_size != camera.image_size:
            (width0, height0), (width1, height1) = before.image_size, camera.image_size
            raise ConfigError(
                f"{name!r} has {width1} × {height1} stored pixels and others {width0} × {height0}: that is no single "
                "camera. Leave --single-camera (single=True) out."
            )
        if camera.prior and not before.prior:
            keys[key] = camera
    order = {key: number for number, key in enumerate(keys)}
    return Cameras(cameras=tuple(keys.values()), number_of={name: order[key] for name, (key, _) in found.items()})


def _given(photos: Mapping[str, Path], headers: Mapping[str, Header], options: CameraOptions) -> dict[str, Keyed]:
    """The cameras that the user gave, by photo."""
    assert options.intrinsics is not None
    file = _file_of(options.intrinsics)
    if file is None:
        text = os.fspath(options.intrinsics)
        return {name: (size, _parsed(text, options.model, size)) for name, (_, size) in headers.items()}
    cameras = {name: _from_file(file, name, photos[name], headers[name][0], options) for name in headers}
    return {name: (camera, camera) for name, camera in cameras.items()}


def _shared(headers: Mapping[str, Header], options: CameraOptions) -> dict[str, Keyed]:
    """What EXIF says of the cameras, by photo."""
    sizes: dict[str, set[tuple[int, ...]]] = {}
    for name, (tags, size) in headers.items():
        if not camera_words(tags):
            sizes.setdefault(_folder(name), set()).add(tuple(sorted(size)))
    found = {}
    for name, (tags, size) in headers.items():
        alone = name if not camera_words(tags) and len(sizes[_folder(name)]) > 1 else ""
        key = "one" if options.single else (_folder(name), camera_words(tags), size, alone)
        found[name] = (key, _estimated(tags, size, options.model or "SIMPLE_RADIAL"))
    return found


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()


def camera_words(tags: Mapping[int, Any]) -> str:
    """What EXIF says of camera, lens and focal length; empty if nothing."""
    return "|".join(str(tags.get(tag, "")).strip("\0 ") for tag in (MAKE, MODEL, LENS, FOCAL, FOCAL_35MM)).strip("|")


def _orientation(tags: Mapping[int, Any]) -> int:
    orientation = tags.get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def _estimated(tags: Mapping[int, Any], size: tuple[int, int], model: str) -> ColmapCamera:
    focal = exif_focal_px(tags, size)
    names = MODELS[model][1]
    start = {"cx": size[0] / 2, "cy": size[1] / 2}
    start |= dict.fromkeys(("f", "fx", "fy"), focal or GUESSED_FOCAL * max(size))
    params = tuple(start.get(name, 0.0) for name in names)
    return ColmapCamera(model=model, image_size=size, params=params, prior=focal is not None)


def exif_focal_px(tags: Mapping[int, Any], size: tuple[int, int]) -> float | None:
    """The focal length that EXIF tags tell, in pixels of a photo of that size; None: they do not, or nothing possible.

    Args:
        tags: Values by the numbers of their tags.
        size: (width, height) of the stored photo, pixels.
    """
    equivalent, focal_mm = _number(tags.get(FOCAL_35MM)), _number(tags.get(FOCAL))
    per_unit, unit = _number(tags.get(PLANE_RESOLUTION)), MM_OF_UNIT.get(tags.get(PLANE_UNIT, 2), 25.4)
    focal = 0.0
    if equivalent:
        focal = equivalent / DIAGONAL_35MM * math.hypot(*size)
    elif focal_mm and per_unit:
        focal = focal_mm * per_unit / unit * max(size) / (_number(tags.get(WIDTH)) or max(size))
    low, high = (share * max(size) for share in POSSIBLE_FOCAL)
    return focal if low <= focal <= high else None


def _number(value: Any) -> float:
    """A positive number, or 0 for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def _file_of(intrinsics: str | os.PathLike[str]) -> Path | None:
    """The file that is meant; None if the text is numbers."""
    path = Path(intrinsics)
    if path.is_dir():
        path = path / "cameras.json"
    if path.suffix == ".json" and not path.is_file():
        raise ConfigError(f"There is no file {str(path)!r} with cameras.")
    if path.is_file() and path.name != "cameras.json":
        raise ConfigError(f"{str(path)!r} cannot be read as cameras: the file must be a cameras.json with K of photos.")
    return path if path.is_file() else None


def _from_file(path: Path, name: str, photo: Path, tags: Mapping[int, Any], options: CameraOptions) -> ColmapCamera:
    frames = read_cameras(path.parent).frames
    entries = [name, PurePosixPath(name).name, PurePosixPath(name).stem]
    entry = next((frames[entry] for entry in entries if entry in frames), None)
    if not isinstance(entry, Mapping) or "K" not in entry:
        raise ConfigError(f"{str(path)!r} has no camera of the photo {name!r} (an entry with its name, and K in it).")
    if options.model not in (None, "PINHOLE"):
        raise ConfigError(f"The cameras of {str(path)!r} are of the model PINHOLE, not {options.model}.")
    stated = (int(entry["width"]), int(entry["height"])) if "width" in entry and "height" in entry else None
    size = read_image_size(photo)
    upright = camera_of(entry["K"], size, repr(name), stated_size=stated)
    stored = StoredFrame(orientation=_orientation(tags), upright_size=size).camera_from_upright(upright)
    return ColmapCamera(
        model="PINHOLE", image_size=stored.image_size, params=colmap_pinhole(stored), prior=True, given=True
    )


def _parsed(text: str, model: str | None, size: tuple[int, int]) -> ColmapCamera:
    """The camera of numbers that a user typed."""
    if model is None:
        params = colmap_pinhole(PinholeCamera.parse(text, size))
        return ColmapCamera(model="PINHOLE", image_size=size, params=params, prior=True, given=True)
    names = MODELS[model][1]
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != len(names):
        raise ConfigError(f"The camera {text!r} is no {model}; give {','.join(names)} in pixels, as COLMAP has them.")
    camera = ColmapCamera(model=model, image_size=size, params=numbers, prior=True, given=True)
    replace(camera.pinhole, image_size=size)  # checks the numbers
    return camera


def _radial(rays: Float64[np.ndarray, "n 2"], terms: Mapping[str, float]) -> Float64[np.ndarray, "n 2"]:
    """Directions as SIMPLE_RADIAL, RADIAL and OPENCV bend them."""
    x, y = rays.T
    square = x * x + y * y
    factor = 1 + (terms.get("k", 0.0) + terms.get("k1", 0.0)) * square + terms.get("k2", 0.0) * square * square
    p1, p2 = terms.get("p1", 0.0), terms.get("p2", 0.0)
    bent_x = x * factor + 2 * p1 * x * y + p2 * (square + 2 * x * x)
    bent_y = y * factor + 2 * p2 * x * y + p1 * (square + 2 * y * y)
    return np.stack([bent_x, bent_y], axis=1)


def _fisheye(rays: Float64[np.ndarray, "n 2"], terms: Mapping[str, float]) -> Float64[np.ndarray, "n 2"]:
    """Directions as OPENCV_FISHEYE bends them."""
    radius = np.linalg.norm(rays, axis=1, keepdims=True).clip(1e-12)
    angle = np.arctan(radius)
    bent = angle * (1 + sum(terms[f"k{i}"] * angle ** (2 * i) for i in range(1, 5)))
    return np.asarray(rays * (bent / radius))
