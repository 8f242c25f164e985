"""The features that a network takes, and the errors for all others."""

from collections.abc import Iterable

import torch

from photoglue.errors import FeatureKindError, ShapeError
from photoglue.matchers.base import check_pairs, check_points
from photoglue.matchers.lightglue.config import LightGlueShape
from photoglue.matchers.lightglue.kinds import MODEL_OF_KIND
from photoglue.matchers.lightglue.pretrained import INPUT_DIMS
from photoglue.structs import Features


def checked_pairs(
    pairs: Iterable[tuple[Features, Features]], shape: LightGlueShape, device: torch.device
) -> list[tuple[Features, Features]]:
    """The pairs on the device, each image checked and moved once, however often it occurs.

    Raises:
        FeatureKindError: If the model was not trained for these features.
        ShapeError: If descriptors have the wrong width, scales or orientations are missing, or values are not finite.
    """
    pairs = check_pairs(pairs)
    images = {id(features): features for pair in pairs for features in pair}
    for features in images.values():
        _check(features, shape)
    moved = {key: features.to(device) for key, features in images.items()}
    check_points(list(moved.values()))
    return [(moved[id(features0)], moved[id(features1)]) for features0, features1 in pairs]


def _check(features: Features, shape: LightGlueShape) -> None:
    width = features.descriptors.shape[1]
    if features.kind is not None and shape.kinds is not None and features.kind not in shape.kinds:
        raise FeatureKindError(
            f"The features are {features.kind!r}; this model was trained for {', '.join(shape.kinds)}. "
            f"{_what_fits(features.kind)}"
        )
    if width != shape.input_dim:
        raise ShapeError(
            f"The descriptors have {width} channels; this model was trained for {shape.input_dim}"
            f"{' (' + ', '.join(shape.kinds) + ')' if shape.kinds else ''}. {_what_fits(features.kind, width)}"
        )
    if shape.add_scale_ori and (features.scales is None or features.orientations is None):
        raise ShapeError(
            "This model needs the scale and orientation of each point; these features have none. "
            "Pass scales= and orientations=, or use the model of your features."
        )


def _what_fits(kind: str | None, width: int | None = None) -> str:
    """A sentence that says which model takes such features."""
    if kind is not None and kind in MODEL_OF_KIND:
        return f'Use LightGlue.pretrained("{MODEL_OF_KIND[kind]}").'
    names = sorted(name for name, dim in INPUT_DIMS.items() if dim == width)
    if names:
        listed = " or ".join(f'"{name}"' for name in names)
        return f"Released models for {width} channels: LightGlue.pretrained({listed})."
    return "No released LightGlue fits them; NearestNeighbor() matches any features, or train your own."
