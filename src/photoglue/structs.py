"""The two nouns that cross every border: Features of one image, Matches of one pair.

There is no batch axis: one image, one struct; many images, a list. Coordinates are (x, y) in pixels of the image as
read (EXIF orientation applied), the centre of the top-left pixel is (0, 0), and ``image_size`` is (width, height).
"""

import numbers
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from photoglue.errors import ShapeError, require
from photoglue.geometry.frames import StoredFrame

# Not typing.Self: the type checker that runs in the tests sees one method at a time, and refuses it.
Struct = TypeVar("Struct", bound="TensorStruct")


class TensorStruct:
    """Moves and converts all tensors of a frozen dataclass at once, those of structs inside it too."""

    def to(self: Struct, device: torch.device | str) -> Struct:
        """A copy of this struct with all its tensors on ``device``."""
        return self._map(lambda tensor: tensor.to(device))

    def cpu(self: Struct) -> Struct:
        """A copy of this struct with all its tensors in main memory."""
        return self.to("cpu")

    def numpy(self) -> dict[str, Any]:
        """A dict of the fields that are there, tensors as numpy arrays; bfloat16, which numpy lacks, as float32."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {
            name: _as_numpy(value) if isinstance(value, Tensor) else value
            for name, value in values.items()
            if value is not None
        }

    def _map(self: Struct, function: Any) -> Struct:
        changed = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changed[field.name] = function(value)
            elif isinstance(value, TensorStruct):
                changed[field.name] = value._map(function)
        return replace(self, **changed)  # type: ignore[type-var]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Features(TensorStruct):
    """Local features of one image; ``n`` may be zero.

    Raises:
        ShapeError: If two fields disagree about the number of points, a shape or type is wrong, or devices differ.
    """

    keypoints: Float[Tensor, "n 2"]
    """(x, y) in pixels of the image as read; the centre of the top-left pixel is (0, 0). Always float32."""
    descriptors: Float[Tensor, "n d"]
    """One row a point, as the extractor defines it (unit length for all extractors of this package)."""
    scores: Float[Tensor, " n"]
    """Detection scores; higher is better, the scale is the detector's own."""
    image_size: tuple[int, int]
    """(width, height) in pixels."""
    kind: str | None = None
    """Name of the method that made them, such as "aliked-n16"; None: unknown, and a matcher checks only the width."""
    scales: Float[Tensor, " n"] | None = None
    """Size of each point in pixels of the image as read, as its kind measures it (SIFT: sigma). SIFT-like only."""
    orientations: Float[Tensor, " n"] | None = None
    """Radians, clockwise as seen (x to the right, y down). SIFT-like kinds only."""
    exif_orientation: int = 1
    """The EXIF orientation, 1 to 8, by which the photo was turned when it was read: what is written for other programs
    is turned back to the stored pixels."""
    quarters: int = 0
    """By how many quarters, 0 to 3, the photo was turned counterclockwise before its points were described. Positions
    and orientations are those of the photo as read; ``as_described`` has those that LightGlue sees."""

    def __post_init__(self) -> None:
        n = _check(self.keypoints, "keypoints", (None, 2))
        _check(self.descriptors, "descriptors", (n, None))
        _check(self.scores, "scores", (n,))
        for name in ("scales", "orientations"):
            if getattr(self, name) is not None:
                _check(getattr(self, name), name, (n,))
        if self.keypoints.dtype != torch.float32:
            raise ShapeError(
                f"keypoints are {self.keypoints.dtype}; they must be torch.float32, because half precision "
                "moves a point at x = 3001.7 by a third of a pixel. Use keypoints.float()."
            )
        _check_size(self.image_size)
        StoredFrame(orientation=self.exif_orientation, upright_size=self.image_size)  # checks it
        if self.quarters not in (0, 1, 2, 3):
            raise ShapeError(f"quarters is {self.quarters!r}; a photo is turned by 0, 1, 2 or 3 quarters.")
        tensors = [self.keypoints, self.descriptors, self.scores, self.scales, self.orientations]
        devices = {str(tensor.device) for tensor in tensors if tensor is not None}
        if len(devices) > 1:
            raise ShapeError(f"The fields are on different devices: {', '.join(sorted(devices))}. Move them to one.")

    def __len__(self) -> int:
        return self.keypoints.shape[0]

    def __repr__(self) -> str:
        width, height = self.image_size
        kind = f" of kind {self.kind!r}" if self.kind is not None else ""
        return (
            f"<Features{kind}: {len(self)} points with {self.descriptors.shape[1]} channels, "
            f"image of {width} × {height} pixels, on {self.keypoints.device}>"
        )

    def __getitem__(self, rows: slice | Tensor) -> "Features":
        """The chosen points: a slice, a boolean mask or an index tensor."""
        _refuse_number(rows)
        return self._map(lambda tensor: tensor[rows])

    @classmethod
    def from_arrays(  # noqa: PLR0913  (whatever Features have)
        cls,
        keypoints: Any,
        descriptors: Any,
        image_size: tuple[int, int],
        *,
        kind: str | None = None,
        scores: Any = None,
        scales: Any = None,
        orientations: Any = None,
        exif_orientation: int = 1,
        quarters: int = 0,
    ) -> "Features":
        """Features from numpy arrays, lists or tensors of any floating type: bring your own points. Arrays are copied.

        Args:
            keypoints: n × 2, (x, y) in pixels.
            descriptors: One row a point, n × d.
            image_size: (width, height) in pixels.
            kind: Name of the method that made them, such as "aliked-n16", if a matcher knows it.
            scores: Detection scores, n; ones if absent.
            scales: Sizes of the points, n, pixels.
            orientations: Angles of the points, n, radians, clockwise as seen.
            exif_orientation: By which the photo was turned upright, 1 to 8.
            quarters: By how many the photo was turned counterclockwise before its points were described, 0 to 3.

        Raises:
            ShapeError: If the shapes do not fit together.
        """
        if descriptors is None:  # what OpenCV gives for an image without points
            raise ShapeError("descriptors is None; where there are no points, pass np.zeros((0, d)).")
        _check_size(image_size)
        points = _as_float32(keypoints).reshape(-1, 2) if np.size(keypoints) == 0 else _as_float32(keypoints)
        n = points.shape[0]
        width, height = (int(value) for value in image_size)
        return cls(
            keypoints=points,
            descriptors=_as_float32(descriptors),
            scores=points.new_ones(n) if scores is None else _as_float32(scores),
            image_size=(width, height),
            kind=kind,
            scales=None if scales is None else _as_float32(scales),
            orientations=None if orientations is None else _as_float32(orientations),
            exif_orientation=exif_orientation,
            quarters=quarters,
        )

    def to_opencv(self) -> tuple[list[Any], np.ndarray]:
        """(list of ``cv2.KeyPoint``, n × d float32 descriptors).

        ``KeyPoint.size`` is a diameter, twice the scale, in pixels (1 where there is none; DoG-HardNet's scales are
        such sizes already); its angle is in degrees, clockwise, -1 where there is none.

        Raises:
            MissingExtra: If no OpenCV is installed.
        """
        cv2 = require("cv2", extra="sift")
        n = len(self)
        diameter = 1 if self.kind == "doghardnet" else 2
        sizes = np.ones(n) if self.scales is None else diameter * self.scales.detach().cpu().double().numpy()
        angles = np.full(n, -1.0)
        if self.orientations is not None:
            angles = np.rad2deg(self.orientations.detach().cpu().double().numpy()) % 360
        points, scores = self.keypoints.detach().cpu().numpy(), self.scores.detach().float().cpu().numpy()
        keypoints = [
            cv2.KeyPoint(float(x), float(y), float(size), float(angle), float(score))
            for (x, y), size, angle, score in zip(points, sizes, angles, scores, strict=True)
        ]
        return keypoints, self.descriptors.detach().float().cpu().numpy()

    def as_described(self) -> "Features":
        """Features in pixels of the photo as it was turned, by ``quarters``, when they were described."""
        frame = StoredFrame.of_turned(self.quarters, self.image_size)
        angles = self.orientations
        return replace(
            self,
            keypoints=frame.from_upright(self.keypoints),
            orientations=None if angles is None else frame.angles_from_upright(angles),
            image_size=frame.size,
            quarters=0,
        )

    @property
    def stored_frame(self) -> StoredFrame:
        """The pixels of the photo as they are stored, and the way there."""
        return StoredFrame(orientation=self.exif_orientation, upright_size=self.image_size)

    def to_hloc(self) -> dict[str, np.ndarray]:
        """The datasets that hloc keeps for an image: keypoints n × 2, descriptors d × n, scores n, image_size 2.

        They are in stored pixels, as hloc and COLMAP read photos: where an EXIF orientation turned the photo, points
        and size are turned back. hloc writes float16 by default, which moves points; these stay float32.
        """
        frame = self.stored_frame
        return {
            "keypoints": frame.from_upright(self.keypoints.detach()).cpu().numpy(),
            "descriptors": np.ascontiguousarray(self.descriptors.detach().float().cpu().numpy().T),
            "scores": self.scores.detach().float().cpu().numpy(),
            "image_size": np.array(frame.size),
        }


