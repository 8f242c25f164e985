"""Any COLMAP model and its photos → the folder of a map with our features, in which photos can be placed."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from photoglue import batch
from photoglue.datasets.photos import PhotoFolder, write_pairs
from photoglue.errors import ConfigError, ImageError, OutputError
from photoglue.extractors.base import Extractor
from photoglue.extractors.named import named_extractor
from photoglue.files import digest_of, digest_of_file, write_whole
from photoglue.image import read_image_size
from photoglue.matchers.base import Matcher
from photoglue.pipeline import create_matcher
from photoglue.precision import choose_device
from photoglue.sfm.cameras import MODELS, Cameras, ColmapCamera
from photoglue.sfm.database import write_database
from photoglue.sfm.folder import FORMAT, RunRecord, prepare, write_record
from photoglue.sfm.locating.cameras import colmap_camera
from photoglue.sfm.pairs import PairOptions, find_pairs
from photoglue.sfm.stages import Progress
from photoglue.sfm.verify import verify_matches
from photoglue.solvers.colmap_facts import model_facts
from photoglue.solvers.colmap_files import CameraRecord
from photoglue.solvers.colmap_model import Model, read_model
from photoglue.solvers.colmap_triangulation import triangulate, write_posed
from photoglue.version import __version__

LEAST_SHARED = 15
"""Points that two photos must both see to be matched."""
ROUNDING_PX = 1.0
"""How far the height of a resized photo may be from its width times the aspect, pixels."""
NAMES_TOLD = 5
MADE_FROM = "adopted.txt"
"""File beside the points that names what they were made from."""


@dataclass(frozen=True, kw_only=True)
class AdoptOptions:
    """How a COLMAP model gets features of ours."""

    features: str = "aliked"
    """Name of the local features, or a class of your own as path/file.py:Class."""
    max_keypoints: int | None = 4096
    """At most so many points in each photo, the best; None: all."""
    resize: int | None = 1024
    """Length of the longer side that the extractor sees, pixels; None: the photo as it is."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially."""
    partners: int = 20
    """Each photo is matched with so many that see most of its points or, in a model without points, that stand nearest
    and look the same way; pairs are those of either photo."""
    device: str | None = None
    """Device to compute on; None: a GPU if there is one."""


@dataclass(frozen=True, kw_only=True)
class AdoptedMap:
    """What became of a model."""

    out: Path
    """The folder of the map, for ``Localizer``."""
    photos: int
    """Photos of the model that are in it."""
    points: int
    """Points that were made of our features."""
    notes: tuple[str, ...]
    """What was strange: photos that are missing or were resized, by name."""


