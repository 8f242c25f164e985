"""``lightglue.viz2d``: photos side by side with keypoints and matches on them, through matplotlib's pyplot.

``plot_images`` begins a figure; what follows draws on the current one; ``save_plot`` writes it. These functions exist
for scripts that were written for the official package; ``photoglue.viz`` makes better pictures and no global state.
"""

import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from photoglue.errors import ShapeError, require

# matplotlib.axes.Axes: the package is optional, and so is its type.
Axes: TypeAlias = Any
Array: TypeAlias = Tensor | np.ndarray
Number: TypeAlias = int | float

RED, YELLOW, GREEN, BLUE = np.eye(3)[0], np.array([1.0, 1.0, 0.0]), np.eye(3)[1], np.eye(3)[2]


def cm_RdGn(x: Shaped[Array, "*n"]) -> Float[np.ndarray, "*n 3"]:  # noqa: N802  (the official name)
    """RGB colours: red at 0, yellow at 0.5, green at 1; values beyond are clipped."""
    values = np.clip(_array(x), 0, 1)[..., None]
    return np.asarray(np.clip(2 * (1 - values) * RED + 2 * values * GREEN, 0, 1))


def cm_BlRdGn(x_: Shaped[Array, "*n"]) -> Float[np.ndarray, "*n 4"]:  # noqa: N802  (the official name)
    """RGBA colours: blue at -1, red at 0, green at 1; values beyond are clipped."""
    values = np.clip(_array(x_), -1, 1)[..., None]
    above = cm_RdGn(values[..., 0])
    below = np.clip(2 * (1 + values) * RED - 2 * values * np.array([0, 0.1, 1.0]), 0, 1)
    rgb = np.where(values < 0, below, above)
    return np.concatenate([rgb, np.ones_like(rgb[..., :1])], axis=-1)


def cm_prune(x_: Shaped[Array, " n"]) -> Float[np.ndarray, "n 4"]:
    """RGBA colours for ``prune0`` and ``prune1``: red to green by the layer of nine, blue for points never pruned."""
    layers = _array(x_)
    return cm_BlRdGn(np.where(layers == layers.max(initial=0), -1, (layers - 1) / 9))


def cm_grad2d(xy: Float[Array, "*n 2"]) -> Float[np.ndarray, "*n 3"]:
    """RGB colours of places in the unit square: yellow at (0, 0), green at (1, 0), red at (0, 1), blue at (1, 1)."""
    x, y = np.split(np.clip(_array(xy), 0, 1), 2, axis=-1)
    return np.asarray(((1 - y) * ((1 - x) * YELLOW + x * GREEN) + y * ((1 - x) * RED + x * BLUE)).clip(0, 1))