@dataclass(frozen=True, kw_only=True)
class Remedies:
    """What was done beyond one pass of extractor and matcher."""

    tried: tuple[str, ...]
    """What was tried, in its order, of "rotation", "zoom" and "tiles"."""
    turned_deg: float = 0.0
    """By how many degrees image 1 was turned counterclockwise before its features were extracted, in [0, 360); of
    features with orientations, such as SIFT's, the points were turned."""
    turn_sums: tuple[float, ...] = ()
    """How well few points matched with image 1 turned by 0, 1, 2 and 3 quarters: sums of scores; empty if not tried."""
    features: str | None = None
    """Kind of the features that were matched, which stand turns better than those of the pipeline; None: these."""
    boxes: tuple[tuple[int, int, int, int], tuple[int, int, int, int]] | None = None
    """The parts of image 0, and of image 1 as it was turned, that were matched: left, top, right, bottom; None: all."""
    tiles: int = 0
    """Pairs of tiles that were matched; 0: the images were matched as a whole."""

    @property
    def applied(self) -> tuple[str, ...]:
        """What gave better matches than one pass, and was kept."""
        turned = self.turned_deg != 0 or self.features is not None
        kept = {"rotation": turned, "zoom": self.boxes is not None, "tiles": self.tiles > 0}
        return tuple(name for name in self.tried if kept[name])


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Matches(TensorStruct):
    """What a matcher says of one pair of images with ``m`` and ``n`` keypoints."""

    matches0: Int64[Tensor, " m"]
    """Index of the partner in image 1 of each keypoint of image 0; -1 where there is none."""
    matches1: Int64[Tensor, " n"]
    """Index of the partner in image 0 of each keypoint of image 1; -1 where there is none."""
    matching_scores0: Float[Tensor, " m"]
    """Confidence of each keypoint of image 0, in [0, 1]; 0 where the best partners do not choose each other. It may be
    positive where ``matches0`` is -1: below the filter threshold."""
    matching_scores1: Float[Tensor, " n"]
    """Confidence of each keypoint of image 1, in [0, 1]; see ``matching_scores0``."""
    keypoints0: Float[Tensor, "m 2"]
    """The keypoints of image 0 that were matched, (x, y) in pixels of image 0."""
    keypoints1: Float[Tensor, "n 2"]
    """The keypoints of image 1 that were matched, (x, y) in pixels of image 1."""
    stop: int | None = None
    """Number of layers that ran for this pair: the exit layer, from 1; None for matchers without layers."""
    n_layers: int | None = None
    """Number of layers of the matcher; None for matchers without layers."""
    prune0: Int64[Tensor, " m"] | None = None
    """1 + the number of pruning steps that each keypoint of image 0 survived. A point removed after layer j has j; one
    that stayed to the end has 1 + all steps run on its image. ``n_layers`` everywhere if pruning is off."""
    prune1: Int64[Tensor, " n"] | None = None
    """1 + the number of pruning steps that each keypoint of image 1 survived; see ``prune0``."""
    precision: str | None = None
    """Number format that the matcher computed in, such as "bfloat16"; None if it has no choice."""
    refine: str | None = None
    """"subpixel" if the points of image 1 were moved to where they look most like their partners: then ``keypoints1``
    are no longer the keypoints of the features. None: they are as the extractor found them."""
    remedies: Remedies | None = None
    """What was done beyond one pass of extractor and matcher; None: nothing."""

    def __post_init__(self) -> None:
        m = _check(self.matches0, "matches0", (None,), floating=False)
        n = _check(self.matches1, "matches1", (None,), floating=False)
        _check(self.matching_scores0, "matching_scores0", (m,))
        _check(self.matching_scores1, "matching_scores1", (n,))
        _check(self.keypoints0, "keypoints0", (m, 2))
        _check(self.keypoints1, "keypoints1", (n, 2))

    def __len__(self) -> int:
        """The number of matches."""
        return int((self.matches0 >= 0).sum())

    def __repr__(self) -> str:
        ran = "" if self.stop is None else f", {self.stop} of {self.n_layers} layers"
        return f"<Matches: {len(self)} of {len(self.matches0)} and {len(self.matches1)} points{ran}>"

    @property
    def indices(self) -> Int64[Tensor, "k 2"]:
        """The matched pairs (index in image 0, index in image 1), by the first index."""
        index0 = torch.nonzero(self.matches0 >= 0).flatten()
        return torch.stack([index0, self.matches0[index0]], dim=-1)

    @property
    def scores(self) -> Float[Tensor, " k"]:
        """The confidence of each row of ``indices``, in [0, 1]."""
        return self.matching_scores0[self.matches0 >= 0]

    @property
    def points0(self) -> Float[Tensor, "k 2"]:
        """Positions in image 0 of the rows of ``indices``, (x, y) in pixels."""
        return self.keypoints0[self.matches0 >= 0]

    @property
    def points1(self) -> Float[Tensor, "k 2"]:
        """Positions in image 1 of the rows of ``indices``, (x, y) in pixels."""
        return self.keypoints1[self.indices[:, 1]]

    def select(self, rows: Bool[Tensor, " k"]) -> "Matches":
        """Only some of the matches, such as those that geometry accepted; the keypoints stay.

        Args:
            rows: For each row of ``indices`` whether to keep it, such as ``Verification.inliers``.

        Raises:
            ShapeError: If there is not one value for each match.
        """
        if rows.shape != (len(self),):
            raise ShapeError(f"rows has shape {tuple(rows.shape)}; there are {len(self)} matches: give one for each.")
        index0, index1 = self.indices[~rows.to(self.matches0.device)].T
        return replace(
            self, matches0=self.matches0.index_fill(0, index0, -1), matches1=self.matches1.index_fill(0, index1, -1)
        )

    def to_opencv(self) -> list[Any]:
        """A list of ``cv2.DMatch`` from image 0 (query) to image 1 (train), with distance = 1 - score.

        Raises:
            MissingExtra: If no OpenCV is installed.
        """
        cv2 = require("cv2", extra="sift")
        rows = zip(self.indices.tolist(), self.scores.tolist(), strict=True)
        return [cv2.DMatch(index0, index1, 1.0 - score) for (index0, index1), score in rows]

    def to_hloc(self) -> dict[str, np.ndarray]:
        """The datasets that hloc keeps for a pair: ``matches0`` (int32: hloc's int16 overflows at 32,768 points) and
        ``matching_scores0`` (float32), both of length m."""  # noqa: D205, D209
        return {
            "matches0": self.matches0.cpu().numpy().astype(np.int32),
            "matching_scores0": self.matching_scores0.detach().float().cpu().numpy(),
        }