def adopt_model(
    model: str | os.PathLike[str],
    photos: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    options: AdoptOptions | None = None,
    *,
    extractor: Extractor | None = None,
    matcher: Matcher | None = None,
    engine: batch.Engine | None = None,
    progress: Progress | None = None,
) -> AdoptedMap:
    """Prepares any COLMAP model, of SIFT or other features, for ``Localizer``; the model itself is not touched.

    Our features are extracted in the model's photos, matched among photos that see the same points, and triangulated
    with the poses and cameras of the model, which stay as they are. A model without points will do. If this is
    interrupted, the same call goes on; if nothing changed since, nothing is done.

    Args:
        model: The folder of the model, binary or text.
        photos: The folder that its names are paths below. Photos that are missing, or not of the size that the model
            says, are left out and named; those that were made smaller or larger as a whole are used, and their cameras
            are scaled.
        out: The folder for the result; None: beside the model, with "-photoglue" behind its name.
        options: Which features; None: the defaults.
        extractor: An extractor to use as it is, instead of the one that ``options`` name.
        matcher: A matcher to use as it is; None: LightGlue.
        engine: Where photos are extracted and pairs matched; None: in this process.
        progress: Called with (stage, done, in all), often.

    Raises:
        ConfigError: If there is no model, none of its photos can be used, or ``out`` holds something else.
        OutputError: If a file cannot be written. What was done is kept.
        PhotoGlueError: If COLMAP fails.
        MissingExtra: If pycolmap, PoseLib or h5py is not installed.
    """
    options, model, root = options or AdoptOptions(), Path(model), Path(photos)
    out = model.resolve().with_name(f"{model.resolve().name}-photoglue") if out is None else Path(out)
    told = progress or (lambda *_: None)
    view = read_model(model)
    usable, notes = _usable(view, root, model)
    record = RunRecord(
        format=FORMAT,
        photos=str(root.resolve()),
        names=tuple(sorted(usable)),
        settings=_settings(options, model),
        version=__version__,
    )
    notes += prepare(out, PhotoFolder(root=root, names=tuple(sorted(usable))), record)
    write_record(out, record)
    device = choose_device(options.device)
    extractor = extractor or named_extractor(
        options.features,
        allow_noncommercial=options.allow_noncommercial,
        max_keypoints=options.max_keypoints,
        resize=options.resize,
    ).to(device)
    paths = {name: root / name for name in sorted(usable)}
    features, matches, verified = (out / f"{name}.h5" for name in ("features", "matches", "verified"))
    summary = batch.extract(paths, features, extractor, engine=engine, progress=lambda *done: told("extract", *done))
    notes += summary.lines()
    usable = {name: camera for name, camera in usable.items() if name not in summary.failed}
    pairs = _pairs(view, model, usable, paths, options.partners)
    write_pairs(pairs, out / "pairs.txt")
    matcher = matcher or create_matcher(extractor.kind, None, None, device, "auto")
    batch.match(pairs, features, matches, matcher, engine=engine, progress=lambda *done: told("match", *done))
    cameras = _cameras(usable)
    stores = {"features": features, "matches": matches, "verified": verified}
    verify_matches(
        pairs, features, matches, verified, cameras, engine=engine, progress=lambda *done: told("verify", *done)
    )
    _triangulated(view, usable, cameras, root, out, {**stores, "pairs": pairs})
    facts = model_facts(out / "sparse" / "0")
    if not facts.points:
        notes.append("no points could be made of the matches")
    return AdoptedMap(out=out, photos=len(facts.placed), points=facts.points, notes=tuple(notes))


def _settings(options: AdoptOptions, model: Path) -> dict[str, Any]:
    return {
        "features": options.features,
        "max_keypoints": options.max_keypoints,
        "resize": options.resize,
        "allow_noncommercial": options.allow_noncommercial,
        "model": str(model.resolve()),
    }


def _usable(view: Model, root: Path, model: Path) -> tuple[dict[str, ColmapCamera], list[str]]:
    """The photos that can be used, with their cameras at the size that they have; and what is wrong with others."""
    found: dict[str, ColmapCamera] = {}
    missing, resized, wrong = [], [], []
    for image in view.images:
        camera = view.cameras[image.camera_id]
        try:
            size = read_image_size(root / image.name, upright=False)
        except ImageError:
            missing.append(image.name)
            continue
        scaled = scaled_camera(camera, size)
        if scaled is None:
            wrong.append(
                f"{image.name} ({size[0]} × {size[1]}, in the model {camera.image_size[0]} × {camera.image_size[1]})"
            )
            continue
        if scaled is not camera:
            resized.append(image.name)
        found[image.name] = colmap_camera(scaled)
    notes = [
        f"{len(names)} of {len(view.images)} photos {what}: {', '.join(names[:NAMES_TOLD])}"
        f"{', …' * (len(names) > NAMES_TOLD)}"
        for names, what in (
            (missing, f"of the model are not in {str(root)!r}, or cannot be read, and are left out"),
            (wrong, "have another aspect than the model says, and are left out"),
            (resized, "have another size than the model says; their cameras were scaled"),
        )
        if names
    ]
    if not found:
        raise ConfigError(f"No photo of the model {str(model)!r} can be used. {'. '.join(notes) or 'It has none'}.")
    return found, notes


