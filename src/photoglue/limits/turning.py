"""Features of a turned photo, made from those of the photo: every camera angle, without extracting anything again."""

import math
from dataclasses import replace

import torch

from photoglue.errors import ConfigError
from photoglue.structs import Features


def turned(features: Features, angle: float) -> Features:
    """The features that the photo would have if it were turned about its middle, with a canvas that it fits on.

    Positions and orientations turn, descriptors stay: so only for features that are described in the direction of their
    orientation, such as SIFT.

    Args:
        features: Those of the photo.
        angle: Radians, clockwise as seen.

    Raises:
        ConfigError: If the features have no orientations.
    """
    if features.orientations is None:
        raise ConfigError(
            f"{features.kind or 'These'} features have no orientations: their descriptors change when a photo is "
            "turned. To train with them, leave --turned 0; homographies turn photos themselves (--full-circle)."
        )
    (width, height), cosine, sine = features.image_size, math.cos(angle), math.sin(angle)
    # A whole turn of an axis, but for rounding, must not add a pixel.
    size = tuple(
        max(1, math.ceil(side - 1e-6))
        for side in (abs(width * cosine) + abs(height * sine), abs(width * sine) + abs(height * cosine))
    )
    before, after = ((torch.tensor(each, dtype=torch.float64) - 1) / 2 for each in (features.image_size, size))
    turn = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
    points = (features.keypoints.double() - before) @ turn.T + after
    angles = features.orientations + angle
    return replace(
        features,
        keypoints=points.float(),
        orientations=torch.atan2(angles.sin(), angles.cos()),
        image_size=(size[0], size[1]),
    )
