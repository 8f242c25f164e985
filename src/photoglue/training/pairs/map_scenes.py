"""Scenes from maps: what `photoglue map`, or COLMAP, found out about photos is what a matcher learns from."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from photoglue.datasets.cameras import json_in
from photoglue.datasets.scenes import Frame, Scene
from photoglue.datasets.sparse import REACH, TRACKED_PX, SparseDepth
from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning
from photoglue.geometry.frames import StoredFrame
from photoglue.image import Resize, read_exif, read_image_size
from photoglue.solvers.colmap_lens import STRAIGHT, ColmapLens
from photoglue.solvers.colmap_model import Model, ModelImage, read_model

ORIENTATION = 0x0112
"""EXIF tag."""
MIN_ANGLE_DEG = 2.0
"""A point whose rays all meet at a smaller angle is left out: nobody knows its depth."""
MIN_POINTS = 30
"""A photo that sees fewer good points is left out."""
MIN_SHARED = 15
"""Photos that both see fewer good points make no pair."""
FOCAL = (0.2, 10.0)
"""Focal lengths that are believed, as shares of the photo's longer side."""
SHOWN = 5
"""Photos that a message names."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Placed:
    """A photo of a model, measured against it."""

    image: ModelImage
    """With those keypoints only that see a good point where it should be."""
    frame: Frame
    count: int
    """How many points that are."""


def read_maps(
    folders: Sequence[Path], *, photos: Path | None = None, longest_side: int = 1024, skip_missing: bool = False
) -> list[Scene]:
    """The scenes of some maps: each model in them is one, in a frame of reference of its own.

    Photos with bad cameras are left out, with a warning that names them: those of which fewer than 30 points of the
    model lie where they should, within 1.5 pixels, or most do not, and those with an impossible focal length. How much
    two photos overlap is the share of the points of either that both see, the smaller one (as D2-Net has it).

    Args:
        folders: Each made by `photoglue map`; or a COLMAP model, or a folder with models in ``sparse/``.
        photos: The folder that names in the models are relative to; None: the one that the map was made of, or
            ``images/`` beside the models.
        longest_side: Photos with a longer side are scaled down to it, pixels: all distances are of photos of that size.
            Photos of another size than in the model are good, if they have its shape.
        skip_missing: Leave out photos that are missing or of another shape, with a warning, instead of an error.

    Raises:
        ConfigError: If there is no model, its photos are nowhere, or no two photos see enough points in common.
        ImageError: If photos are missing, or of another shape than in the model; the message names them.
        MissingExtra: If a model is text or its cameras have distortion, and pycolmap is not installed.
    """
    if longest_side < 2:
        raise ConfigError(f"longest_side is {longest_side}; it must be 2 or more pixels.")
    scenes: list[Scene] = []
    for folder in folders:
        models = find_models(folder)
        place = photos or _photos_of(folder, models[0])
        name = _unlike(folder.resolve().name, [scene.name for scene in scenes])
        made = [
            _Reader(model, place, longest_side, skip_missing).scene(f"{name}-{model.name}" if models[1:] else name)
            for model in models
        ]
        problems = [problem for problem in made if isinstance(problem, str)]
        if len(problems) == len(made):
            raise ConfigError(" ".join(problems))
        for problem in problems:
            warnings.warn(f"{problem} It is left out.", PhotoGlueWarning, stacklevel=2)
        scenes += [scene for scene in made if isinstance(scene, Scene)]
    return scenes


def find_models(folder: Path) -> list[Path]:
    """The folders of the models in a map: itself, or those in ``sparse/`` or just below it, by name.

    Raises:
        ConfigError: If there is none.
    """
    for place in (folder, folder / "sparse", *(place for base in ("sparse", ".") for place in [folder / base / "*"])):
        found = [path for path in sorted(place.parent.glob(place.name)) if _is_model(path)]
        if found:
            return found
    what = "holds no model" if folder.is_dir() else "does not exist"
    raise ConfigError(
        f"The map {str(folder)!r} {what}: cameras, images and points3D (.bin or .txt) were wanted, there or in "
        "sparse/0. `photoglue map PHOTOS --out DIR` makes one."
    )


def _is_model(folder: Path) -> bool:
    return any((folder / f"images{ending}").is_file() for ending in (".bin", ".txt"))


def _photos_of(folder: Path, model: Path) -> Path:
    """Where the photos of a map are, if nobody says."""
    record = json_in(folder / "run.json") if (folder / "run.json").is_file() else {}
    stated = record.get("photos") if isinstance(record, dict) else None
    beside = [place / "images" for place in (folder, model.parent, model.parent.parent)]
    places = [Path(stated)] if isinstance(stated, str) else beside
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        why = f"They were in {stated!r}" if isinstance(stated, str) else "There is no folder images/ beside the model"
        raise ConfigError(f"Where are the photos of the map {str(folder)!r}? {why}. Name their folder with --photos.")
    return found


def _unlike(name: str, others: Sequence[str]) -> str:
    """The name, with a number behind it if there is another scene of that name already."""
    number, found = 1, name
    while any(other == found or other.startswith(f"{found}-") for other in others):
        number += 1
        found = f"{name}({number})"
    return found


class _Reader:
    """One model, read photo by photo."""

    def __init__(self, folder: Path, photos: Path, longest_side: int, skip_missing: bool) -> None:
        self.folder, self.photos, self.longest_side, self.skip_missing = folder, photos, longest_side, skip_missing
        self.model: Model = read_model(folder)
        self.absent: list[str] = []
        self.bad: list[str] = []

    def scene(self, name: str) -> Scene | str:
        """The scene, or why the model makes none."""
        lenses = {image.name: self._lens(image) for image in self.model.images}
        self._speak_of_absent()
        good = _wide_enough(self.model)
        placed = {
            image.name: found
            for image in self.model.images
            if (lens := lenses[image.name]) is not None and (found := self._placed(image, lens, good)) is not None
        }
        if self.bad:
            warnings.warn(
                f"Map {name!r}: {len(self.bad)} of {len(self.model.images)} photos are left out, since their cameras "
                f"are not to be trusted: {_some(self.bad)}.",
                PhotoGlueWarning,
                stacklevel=4,
            )
        shared = replace(self.model, images=tuple(each.image for each in placed.values())).shared_points()
        pairs = {pair: count for pair, count in shared.items() if count >= MIN_SHARED}
        if not pairs:
            most = max(shared.values(), default=0)
            return (
                f"In the model {str(self.folder)!r} no two photos see {MIN_SHARED} good points in common (at most "
                f"{most}, {len(placed)} of {len(self.model.images)} photos are good): nothing can be learned from it. "
                "Map more photos, taken nearer to each other."
            )
        return _scene(name, placed, pairs)

    def _lens(self, image: ModelImage) -> ColmapLens | None:
        """The lens of a photo as it is on disk, scaled; None if it cannot be used, which is noted."""
        name = PurePosixPath(image.name)
        if name.is_absolute() or ".." in name.parts:
            raise ConfigError(f"The model's photo {image.name!r} would lie outside the folder of photos.")
        path, record = self.photos / image.name, self.model.cameras[image.camera_id]
        if not path.is_file():
            self.absent.append(f"{image.name} (missing)")
            return None
        width, height = read_image_size(path, upright=False)
        width0, height0 = record.image_size
        if abs(width * height0 - height * width0) > max(width0, height0):  # by more than rounding to whole pixels
            what = f"{width} × {height} stored pixels, in the model {width0} × {height0}"
            self.absent.append(f"{image.name} ({what})")
            return None
        upright = read_image_size(path)
        size = Resize.long_side(upright, min(self.longest_side, max(upright))).resized_size
        tag = read_exif(path).get(ORIENTATION, 1)
        frame = StoredFrame(orientation=tag if tag in range(1, 9) else 1, upright_size=size)
        try:
            if frame.mirrors:
                raise ConfigError("EXIF mirrors it")
            return ColmapLens(record=record, frame=frame)
        except ConfigError as error:
            self.bad.append(f"{image.name} ({error})")
            return None

    def _speak_of_absent(self) -> None:
        if not self.absent:
            return
        message = (
            f"{len(self.absent)} of {len(self.model.images)} photos of the model {str(self.folder)!r} are not in "
            f"{str(self.photos)!r}, or have another shape there: {_some(self.absent)}."
        )
        if not self.skip_missing or len(self.absent) == len(self.model.images):
            raise ImageError(
                f"{message} Name the folder that names in the model are relative to with --photos; leave out the "
                "photos with --skip-missing (skip_missing=True)."
            )
        warnings.warn(f"{message} They are left out.", PhotoGlueWarning, stacklevel=4)

    def _placed(self, image: ModelImage, lens: ColmapLens, good: Bool[Tensor, " m"]) -> _Placed | None:
        """The photo with the points that it sees; None if its camera is bad, which is noted."""
        camera, pose = lens.pinhole, image.upright(lens.frame)
        if not FOCAL[0] <= max(camera.fx, camera.fy) / max(camera.image_size) <= FOCAL[1]:
            self.bad.append(f"{image.name} (focal length {camera.fx:.0f} of {max(camera.image_size)} pixels)")
            return None
        xyz = self.model.points[image.points] @ pose[:3, :3].T + pose[:3, 3]
        focal, centre = (xyz.new_tensor(pair) for pair in ((camera.fx, camera.fy), (camera.cx, camera.cy)))
        projected = xyz[:, :2] / xyz[:, 2:] * focal + centre
        errors = (projected - lens(lens.to_photo(image.keypoints))).norm(dim=1)
        there = (errors < TRACKED_PX) & (xyz[:, 2] > 0)
        kept = there & good[image.points]
        if 2 * int(there.sum()) < len(errors) or int(kept.sum()) < MIN_POINTS:
            seen = f"{int(there.sum())} of {len(errors)} points are where they should be, {int(kept.sum())} good ones"
            self.bad.append(f"{image.name} ({seen})")
            return None
        depth = SparseDepth(
            points=projected[kept],
            depths=xyz[kept, 2],
            sway=max(camera.fx, camera.fy),
            reach=REACH * max(camera.image_size),
            lens=None if lens.record.model in STRAIGHT else lens,
        )
        frame = Frame(
            name=image.name,
            image_path=self.photos / image.name,
            depth=depth,
            camera=camera,
            cam_from_world=pose,
        )
        image = replace(image, keypoints=image.keypoints[kept], points=image.points[kept])
        return _Placed(image=image, frame=frame, count=len(torch.unique(image.points)))


def _scene(name: str, placed: dict[str, _Placed], pairs: dict[tuple[str, str], int]) -> Scene:
    """The scene of photos that have pairs."""
    names = sorted({each for pair in pairs for each in pair})
    number = {each: i for i, each in enumerate(names)}
    farthest = dict.fromkeys(names, 0.0)
    overlaps = []
    for (name0, name1), count in pairs.items():
        first, second = placed[name0], placed[name1]
        apart = float((first.image.centre - second.image.centre).norm())
        farthest[name0], farthest[name1] = max(farthest[name0], apart), max(farthest[name1], apart)
        overlaps.append(count / max(first.count, second.count))
    frames = []
    for each in names:
        frame = placed[each].frame
        assert isinstance(frame.depth, SparseDepth)
        frames.append(replace(frame, depth=replace(frame.depth, sway=frame.depth.sway * farthest[each])))
    return Scene(
        name=name,
        frames=tuple(frames),
        pairs=torch.tensor([sorted((number[i], number[j])) for i, j in pairs], dtype=torch.int64),
        overlaps=torch.tensor(overlaps, dtype=torch.float64),
    )


def _wide_enough(model: Model) -> Bool[Tensor, " m"]:
    """Which points are seen from directions far enough apart, and are finite."""
    total = torch.zeros_like(model.points)
    rays = []
    for image in model.images:
        ray = torch.nn.functional.normalize(image.centre - model.points[image.points], dim=1)
        total.index_add_(0, image.points, ray)
        rays.append((image.points, ray))
    mean = torch.nn.functional.normalize(total, dim=1)
    least: Float64[Tensor, " m"] = torch.ones(len(model.points), dtype=torch.float64)
    for points, ray in rays:
        least.scatter_reduce_(0, points, (ray * mean[points]).sum(dim=1), "amin")
    # Two rays are at most twice as far apart as the one that is farther from their mean; just that for two rays.
    return (least < math.cos(math.radians(MIN_ANGLE_DEG / 2))) & model.points.isfinite().all(dim=1)


def _some(names: Sequence[str]) -> str:
    """The first few of many."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