def plot_images(
    imgs: Sequence[Shaped[Array, "..."]],
    titles: Sequence[str] | None = None,
    cmaps: str | Sequence[str] = "gray",
    dpi: Number = 100,
    pad: Number = 0.5,
    adaptive: bool = True,
) -> None:
    """Begin a figure with images side by side.

    Args:
        imgs: Tensors c × h × w, or arrays h × w × c, or either h × w.
        titles: One for each image.
        cmaps: Colour maps of images with one channel: one for all, or one for each.
        dpi: Pixels an inch.
        pad: Space around and between, in font sizes.
        adaptive: Make each as wide as its aspect says, else 4 : 3.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    plt = _pyplot()
    pixels = [_array(image).transpose(1, 2, 0) if _channels_first(image) else _array(image) for image in imgs]
    ratios = [image.shape[1] / image.shape[0] if adaptive else 4 / 3 for image in pixels]
    layout = {"width_ratios": ratios}
    figure, rows = plt.subplots(
        1, len(pixels), figsize=(4.5 * sum(ratios), 4.5), dpi=dpi, gridspec_kw=layout, squeeze=False
    )
    maps = [cmaps] * len(pixels) if isinstance(cmaps, str) or not isinstance(cmaps, Sequence) else cmaps
    for i, axes in enumerate(rows[0]):
        axes.imshow(pixels[i], cmap=plt.get_cmap(maps[i]))
        axes.set(xticks=[], yticks=[])
        axes.set_axis_off()
        for spine in axes.spines.values():
            spine.set_visible(False)
        if titles:
            axes.set_title(titles[i])
    figure.tight_layout(pad=pad)


def plot_keypoints(
    kpts: Sequence[Shaped[Array, "_ 2"]],
    colors: Any = "lime",
    ps: Number = 4,
    axes: Sequence[Axes] | None = None,
    a: Number | list[Number] = 1.0,
) -> None:
    """Draw keypoints on the images of the current figure.

    Args:
        kpts: Pixels, for each image.
        colors: One for all, or a list with what matplotlib's ``scatter`` takes as ``c`` for each image.
        ps: Area of a point, in square font points.
        axes: Where to draw; None: on all images of the current figure.
        a: Opacity, for all or for each image.
    """
    axes = _pyplot().gcf().axes if axes is None else axes
    shades = colors if isinstance(colors, list) else [colors] * len(kpts)
    alphas = a if isinstance(a, list) else [a] * len(kpts)
    for one, points, shade, alpha in zip(axes, map(_array, kpts), shades, alphas, strict=False):
        one.scatter(points[:, 0], points[:, 1], c=shade, s=ps, linewidths=0, alpha=alpha)


def plot_matches(  # noqa: PLR0917  (the official signature)
    kpts0: Shaped[Array, "n0 2"],
    kpts1: Shaped[Array, "n1 2"],
    color: Any = None,
    lw: Number = 1.5,
    ps: Number = 4,
    a: Number = 1.0,
    labels: Sequence[str] | None = None,
    axes: Sequence[Axes] | None = None,
) -> None:
    """Draw matches between two images of the current figure.

    Args:
        kpts0: Pixels of the first image.
        kpts1: Pixels of the second image; row i belongs to row i of ``kpts0``.
        color: One for all, a list or array with one for each match, or None: by the place in the first image.
        lw: Width of the lines, in font points; 0: none.
        ps: Area of the end points, in square font points; 0: none.
        a: Opacity of the lines.
        labels: One for each line.
        axes: The two to draw on; None: the first two of the current figure.

    Raises:
        ShapeError: If there are not as many points in one image as in the other.
    """
    figure = _pyplot().gcf()
    first, second = figure.axes[:2] if axes is None else axes
    ends = _array(kpts0), _array(kpts1)
    if len(ends[0]) != len(ends[1]):
        raise ShapeError(
            f"There are {len(ends[0])} and {len(ends[1])} points; a match is a point of each. Pass "
            'kpts0[matches[..., 0]] and kpts1[matches[..., 1]], with matches01["matches"].'
        )
    colours = _colours(color, ends[0])
    if lw > 0:
        patch = require("matplotlib.patches", extra="viz").ConnectionPatch
        places = {"coordsA": first.transData, "coordsB": second.transData, "axesA": first, "axesB": second}
        for i, (start, end) in enumerate(zip(*ends, strict=True)):
            style = {"color": colours[i], "linewidth": lw, "alpha": a, "label": None if labels is None else labels[i]}
            line = patch(tuple(start), tuple(end), **places, **style, zorder=1, clip_on=True, picker=5.0)
            line.set_annotation_clip(True)
            figure.add_artist(line)
    for one, points in zip((first, second), ends, strict=True):
        one.autoscale(enable=False)  # the lines know where they are by the axes' present limits
        if ps > 0 and len(points):
            one.scatter(points[:, 0], points[:, 1], c=colours, s=ps)


def add_text(  # noqa: PLR0913, PLR0917  (the official signature)
    idx: int,
    text: str,
    pos: tuple[Number, Number] = (0.01, 0.99),
    fs: Number = 15,
    color: Any = "w",
    lcolor: Any = "k",
    lwidth: Number = 2,
    ha: str = "left",
    va: str = "top",
) -> None:
    """Write on an image of the current figure.

    Args:
        idx: Number of the image, from 0.
        text: What to write.
        pos: Where, in fractions of the image from its bottom left.
        fs: Font size.
        color: Colour of the text.
        lcolor: Colour of its outline; None: no outline.
        lwidth: Width of the outline, in font points.
        ha: Horizontal alignment.
        va: Vertical alignment.
    """
    axes = _pyplot().gcf().axes[idx]
    written = axes.text(*pos, text, fontsize=fs, ha=ha, va=va, color=color, transform=axes.transAxes)
    if lcolor is not None:
        effects = require("matplotlib.patheffects", extra="viz")
        written.set_path_effects([effects.Stroke(linewidth=lwidth, foreground=lcolor), effects.Normal()])


def save_plot(path: str | os.PathLike[str], **kw: Any) -> None:
    """Write the current figure without white margins; ``kw`` goes to matplotlib's ``savefig``."""
    _pyplot().savefig(path, bbox_inches="tight", pad_inches=0, **kw)


def _pyplot() -> ModuleType:
    return require("matplotlib.pyplot", extra="viz")


def _array(values: Any) -> np.ndarray:
    array: np.ndarray = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return array


def _channels_first(image: Any) -> bool:
    return isinstance(image, Tensor) and image.ndim == 3


def _colours(color: Any, points: Float[np.ndarray, "n 2"]) -> Any:
    """One colour for each match."""
    if color is None:
        if not len(points):
            return []
        low = points.min(axis=0)
        return cm_grad2d((points - low) / np.maximum(points.max(axis=0) - low, 1e-9))
    one_for_each = len(color) > 0 and isinstance(color[0], tuple | list | np.ndarray)
    return color if one_for_each else [color] * len(points)
