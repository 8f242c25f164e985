"""The page of a map with the photos that were placed in it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from photoglue.errors import ConfigError
from photoglue.sfm.locating.answer import Localisation
from photoglue.sfm.locating.known import KnownMap
from photoglue.sfm.report.page import write_map_report
from photoglue.solvers.colmap_files import CameraRecord
from photoglue.solvers.colmap_model import Model, ModelImage

PREFIX = "localised/"
"""What stands before the names of placed photos on the page, to tell them from those of the map."""


def write_localisation_report(
    out: str | os.PathLike[str],
    answers: Sequence[Localisation],
    known: KnownMap,
    photos: Mapping[str, Path],
) -> Path:
    """Write the page of a map, ``write_map_report``, with the photos that were placed in it among its cameras.

    Args:
        out: The file, which ends in .html.
        answers: Places of photos; those without one are listed with the reason.
        known: The map, ``Localizer.map``.
        photos: Where the photos are, by the names of the answers.

    Raises:
        ConfigError: If there is no answer, or the file's name does not end in .html.
        OutputError: If the page cannot be written.
    """
    if not answers:
        raise ConfigError("There are no answers to show.")
    placed = [answer for answer in answers if answer.localised]
    names = {answer.name: PREFIX + answer.name for answer in answers}
    return write_map_report(
        out,
        model=_with_queries(known.model, placed, names),
        photos=(known.root, {names[name]: path for name, path in photos.items() if name in names}),
        unplaced={names[answer.name]: answer.reason or "" for answer in answers if not answer.localised},
        settings={"map": str(known.folder), "photos placed": f"{len(placed)} of {len(answers)}"},
        links=[],
    )


def _with_queries(model: Model, placed: Sequence[Localisation], names: Mapping[str, str]) -> Model:
    """The model with more photos and cameras; its points stay."""
    cameras = dict(model.cameras)
    images = list(model.images)
    for answer in placed:
        camera, frame = answer.stored_camera, answer.frame
        assert camera is not None and frame is not None and answer.stored_cam_from_world is not None
        assert answer.keypoints is not None and answer.points is not None
        number = max(cameras, default=0) + 1
        cameras[number] = CameraRecord(
            camera_id=number, model=camera.model, image_size=camera.image_size, parameters=camera.params
        )
        images.append(
            ModelImage(
                name=names[answer.name],
                image_id=max((image.image_id for image in images), default=0) + 1,
                camera_id=number,
                cam_from_world=answer.stored_cam_from_world,
                keypoints=frame.from_upright(answer.keypoints.double()),
                points=answer.points,
            )
        )
    return replace(model, cameras=cameras, images=tuple(sorted(images, key=lambda image: image.name)))
