"""A COLMAP model in the form that the next program reads: 3DGS and gsplat, viewers of points, text.

All of them read the *stored* pixels of photos, as COLMAP does.
"""

import os
import shutil
import struct
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import PIL.Image
from jaxtyping import Float64, UInt8
from torch import Tensor

from photoglue.decode import orientation_of
from photoglue.errors import ConfigError, ImageError, OutputError, PhotoGlueError
from photoglue.files import check_output, digest_of, digest_of_file, from_json, to_json, write_whole
from photoglue.image import read_image_size
from photoglue.solvers.colmap import pycolmap
from photoglue.solvers.colmap_files import images_without
from photoglue.solvers.colmap_model import FILES, Model, read_model

NAMES_SHOWN = 5
"""Photos that an error names."""
GROWTH = 2
"""How many times the bytes of a photo its undistorted JPEG takes, about: COLMAP hardly compresses it."""
RECORD = "undistorted.json"
"""What ``undistort`` leaves in its folder to know it again."""
TEXT_FILES = frozenset(f"{name}.txt" for name in (*FILES, "rigs", "frames"))


@dataclass(frozen=True, kw_only=True)
class Undistorted:
    """What ``undistort`` wrote."""

    made_from: str
    """A digest of the model and its photos."""
    images: int
    """How many photos."""
    left_out: tuple[str, ...]
    """Photos that are in the model but see no point of it, on which gsplat fails."""


