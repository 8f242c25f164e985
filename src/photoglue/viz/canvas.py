"""Photos side by side at one height, and what is drawn on them: points, lines, a title, a legend, a colour bar.

The unit of the canvas is a pixel of the picture; (0, 0) is the top-left corner of the first photo.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from photoglue.errors import PhotoGlueWarning, require
from photoglue.image import ImageSource, Resize, load_image, to_gray, to_rgb

DPI = 100
MAX_WIDTH, MAX_HEIGHT = 1600.0, 900.0
"""Largest size of the photos together, pixels."""
MIN_WIDTH, MIN_HEIGHT = 640.0, 200.0
"""Least size of the space for the photos, pixels: title and colour bar stay readable beside tiny and long ones."""
GAP, MARGIN, HEADER, BAR = 8.0, 12.0, 40.0, 72.0
"""Widths of the gap between photos, the margin around all, the line for title and legend, and the colour bar;
pixels."""
INK = "#202124"


class Colours:
    """Numbers as colours that the colour-blind can tell apart and that are not too dark on a photo."""

    def __init__(self, kind: Literal["continuous", "whole"], low: float, high: float) -> None:
        colormaps = require("matplotlib", extra="viz").colormaps
        colors = require("matplotlib.colors", extra="viz")
        if kind == "continuous":
            self.map = colors.ListedColormap(colormaps["viridis"](np.linspace(0.28, 1.0, 256)))
            self.norm = colors.Normalize(low, high if high > low else low + 1)
            self.ticks = None
        else:
            self.ticks = np.arange(low, high + 1)
            self.map = colors.ListedColormap(colormaps["plasma"](np.linspace(0.08, 0.84, len(self.ticks))))
            self.norm = colors.BoundaryNorm(np.arange(low - 0.5, high + 1), len(self.ticks))

    def of(self, values: np.ndarray) -> np.ndarray:
        """The colour of each value as RGBA in [0, 1], n × 4."""
        return np.asarray(self.map(self.norm(values)))


class Canvas:
    """A figure that shows photos side by side, toned down.

    Args:
        images: The photos, from left to right, as ``image.load_image`` takes them.
        bar: Whether to leave space for a colour bar.

    Raises:
        ImageError: If a photo cannot be read.
        MissingExtra: If matplotlib is not installed.
    """

    def __init__(self, images: Sequence[ImageSource], *, bar: bool = True) -> None:
        photos = [load_image(image) for image in images]
        self.image_sizes = [(photo.shape[2], photo.shape[1]) for photo in photos]
        aspects = [width / height for width, height in self.image_sizes]
        gaps = GAP * (len(photos) - 1)
        self.height = min(MAX_HEIGHT, (MAX_WIDTH - gaps) / sum(aspects))
        widths = [aspect * self.height for aspect in aspects]
        self.lefts = [sum(widths[:i]) + GAP * i for i in range(len(photos))]
        self.width = sum(widths) + gaps
        self.figure = self._new_figure(bar)
        self.axes = self._add_axes(self._left, self._top, self.width, self.height)
        self.axes.set_axis_off()
        for photo, left, width in zip(photos, self.lefts, widths, strict=True):
            extent = (left, left + width, self.height, 0)
            self.axes.imshow(_toned(photo, width, self.height), extent=extent, aspect="auto", zorder=0)
        self.axes.set(xlim=(0, self.width), ylim=(self.height, 0))

    def place(self, points: Float[Tensor, "n 2"], side: int) -> np.ndarray:
        """Positions on the canvas of points (x, y) in pixels of photo number ``side``."""
        array: np.ndarray = points.detach().cpu().double().numpy()
        outside = ((array < -1) | (array > self.image_sizes[side])).any(axis=1).sum()
        if outside:
            warnings.warn(
                f"{outside} of {len(array)} points lie outside photo {side} of {self.image_sizes[side]} pixels (width, "
                "height). Are the photos in the order and of the size in which they were matched?",
                PhotoGlueWarning,
                stacklevel=3,
            )
        # In its own pixels a photo reaches from -0.5 to its height - 0.5: (0, 0) is the centre of the first.
        on_canvas: np.ndarray = (array + 0.5) * (self.height / self.image_sizes[side][1])
        on_canvas[:, 0] += self.lefts[side]
        return on_canvas

    def dots(self, points: np.ndarray, colours: Any, size: float) -> None:
        """Dots of ``size`` square points with a thin dark edge; later ones on top."""
        self.axes.scatter(*points.T, s=size, c=colours, edgecolors=(0, 0, 0, 0.55), linewidths=0.5, zorder=3)

    def lines(self, starts: np.ndarray, ends: np.ndarray, colours: Any, *, alpha: float) -> None:
        """Thin lines; later ones on top."""
        collection = require("matplotlib.collections", extra="viz").LineCollection
        segments = np.stack([starts, ends], axis=1)
        lines = collection(segments, colors=colours, linewidths=0.8, alpha=alpha, antialiaseds=True, zorder=2)
        self.axes.add_collection(lines, autolim=False)

    def title(self, text: str) -> None:
        """One line above the photos, at the left."""
        place = self._fraction(self._left, HEADER / 2)
        self.figure.text(*place, text, size=11.0, color=INK, ha="left", va="center")

    def legend(self, kind: Literal["line", "dot"], *entries: tuple[str, str]) -> None:
        """A legend above the photos, at the right, with an entry for each (colour, text)."""
        line = require("matplotlib.lines", extra="viz").Line2D
        styles: dict[str, dict[str, Any]] = {
            "line": {"lw": 1.6, "alpha": 0.7},
            "dot": {"lw": 0, "marker": "o", "ms": 6, "mec": INK, "mew": 0.8},
        }
        self.figure.legend(
            handles=[line([], [], color=colour, label=text, **styles[kind]) for colour, text in entries],
            loc="center right",
            bbox_to_anchor=self._fraction(self._left + self.width, HEADER / 2),
            ncols=len(entries),
            borderaxespad=0,
            borderpad=0,
            columnspacing=1.2,
            handlelength=1.2,
            handletextpad=0.5,
            frameon=False,
            fontsize=10,
            labelcolor=INK,
        )

    def bar(self, colours: Colours, label: str) -> None:
        """The colours and what they stand for, at the right of the photos."""
        mappable = require("matplotlib.cm", extra="viz").ScalarMappable(colours.norm, colours.map)
        height = max(self.height, MIN_HEIGHT)
        axes = self._add_axes(self._left + self.width + MARGIN, HEADER, 14.0, height)
        bar = self.figure.colorbar(mappable, cax=axes, ticks=colours.ticks)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=9, labelcolor=INK, color=INK, length=3, width=0.6)
        bar.ax.minorticks_off()
        bar.set_label(label, size=10, color=INK)

    def _new_figure(self, bar: bool) -> Any:
        """An empty figure; ``_left`` and ``_top`` say where in it the photos begin."""
        room = max(self.width, MIN_WIDTH), max(self.height, MIN_HEIGHT)
        self._size = room[0] + 2 * MARGIN + (BAR if bar else 0), room[1] + HEADER + MARGIN
        self._left, self._top = MARGIN, HEADER
        inches = self._size[0] / DPI, self._size[1] / DPI
        figure = require("matplotlib.figure", extra="viz").Figure(figsize=inches, dpi=DPI, facecolor="white")
        require("matplotlib.backends.backend_agg", extra="viz").FigureCanvasAgg(figure)
        return figure

    def _add_axes(self, left: float, top: float, width: float, height: float) -> Any:
        x, y = self._fraction(left, top + height)
        return self.figure.add_axes((x, y, width / self._size[0], height / self._size[1]))

    def _fraction(self, x: float, y: float) -> tuple[float, float]:
        """Pixels from the top left as matplotlib's fractions from the bottom left."""
        return x / self._size[0], 1 - y / self._size[1]


def _toned(photo: Tensor, width: float, height: float) -> np.ndarray:
    """A photo of about that size in paler and duller colours, on which bright thin lines stand out."""
    size = photo.shape[2], photo.shape[1]
    if size[0] > width:
        photo = Resize(original_size=size, resized_size=(max(1, round(width)), max(1, round(height)))).apply(photo)
    toned = 0.7 * to_gray(photo) + 0.3 * to_rgb(photo)
    return (0.9 * toned).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
