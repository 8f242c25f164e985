"""The three pictures: keypoints, matches, pruning."""

from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from photoglue.errors import ConfigError, ShapeError
from photoglue.image import ImageSource
from photoglue.structs import Features, Matches
from photoglue.viz.canvas import Canvas, Colours

# matplotlib.figure.Figure: the package is optional, and so is its type.
Figure: TypeAlias = Any

REJECTED, KEPT = "#ff3b30", "#ffffff"


def draw_keypoints(image: ImageSource, features: Features, *, title: str | None = None) -> Figure:
    """The photo with its keypoints, coloured by their scores, the best on top.

    Args:
        image: The photo, as ``image.load_image`` takes it.
        features: Features of this photo.
        title: Text above the picture; None: "N keypoints" and their kind.

    Raises:
        ImageError: If the photo cannot be read.
        ShapeError: If the features are of a photo of another size.
        MissingExtra: If matplotlib is not installed.
    """
    canvas = Canvas([image], bar=len(features) > 0)
    if canvas.image_sizes[0] != features.image_size:
        raise ShapeError(
            f"The features are of an image of {features.image_size} pixels (width, height), this one has "
            f"{canvas.image_sizes[0]}. Pass the image that they were extracted from, or extract again."
        )
    order = torch.argsort(features.scores, stable=True)
    scores = features.scores.detach()[order].float().cpu().numpy()
    if len(features):
        # A few outliers shall not leave all other points in one colour.
        low, high = np.quantile(scores, [0.01, 0.99]).tolist()
        colours = Colours("continuous", low, high)
        canvas.dots(canvas.place(features.keypoints[order], 0), colours.of(scores), size=14.0)
        canvas.bar(colours, "detection score")
    kind = "" if features.kind is None else f" · {features.kind}"
    canvas.title(count_of(len(features), "keypoint", "keypoints") + kind if title is None else title)
    return canvas.figure


def draw_matches(
    image0: ImageSource,
    image1: ImageSource,
    matches: Matches,
    *,
    inliers: Bool[Tensor, " k"] | None = None,
    max_lines: int | None = 200,
    title: str | None = None,
) -> Figure:
    """Both photos with a line for each match, coloured by its score, the best on top.

    Args:
        image0: The photo that ``keypoints0`` are in, as ``image.load_image`` takes it.
        image1: The photo that ``keypoints1`` are in.
        matches: Matches of these photos.
        inliers: For each row of ``matches.indices`` whether geometry accepted it; the others are drawn faint red.
        max_lines: Most lines to draw, spread evenly from the lowest to the highest score; None: all.
        title: Text above the picture; None: "N matches · exit at layer S of L", as far as known.

    Raises:
        ImageError: If a photo cannot be read.
        ShapeError: If ``inliers`` has not one value for each match.
        ConfigError: If ``max_lines`` is not positive.
        MissingExtra: If matplotlib is not installed.
    """
    if max_lines is not None and max_lines < 1:
        raise ConfigError(f"max_lines is {max_lines}; it must be at least 1, or None for all.")
    accepted = torch.ones(len(matches), dtype=torch.bool) if inliers is None else inliers.cpu()
    if accepted.shape != (len(matches),):
        raise ShapeError(
            f"inliers has shape {tuple(accepted.shape)} and there are {len(matches)} matches; give one value for each "
            "row of matches.indices, such as verify(matches.points0, matches.points1, …).inliers."
        )
    canvas = Canvas([image0, image1])
    scores = matches.scores.detach().float().cpu()
    rows = _spread(scores, max_lines)
    good, bad = rows[accepted[rows]].numpy(), rows[~accepted[rows]].numpy()
    ends0, ends1 = canvas.place(matches.points0, 0), canvas.place(matches.points1, 1)
    canvas.lines(ends0[bad], ends1[bad], REJECTED, alpha=0.35)
    colours = Colours("continuous", 0.0, 1.0)
    shades = colours.of(scores.numpy()[good])
    canvas.lines(ends0[good], ends1[good], shades, alpha=0.65)
    for ends in (ends0, ends1):
        canvas.dots(ends[good], shades, size=9.0)
    canvas.bar(colours, "match score")
    count = count_of(len(matches), "match", "matches")
    if inliers is not None:
        canvas.legend("line", (REJECTED, f"{int((~accepted).sum()):,} rejected"))
        count = f"{int(accepted.sum()):,} of {count} verified"
    drawn = f" · {len(rows):,} drawn" if len(rows) < len(matches) else ""
    canvas.title(count + _exit(matches) + drawn if title is None else title)
    return canvas.figure