def undistort(
    model: str | os.PathLike[str], photos: str | os.PathLike[str], out: str | os.PathLike[str]
) -> Undistorted:
    """Write photos without distortion and their PINHOLE model, as 3D Gaussian splatting (3DGS, gsplat) reads them.

    ``out/images`` holds the photos under their names, ``out/sparse/0`` the model. The folder appears when it is whole.
    If it is there already, from the same model and photos, nothing is done; from others, it is replaced.

    The photos stay turned as they are stored, and lose their EXIF orientation: programs that apply it would no longer
    agree with the model.

    Args:
        model: The folder of a COLMAP model, of any camera models that COLMAP can undistort.
        photos: The folder that its names are paths below.
        out: A new or empty folder, or one that this function wrote.

    Raises:
        ConfigError: If the model cannot be read, or ``out`` holds something else.
        ImageError: If photos are missing, or are not of the size that the model says.
        OutputError: If the folder cannot be written.
        MissingExtra: If pycolmap is not installed.
    """
    model, photos, out = Path(model), Path(photos), Path(out)
    view = read_model(model)
    check_photos(view, photos)
    made_from = digest_of(
        [digest_of_file(path) for path in _files_of(model)]
        + [(image.name, digest_of_file(photos / image.name)) for image in view.images]
    )
    before = _known(out)
    if before is not None and before.made_from == made_from and _is_whole(out, view, before):
        return before
    left_out = tuple(image.name for image in view.images if not len(image.points))
    if len(left_out) == len(view.images):
        raise ConfigError(f"No photo of the model {str(model)!r} sees a point of it: nothing can be made of it.")
    result = Undistorted(made_from=made_from, images=len(view.images) - len(left_out), left_out=left_out)
    _check_room(out, sum((photos / image.name).stat().st_size for image in view.images))
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _undistort(model, photos, partial, view, left_out)
        write_whole(partial / RECORD, to_json(result, indent=1).encode())
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    except PhotoGlueError:
        raise
    except OSError as error:
        raise OutputError(f"{str(out)!r} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return result


def write_ply(model: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Write the points of a COLMAP model with their colours as a binary PLY file, as viewers and 3D editors read it.

    Raises:
        ConfigError: If the model cannot be read, or the file's name does not end in .ply.
        OutputError: If it cannot be written.
    """
    out = Path(out)
    check_output(out, (".ply",))
    view = read_model(model)
    write_whole(out, ply_of(view.points, view.colours, text=False))


def write_text(model: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Write a COLMAP model as text: ``cameras.txt``, ``images.txt``, ``points3D.txt``, which next to all programs read.

    From pycolmap 3.12 on, ``rigs.txt`` and ``frames.txt`` are with them.

    Args:
        model: The folder of a COLMAP model.
        out: A folder that is new, empty, or holds such files, which are replaced.

    Raises:
        ConfigError: If the model cannot be read, or ``out`` holds something else.
        OutputError: If a file cannot be written.
        MissingExtra: If pycolmap is not installed.
    """
    out = Path(out)
    read_model(model)  # pycolmap waits for ever on files that are cut off
    _check_folder(out, TEXT_FILES)
    with tempfile.TemporaryDirectory() as place:
        pycolmap().Reconstruction(str(model)).write_text(place)
        make_folder(out)
        for path in sorted(Path(place).iterdir()):
            write_whole(out / path.name, path.read_bytes())


def _undistort(model: Path, photos: Path, out: Path, view: Model, left_out: tuple[str, ...]) -> None:
    """Let COLMAP do it, and bring what it wrote into the form that is wanted."""
    damaged = [image.name for image in view.images if not _is_readable(photos / image.name)]
    if damaged:  # COLMAP would fill what is missing with grey
        raise ImageError(f"{_some(damaged)}: damaged or cut off, and cannot be read whole; copy them anew.")
    try:
        pycolmap().undistort_images(str(out), str(model), str(photos))
    except (ValueError, RuntimeError, IndexError) as error:
        raise ConfigError(f"COLMAP cannot undistort {str(model)!r}: {' '.join(str(error).split())}") from error
    sparse, place = out / "sparse", out / "sparse" / "0"
    place.mkdir()
    for name in FILES:
        (sparse / f"{name}.bin").rename(place / f"{name}.bin")
    # Readers of all ages take models without rigs and frames; what else COLMAP leaves there is for its dense stereo.
    for path in [*sparse.glob("*.bin"), *out.glob("run-colmap-*.sh")]:
        path.unlink()
    shutil.rmtree(out / "stereo", ignore_errors=True)
    unread = [image.name for image in view.images if not (out / "images" / image.name).is_file()]
    if unread:
        raise ImageError(f"COLMAP cannot read {_some(unread)}; give the photos as JPEG, PNG or TIFF.")
    for name in left_out:
        (out / "images" / name).unlink()
    if left_out:
        write_whole(place / "images.bin", images_without(place / "images.bin", set(left_out)))
    for image in view.images:
        if image.name not in left_out:
            _drop_orientation(out / "images" / image.name)


def _check_room(out: Path, size: int) -> None:
    """Refuse a disk on which the photos would hardly fit: COLMAP ends the whole process when it is full."""
    above = next(folder for folder in out.absolute().parents if folder.is_dir())
    wanted, free = GROWTH * size, shutil.disk_usage(above).free
    if free < wanted:
        raise OutputError(
            f"{str(out)!r} needs about {wanted / 1e6:,.0f} MB, and its disk has {free / 1e6:,.0f} MB left; make room."
        )


def _is_readable(path: Path) -> bool:
    try:
        with PIL.Image.open(path) as picture:
            picture.draft(None, (1, 1))  # a JPEG's pixels are read, but not worked out
            picture.load()
    except (OSError, ValueError, SyntaxError):
        return False
    return True


def _drop_orientation(path: Path) -> None:
    """Set the EXIF orientation of a picture to 1; its pixels stay."""
    with PIL.Image.open(path) as picture:
        if orientation_of(picture) == 1:
            return
        exif = picture.getexif()
        exif[PIL.ExifTags.Base.Orientation] = 1
        if picture.format != "JPEG":
            picture.load()
            picture.save(path, picture.format, exif=exif)
            return
        stored = picture.info["exif"]
    data = path.read_bytes()
    start = data.index(stored) + (6 if stored.startswith(b"Exif\0\0") else 0)
    order = "<" if data[start : start + 2] == b"II" else ">"
    (offset,) = struct.unpack_from(order + "I", data, start + 4)
    (entries,) = struct.unpack_from(order + "H", data, start + offset)
    changed = bytearray(data)
    for entry in range(start + offset + 2, start + offset + 2 + 12 * entries, 12):
        if struct.unpack_from(order + "H", data, entry)[0] == PIL.ExifTags.Base.Orientation:
            struct.pack_into(order + "H", changed, entry + 8, 1)
    path.write_bytes(changed)


def check_photos(view: Model, photos: Path) -> None:
    """Refuse names that lead out of the folder, and photos that are missing or of another size than their cameras.

    Raises:
        ConfigError: If a name in the model is no path below a folder.
        ImageError: If a photo is missing or was resized; the message names them.
    """
    for image in view.images:
        name = PurePosixPath(image.name)
        if name.is_absolute() or ".." in name.parts:
            raise ConfigError(f"The model's photo {image.name!r} would lie outside the folder of photos.")
    missing = [image.name for image in view.images if not (photos / image.name).is_file()]
    if missing:
        raise ImageError(
            f"{len(missing)} of {len(view.images)} photos of the model are not in {str(photos)!r}: {_some(missing)}. "
            "Give the folder that the names in the model are paths below."
        )
    resized = []
    for image in view.images:
        size, wanted = read_image_size(photos / image.name, upright=False), view.cameras[image.camera_id].image_size
        if size != wanted:
            resized.append(f"{image.name} ({size[0]} × {size[1]}, in the model {wanted[0]} × {wanted[1]})")
    if resized:
        raise ImageError(
            f"{len(resized)} of {len(view.images)} photos in {str(photos)!r} are not of the size that their cameras "
            f"have: {_some(resized)}. Give the photos that the model was made from, turned as they were."
        )


def _some(names: Iterable[str]) -> str:
    """The first few of many."""
    names = list(names)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _files_of(model: Path) -> list[Path]:
    ending = ".bin" if (model / "images.bin").is_file() else ".txt"
    return [model / f"{name}{ending}" for name in FILES]


def _known(out: Path) -> Undistorted | None:
    """What an earlier run wrote, if it did; a folder of something else is refused."""
    _check_folder(out, {RECORD, "images", "sparse"})
    if not (out / RECORD).is_file():
        _check_folder(out, ())
        return None
    return from_json(Undistorted, (out / RECORD).read_bytes(), origin=str(out / RECORD))


def _is_whole(out: Path, view: Model, result: Undistorted) -> bool:
    """Whether nobody took away some of what an earlier run wrote."""
    wanted = [out / "sparse" / "0" / f"{name}.bin" for name in FILES]
    wanted += [out / "images" / image.name for image in view.images if image.name not in result.left_out]
    return all(path.is_file() for path in wanted)


def _check_folder(out: Path, ours: Iterable[str]) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{str(out)!r} is a file; give a folder.")
    others = sorted({path.name for path in out.iterdir()} - set(ours)) if out.is_dir() else []
    if others:
        raise ConfigError(f"The folder {str(out)!r} holds something else ({_some(others)}); give a new or empty one.")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        OutputError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {str(folder)!r} cannot be made: {error.strerror}.") from error


def ply_of(points: Float64[Tensor, "m 3"], colours: UInt8[Tensor, "m 3"], *, text: bool) -> bytes:
    """A PLY file of points with their colours, as text or binary; float32."""
    kind = [("xyz", "<f4", 3), ("rgb", "u1", 3)]
    records = np.empty(len(points), dtype=kind)
    records["xyz"], records["rgb"] = points.numpy(), colours.numpy()
    header = ["ply", f"format {'ascii' if text else 'binary_little_endian'} 1.0", f"element vertex {len(points)}"]
    header += [f"property float {axis}" for axis in "xyz"]
    header += [f"property uint8 {colour}" for colour in ("red", "green", "blue")]
    start = "\n".join([*header, "end_header\n"]).encode()
    if not text:
        return start + records.tobytes()
    rows = zip(records["xyz"].tolist(), records["rgb"].tolist(), strict=True)
    return start + "".join(f"{x:.9g} {y:.9g} {z:.9g} {r} {g} {b}\n" for (x, y, z), (r, g, b) in rows).encode()
