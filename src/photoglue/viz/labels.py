"""A picture of the labels that training uses: points that match, that have no partner, and that are ignored."""

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from photoglue.errors import ConfigError, ShapeError
from photoglue.image import ImageSource
from photoglue.viz.canvas import Canvas
from photoglue.viz.draw import Figure, count_of

MATCHED, UNMATCHED, IGNORED = "#3ddc5b", "#ff3b30", "#b9bdc3"


def draw_labels(
    image0: ImageSource,
    image1: ImageSource,
    keypoints0: Float[Tensor, "m 2"],
    keypoints1: Float[Tensor, "n 2"],
    matches0: Int64[Tensor, " m"],
    matches1: Int64[Tensor, " n"],
    *,
    max_lines: int | None = 200,
    title: str | None = None,
) -> Figure:
    """Both photos with their keypoints: green and joined if they match, red without partner, grey if ignored.

    Args:
        image0: The photo that ``keypoints0`` are in, as ``image.load_image`` takes it.
        image1: The photo that ``keypoints1`` are in.
        keypoints0: Keypoints of image 0, (x, y) in pixels.
        keypoints1: Keypoints of image 1, (x, y) in pixels.
        matches0: Partner in image 1 of each keypoint of image 0; -1: it has none; -2: ignored. Such as
            ``training.ground_truth.label`` returns.
        matches1: Partner in image 0 of each keypoint of image 1, in the same code.
        max_lines: Most lines to draw, spread evenly over the matches; None: all. All points are drawn.
        title: Text above the picture; None: how many matches.

    Raises:
        ImageError: If a photo cannot be read.
        ShapeError: If there is not one label for each keypoint, or a partner does not exist.
        ConfigError: If ``max_lines`` is not positive.
        MissingExtra: If matplotlib is not installed.
    """
    if max_lines is not None and max_lines < 1:
        raise ConfigError(f"max_lines is {max_lines}; it must be at least 1, or None for all.")
    labels = matches0.cpu().numpy(), matches1.cpu().numpy()
    _check(labels, (len(keypoints0), len(keypoints1)))
    canvas = Canvas([image0, image1], bar=False)
    on_canvas = canvas.place(keypoints0, 0), canvas.place(keypoints1, 1)
    for colour, wanted in ((IGNORED, -2), (UNMATCHED, -1)):
        for points, label in zip(on_canvas, labels, strict=True):
            canvas.dots(points[label == wanted], colour, size=7.0)
    matched = np.flatnonzero(labels[0] >= 0)
    most = len(matched) if max_lines is None else min(len(matched), max_lines)
    drawn = matched[np.linspace(0, len(matched) - 1, most).round().astype(np.int64)]
    canvas.lines(on_canvas[0][drawn], on_canvas[1][labels[0][drawn]], MATCHED, alpha=0.55)
    for points, label in zip(on_canvas, labels, strict=True):
        canvas.dots(points[label >= 0], MATCHED, size=9.0)
    every = np.concatenate(labels)
    kinds = (
        ("matched", MATCHED, every >= 0),
        ("without partner", UNMATCHED, every == -1),
        ("ignored", IGNORED, every == -2),
    )
    canvas.legend("dot", *((colour, f"{rows.sum() / max(1, len(every)):.0%} {name}") for name, colour, rows in kinds))
    drawn_of_all = f" · {len(drawn):,} drawn" if len(drawn) < len(matched) else ""
    canvas.title(count_of(len(matched), "match", "matches") + drawn_of_all if title is None else title)
    return canvas.figure


def _check(labels: tuple[np.ndarray, np.ndarray], counts: tuple[int, int]) -> None:
    for side, (label, count) in enumerate(zip(labels, counts, strict=True)):
        if len(label) != count:
            raise ShapeError(f"Image {side} has {count} keypoints and {len(label)} labels; give one for each.")
    for side, (label, others) in enumerate(zip(labels, reversed(counts), strict=True)):
        if label.min(initial=-1) < -2 or label.max(initial=-1) >= others:
            raise ShapeError(
                f"The labels of image {side} reach from {label.min()} to {label.max()}; the indices of the {others} "
                "keypoints of the other image, -1 and -2 were wanted."
            )
