"""Answers of the localizer as files: JSON, hloc's results.txt, a TUM trajectory, and a COLMAP model as text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from photoglue.datasets.images import lines_of
from photoglue.errors import ConfigError
from photoglue.files import as_json, to_json, write_whole
from photoglue.geometry.frames import StoredFrame
from photoglue.geometry.pose import quaternion_from_rotation
from photoglue.sfm.cameras import MODELS, ColmapCamera
from photoglue.sfm.locating.answer import Localisation, NearPhoto, Uncertainty
from photoglue.sfm.locating.cameras import FocalSource

JSON, HLOC, TUM, COLMAP = "results.json", "results.txt", "trajectory_tum.txt", "sparse"
"""What ``write_localisations`` writes into its folder."""
FRAMES = (
    "upright: the photo as it is shown, its EXIF orientation applied, the centre of the top-left pixel at (0, 0)",
    "stored: the pixels of the file, as COLMAP and hloc read them, the centre of the top-left pixel at (0.5, 0.5)",
)


@dataclass(frozen=True, kw_only=True)
class LocalisationRecord:
    """An answer as JSON can hold it."""

    name: str
    localised: bool
    reason: str | None = None
    upright_cam_from_world: tuple[tuple[float, ...], ...] | None = None
    stored_cam_from_world: tuple[tuple[float, ...], ...] | None = None
    stored_camera: ColmapCamera | None = None
    exif_orientation: int | None = None
    upright_size: tuple[int, ...] | None = None
    focal_source: FocalSource | None = None
    inliers: int = 0
    matches: int = 0
    agreement: float = 0.0
    predicted: int = 0
    confirmed: int = 0
    uncertainty: Uncertainty | None = None
    nearest: tuple[NearPhoto, ...] = ()
    turned_deg: int = 0
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    keypoints: tuple[tuple[float, ...], ...] | None = None
    points: tuple[int, ...] | None = None

    @classmethod
    def of(cls, answer: Localisation) -> "LocalisationRecord":
        """The record of an answer."""
        plain = {name: getattr(answer, name) for name in PLAIN}
        frame = answer.frame
        return cls(
            **plain,
            upright_cam_from_world=_rows(answer.cam_from_world),
            stored_cam_from_world=_rows(answer.stored_cam_from_world),
            exif_orientation=None if frame is None else frame.orientation,
            upright_size=None if frame is None else frame.upright_size,
            keypoints=_rows(None if answer.keypoints is None else (answer.keypoints * 100).round() / 100),
            points=None if answer.points is None else tuple(answer.points.tolist()),
        )

    def answer(self) -> Localisation:
        """The answer of a record."""
        plain = {name: getattr(self, name) for name in PLAIN}
        frame = None
        if self.exif_orientation is not None and self.upright_size is not None:
            width, height = self.upright_size
            frame = StoredFrame(orientation=self.exif_orientation, upright_size=(width, height))
        return Localisation(
            **plain,
            frame=frame,
            cam_from_world=_pose(self.upright_cam_from_world),
            stored_cam_from_world=_pose(self.stored_cam_from_world),
            keypoints=None if self.keypoints is None else torch.tensor(self.keypoints).reshape(-1, 2),
            points=None if self.points is None else torch.tensor(self.points, dtype=torch.int64),
        )


PLAIN = (
    "name", "localised", "reason", "stored_camera", "focal_source", "inliers", "matches", "agreement", "predicted",
    "confirmed", "uncertainty", "nearest", "turned_deg", "notes", "seconds",
)  # fmt: skip
"""What answer and record have in the same form."""


def write_localisations(answers: Iterable[Localisation], out: Path) -> list[Path]:
    """Write answers in all formats.

    ``results.json`` has all answers, with the poses of the upright and of the stored photos. ``results.txt`` is hloc's:
    name, quaternion (w, x, y, z) and translation of ``cam_from_world`` of the stored photo. ``trajectory_tum.txt`` has
    the number of the photo, place and quaternion (x, y, z, w) of ``world_from_cam`` of the upright photo.
    ``sparse/cameras.txt``, ``images.txt`` and an empty ``points3D.txt`` are a COLMAP model of the photos that have a
    place. Others are in ``results.json`` alone.

    Args:
        answers: In the order in which they are written.
        out: An existing folder.

    Returns:
        The files.

    Raises:
        OutputError: If one cannot be written.
    """
    answers = list(answers)
    placed = [answer for answer in answers if answer.localised]
    (out / COLMAP).mkdir(exist_ok=True)
    contents = {
        JSON: to_json({"frames": FRAMES, "photos": [_public(answer) for answer in answers]}, indent=1),
        HLOC: "".join(f"{each.name} {_words(each.stored_cam_from_world)}\n" for each in placed),
        TUM: "".join(
            f"# {number} {each.name}\n{number} {_trajectory(each)}\n"
            for number, each in enumerate(answers)
            if each.localised
        ),
        f"{COLMAP}/cameras.txt": "".join(_camera(number, each) for number, each in enumerate(placed, start=1)),
        f"{COLMAP}/images.txt": "".join(
            f"{number} {_words(each.stored_cam_from_world)} {number} {each.name}\n\n"
            for number, each in enumerate(placed, start=1)
        ),
        f"{COLMAP}/points3D.txt": "",
    }
    for name, content in contents.items():
        write_whole(out / name, content.encode())
    return [out / name for name in contents]


def read_queries(path: Path) -> dict[str, ColmapCamera]:
    """The cameras of hloc's ``queries_with_intrinsics.txt``: name, model, width, height and parameters in each line.

    Raises:
        ConfigError: If the file cannot be read, or a line is something else.
    """
    found = {}
    for number, words in lines_of(path):
        try:
            name, model, width, height, *values = words
            names = MODELS[model][1]
            params = tuple(map(float, values))
            if len(params) != len(names):
                raise ValueError
            camera = ColmapCamera(model=model, image_size=(int(width), int(height)), params=params, prior=True)
            found[name] = replace(camera, given=True)
            camera.pinhole  # noqa: B018  (checks the numbers)
        except (ValueError, KeyError, ConfigError) as error:
            line = " ".join(words)[:60]
            raise ConfigError(
                f"Line {number} of {str(path)!r} is {line!r}; name, model, width, height and the model's "
                f"parameters were wanted, as in 'query/a.jpg SIMPLE_RADIAL 1600 1200 1300 800 600 0'. Models: "
                f"{', '.join(MODELS)}."
            ) from error
    if not found:
        raise ConfigError(f"{str(path)!r} names no photo.")
    return found


def _public(answer: Localisation) -> dict[str, Any]:
    """An answer for people and programs, both frames named."""
    record = asdict(LocalisationRecord.of(answer))
    for name in ("keypoints", "points", "upright_cam_from_world", "stored_cam_from_world", "stored_camera"):
        del record[name]
    record |= {"upright": None, "stored": None}
    if answer.localised:
        assert answer.cam_from_world is not None and answer.stored_cam_from_world is not None
        record["upright"] = {"cam_from_world": answer.cam_from_world.tolist(), "camera": as_json(answer.camera)}
        record["stored"] = {
            "cam_from_world": answer.stored_cam_from_world.tolist(),
            "camera": as_json(answer.stored_camera),
        }
    return record


def _rows(tensor: Tensor | None) -> tuple[tuple[float, ...], ...] | None:
    return None if tensor is None else tuple(tuple(row) for row in tensor.double().tolist())


def _pose(rows: Sequence[Sequence[float]] | None) -> Tensor | None:
    return None if rows is None else torch.tensor(rows, dtype=torch.float64).reshape(4, 4)


def _words(pose: Tensor | None) -> str:
    """Quaternion (w, x, y, z) and translation."""
    assert pose is not None
    values = [*quaternion_from_rotation(pose[:3, :3]).tolist(), *pose[:3, 3].tolist()]
    return " ".join(map(repr, values))


def _trajectory(answer: Localisation) -> str:
    """Place and quaternion (x, y, z, w) of the upright camera in the world."""
    assert answer.cam_from_world is not None and answer.centre is not None
    w, x, y, z = quaternion_from_rotation(answer.cam_from_world[:3, :3].T).tolist()
    return " ".join(map(repr, [*answer.centre.tolist(), x, y, z, w]))


def _camera(number: int, answer: Localisation) -> str:
    camera = answer.stored_camera
    assert camera is not None
    width, height = camera.image_size
    return f"{number} {camera.model} {width} {height} {' '.join(map(repr, camera.params))}\n"
