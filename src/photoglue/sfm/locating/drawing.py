"""Answers of the localizer as pictures: a photo beside the photo of the map that it has most in common with."""

from pathlib import Path
from typing import Any

import torch

from photoglue.errors import ConfigError
from photoglue.image import ImageSource
from photoglue.sfm.locating.answer import Localisation
from photoglue.sfm.locating.known import KnownMap
from photoglue.viz.canvas import Canvas

LINES = 200
"""Inliers that are drawn, spread evenly over all."""
COLOUR = "#f6c945"


def draw_localisation(photo: ImageSource, answer: Localisation, known: KnownMap) -> Any:
    """A photo beside its best photo of the map, with lines between the inliers that both see, as a matplotlib figure.

    Args:
        photo: The photo, as ``Localizer.localize`` took it.
        answer: Its place.
        known: The map, ``Localizer.map``.

    Raises:
        ConfigError: If it has no place.
        ImageError: If a photo cannot be read, as if those of the map are not there.
        MissingExtra: If matplotlib is not installed.
    """
    if not answer.localised or answer.keypoints is None or answer.points is None:
        raise ConfigError(f"{answer.name!r} has no place, so that there is nothing to draw: {answer.reason}.")
    best = answer.nearest[0]
    features, points = known.features(best.name), known.photo(best.name).points
    row_of = torch.full((len(known.xyz),), -1)
    rows = torch.from_numpy(points)
    row_of[rows[rows >= 0]] = torch.arange(len(rows))[rows >= 0]
    theirs = row_of[answer.points]
    shown = theirs >= 0
    count = int(shown.sum())
    unsure = answer.uncertainty
    title = (
        f"{Path(answer.name).name}: {answer.inliers:,} points of the map, {count:,} of them in {Path(best.name).name}"
        + ("" if unsure is None else f" · place ± {unsure.position:.2g}, direction ± {unsure.rotation_deg:.2g}°")
    )
    canvas = Canvas([photo, known.root / best.name], bar=False)
    rows = torch.arange(min(count, LINES)) * count // max(min(count, LINES), 1)
    starts = canvas.place(answer.keypoints[shown][rows], 0)
    ends = canvas.place(features.keypoints[theirs[shown]][rows], 1)
    canvas.lines(starts, ends, COLOUR, alpha=0.5)
    for points in (starts, ends):
        canvas.dots(points, COLOUR, size=9.0)
    canvas.title(title)
    return canvas.figure