def draw_pruning(image0: ImageSource, image1: ImageSource, matches: Matches, *, title: str | None = None) -> Figure:
    """Both photos with all keypoints, coloured by the layer after which they were pruned.

    Args:
        image0: The photo that ``keypoints0`` are in, as ``image.load_image`` takes it.
        image1: The photo that ``keypoints1`` are in.
        matches: Matches of these photos, by a matcher that prunes.
        title: Text above the picture; None: how many points were pruned, and the exit layer.

    Raises:
        ImageError: If a photo cannot be read.
        ConfigError: If ``matches`` do not say what was pruned.
        MissingExtra: If matplotlib is not installed.
    """
    if matches.prune0 is None or matches.prune1 is None:
        raise ConfigError(
            "These matches do not say when points were pruned: prune0 or prune1 is None. Match with LightGlue, or use "
            "draw_matches."
        )
    kept = _kept(matches.prune0, matches.matches0), _kept(matches.prune1, matches.matches1)
    layers = matches.prune0.cpu().numpy(), matches.prune1.cpu().numpy()
    last = max(int(layer[~mask].max(initial=0)) for layer, mask in zip(layers, kept, strict=True))
    canvas = Canvas([image0, image1], bar=last > 0)
    colours = Colours("whole", 1.0, float(max(last, (matches.stop or 1) - 1, 1)))
    for side, keypoints in enumerate((matches.keypoints0, matches.keypoints1)):
        points, mask = canvas.place(keypoints, side), kept[side]
        canvas.dots(points[mask], KEPT, size=14.0)
        canvas.dots(points[~mask], colours.of(layers[side][~mask]), size=14.0)
    canvas.legend("dot", (KEPT, f"{sum(int(mask.sum()) for mask in kept):,} kept"))
    if last:
        canvas.bar(colours, "pruned after layer")
    pruned = " and ".join(f"{int((~mask).sum()):,} of {len(mask):,}" for mask in kept)
    canvas.title(f"{pruned} points pruned" + _exit(matches) if title is None else title)
    return canvas.figure


def _spread(scores: Float[Tensor, " k"], count: int | None) -> Int64[Tensor, " r"]:
    """At most ``count`` rows, evenly spaced in the order of their scores, the best last."""
    order = torch.argsort(scores, stable=True)
    if count is None or len(order) <= count:
        return order
    # From the best downwards, so that the best is always among them.
    steps = torch.arange(count, dtype=torch.float64) * len(order) / count
    return order.flip(0)[steps.long()].flip(0)


def _kept(layers: Int64[Tensor, " n"], partners: Int64[Tensor, " n"]) -> np.ndarray:
    """True for points that stayed to the exit: those with as high a count as the matched points, which all stayed.

    Without matches they are taken to be those with the highest count.
    """
    matched = layers[partners >= 0]
    stayed = matched if len(matched) else layers
    return np.asarray((layers >= (stayed.max() if len(stayed) else 0)).cpu().numpy())


def count_of(number: int, one: str, many: str) -> str:
    """A number with its noun, such as "1 match" or "1,200 matches"."""
    return f"{number:,} {one if number == 1 else many}"


def _exit(matches: Matches) -> str:
    if matches.stop is None:
        return ""
    return f" · exit at layer {matches.stop}" + ("" if matches.n_layers is None else f" of {matches.n_layers}")