def _check(tensor: Tensor, name: str, shape: tuple[int | None, ...], floating: bool = True) -> int:
    """The length of the first axis, if ``tensor`` has that shape (None: any length) and type."""
    if not isinstance(tensor, Tensor):
        raise ShapeError(f"{name} is a {type(tensor).__name__}; it must be a torch.Tensor. See Features.from_arrays().")
    if tensor.layout is not torch.strided:
        raise ShapeError(f"{name} is {tensor.layout}; it must be a dense tensor: tensor.to_dense().")
    fits = tensor.ndim == len(shape) and all(w is None or w == g for w, g in zip(shape, tensor.shape, strict=True))
    if not fits:
        wanted = " × ".join("any" if length is None else str(length) for length in shape)
        hint = " There is no batch axis: one Features for one image." if tensor.ndim == len(shape) + 1 else ""
        raise ShapeError(f"{name} has shape {tuple(tensor.shape)}; it must be {wanted}.{hint}")
    if tensor.is_floating_point() and tensor.dtype.itemsize < 2:
        raise ShapeError(f"{name} is {tensor.dtype}, which nothing can be computed in; use tensor.float().")
    if tensor.is_floating_point() != floating:
        raise ShapeError(f"{name} is {tensor.dtype}; it must be {'a floating type' if floating else 'torch.int64'}.")
    return tensor.shape[0]


def _refuse_number(rows: Any) -> None:
    if isinstance(rows, numbers.Integral):  # a loop over Features asks for these too
        raise ShapeError(f"features[{rows}] would be a point, and not Features: take features[{rows}:{rows} + 1].")


def _check_size(image_size: Any) -> None:
    # The length is checked first, since the shape of an image array is what comes by mistake.
    advice = "it must be (width, height) in pixels"
    try:
        width, height = image_size
    except (TypeError, ValueError):
        raise ShapeError(f"image_size is {image_size}; {advice}: of an array (shape[1], shape[0]).") from None
    if not all(isinstance(side, int | float | np.number) and 1 <= side < 2**31 for side in (width, height)):
        raise ShapeError(f"image_size is ({str(width)[:20]}, {str(height)[:20]}); {advice}, both at least 1.")


def _as_float32(values: Any) -> Tensor:
    """A tensor as it is, else a copy: a reused or read-only buffer of the caller's must not show through."""
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
    return tensor.to(torch.float32)


def _as_numpy(tensor: Tensor) -> np.ndarray:
    values = tensor.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