def scaled_camera(camera: CameraRecord, size: tuple[int, int]) -> CameraRecord | None:
    """The camera of a photo that was resized; None: it has another aspect, so that it was cropped or is another photo.

    COLMAP's coordinates begin at the corner of the image, so that all lengths are multiplied, and nothing else.
    """
    if camera.image_size == size:
        return camera
    (width, height), (new_width, new_height) = camera.image_size, size
    if abs(new_width / width * height - new_height) > ROUNDING_PX:
        return None
    names = colmap_camera(camera)
    factors = {"x": new_width / width, "y": new_height / height}
    both = (factors["x"] * factors["y"]) ** 0.5
    terms = {"f": both, "fx": factors["x"], "fy": factors["y"], "cx": factors["x"], "cy": factors["y"]}
    values = [
        value * terms.get(name, 1.0) for name, value in zip(MODELS[names.model][1], camera.parameters, strict=True)
    ]
    return replace(camera, image_size=size, parameters=tuple(values))


def _pairs(
    view: Model, model: Path, usable: Mapping[str, ColmapCamera], paths: Mapping[str, Path], count: int
) -> list[tuple[str, str]]:
    """Photos that see the same points of the model; of a model without points, those that stand and look alike."""
    partners: dict[str, list[tuple[int, str]]] = {}
    for (name0, name1), shared in view.shared_points().items():
        if shared >= LEAST_SHARED and name0 in usable and name1 in usable:
            partners.setdefault(name0, []).append((-shared, name1))
            partners.setdefault(name1, []).append((-shared, name0))
    found = {(min(name, other), max(name, other)) for name, row in partners.items() for _, other in sorted(row)[:count]}
    if not found and len(usable) > 1:
        photos = {name: paths[name] for name in sorted(usable)}
        found = {
            (min(pair), max(pair))
            for pair in find_pairs(photos, by="poses", model=model, options=PairOptions(neighbors=count))
        }
    return sorted(found)


def _cameras(usable: Mapping[str, ColmapCamera]) -> Cameras:
    """Each different camera once."""
    different = list(dict.fromkeys(usable[name] for name in sorted(usable)))
    return Cameras(
        cameras=tuple(different), number_of={name: different.index(camera) for name, camera in sorted(usable.items())}
    )


def _triangulated(
    view: Model,
    usable: Mapping[str, ColmapCamera],
    cameras: Cameras,
    root: Path,
    out: Path,
    given: Mapping[str, Any],
) -> None:
    """Points of our features, in sparse/0; nothing is done if they are there already, made of the same."""
    images = [image for image in view.images if image.name in usable]
    numbers = {image.name: (i, cameras.number_of[image.name] + 1) for i, image in enumerate(images, start=1)}
    write_database(out / "database.db", cameras=cameras, first=numbers, **given)
    records = [
        CameraRecord(camera_id=i, model=camera.model, image_size=camera.image_size, parameters=camera.params)
        for i, camera in enumerate(cameras.cameras, start=1)
    ]
    poses = [(*numbers[image.name], image.name, image.cam_from_world) for image in images]
    made_from = digest_of(
        [digest_of_file(out / "database.db"), [str(each) for each in records], [each[3].tolist() for each in poses]]
    )
    sparse = out / "sparse"
    if (sparse / MADE_FROM).is_file() and (sparse / MADE_FROM).read_text() == made_from:
        return
    try:
        with tempfile.TemporaryDirectory(dir=out, prefix="sparse.", suffix=".partial") as place:
            work = Path(place)
            for name in ("known", "new/0"):
                (work / name).mkdir(parents=True)
            write_posed(work / "known", records, poses)
            shutil.copyfile(out / "database.db", work / "database.db")
            triangulate(work / "known", work / "database.db", root, work / "new" / "0")
            write_whole(work / "new" / MADE_FROM, made_from.encode())
            shutil.rmtree(sparse, ignore_errors=True)
            (work / "new").replace(sparse)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{str(sparse)!r} cannot be written: {error}.") from error
