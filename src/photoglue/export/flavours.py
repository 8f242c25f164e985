"""The forms of an exported matcher: ours, and those that other programs load.

Reference: the tables of names and ranks in COLMAP's onnx_matchers.cc, and OpenCV's features module (5.x).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from photoglue.export.graph import PlainMatcher
from photoglue.matchers.lightglue import LightGlue

Arrays = Mapping[str, np.ndarray]


class ColmapForm(nn.Module):
    """COLMAP's ``LightGlueONNX``: one pair, no masks, outputs of rank 1."""

    def __init__(self, plain: PlainMatcher) -> None:
        super().__init__()
        self.plain = plain

    def forward(  # noqa: PLR0913, PLR0917  (the inputs of the graph)
        self,
        kpts0: Float[Tensor, "1 m 2"],
        kpts1: Float[Tensor, "1 n 2"],
        desc0: Float[Tensor, "1 m c"],
        desc1: Float[Tensor, "1 n c"],
        image_size0: Float[Tensor, "1 2"],
        image_size1: Float[Tensor, "1 2"],
        scales0: Float[Tensor, "1 m"] | None = None,
        scales1: Float[Tensor, "1 n"] | None = None,
        oris0: Float[Tensor, "1 m"] | None = None,
        oris1: Float[Tensor, "1 n"] | None = None,
    ) -> tuple[Int64[Tensor, " m"], Float[Tensor, " m"]]:
        """``matches0`` (-1: none) and ``mscores0``."""
        embed = self.plain.embedding
        state0 = embed(kpts0, desc0, image_size0, scales0, oris0)
        state1 = embed(kpts1, desc1, image_size1, scales1, oris1)
        matches0, _, scores0, _ = self.plain.unmasked(state0, state1)
        return matches0[0], scores0[0]


class NormalisedForm(nn.Module):
    """What ``cv2.LightGlueMatcher`` gives: positions that are normalised, and no size of the image.

    OpenCV divides x by the width and y by the height. ``setPairInfo(keypoints0, keypoints1, (L, L), (L, L))`` with L
    the longer side makes that our unit; the origin is another, which rotary encoding does not see.
    """

    def __init__(self, plain: PlainMatcher) -> None:
        super().__init__()
        self.plain = plain

    def states(
        self, kpts: Float[Tensor, "1 n 2"], desc: Float[Tensor, "1 n c"]
    ) -> tuple[Float[Tensor, "1 n d"], Float[Tensor, "2 1 1 n f"]]:
        """States and rotations of points whose positions are normalised."""
        embed = self.plain.embedding
        return embed.projection(desc), embed.turn(kpts)


class OpenCVForm(NormalisedForm):
    """``cv2.LightGlueMatcher`` of the 5.0 wheels: matches leave as pairs."""

    def forward(
        self,
        kpts0: Float[Tensor, "1 m 2"],
        kpts1: Float[Tensor, "1 n 2"],
        desc0: Float[Tensor, "1 m c"],
        desc1: Float[Tensor, "1 n c"],
    ) -> tuple[Int64[Tensor, "k 2"], Float[Tensor, " k"]]:
        """Pairs of matched points, and their scores."""
        matches0, _, scores0, _ = self.plain.unmasked(self.states(kpts0, desc0), self.states(kpts1, desc1))
        rows = (matches0[0] >= 0).nonzero()[:, 0]
        return torch.stack([rows, matches0[0][rows]], dim=1), scores0[0][rows]


class OpenCVDiskForm(NormalisedForm):
    """``cv2.LightGlueMatcher`` of type LG_DISK, which came after 5.0.0: four outputs of fixed length.

    It divides x by the width less 1, and y by the height less 1; ``setPairInfo(keypoints0, keypoints1, (L + 1, L + 1),
    (L + 1, L + 1))`` makes that half our unit.
    """

    def forward(
        self,
        kpts0: Float[Tensor, "1 m 2"],
        kpts1: Float[Tensor, "1 n 2"],
        desc0: Float[Tensor, "1 m c"],
        desc1: Float[Tensor, "1 n c"],
    ) -> tuple[Int64[Tensor, "1 m"], Int64[Tensor, "1 n"], Float[Tensor, "1 m"], Float[Tensor, "1 n"]]:
        """``matches0``, ``matches1`` (-1: none), ``mscores0`` and ``mscores1``."""
        return self.plain.unmasked(self.states(2 * kpts0, desc0), self.states(2 * kpts1, desc1))


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """What a consumer's loader wants."""

    form: Callable[[PlainMatcher], nn.Module]
    """From the plain network to the module to export."""
    inputs: tuple[str, ...]
    """Inputs, in their order; those with scales and orientations are left out where the network has none."""
    outputs: tuple[str, ...]
    """Outputs, in their order."""
    span: float | None = None
    """Keypoints come without a size of the image, the longer side being so long; None: in pixels, with the size."""
    scales: bool = True
    """Whether networks with scale and orientation can be had."""
    batched: bool = False
    """Whether several pairs go in at once."""

    def adapted(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Inputs of the general form as this one wants them."""
        adapted = dict(inputs)
        if self.span is not None:
            for i in "01":
                longest = inputs[f"image_size{i}"].max()
                adapted[f"kpts{i}"] = (self.span * (inputs[f"kpts{i}"] / longest) - self.span + 1).astype(np.float32)
        return adapted

    def matches(self, outputs: Arrays, count: int) -> tuple[np.ndarray, np.ndarray]:
        """``matches0`` and scores of one pair, from the outputs of this form for ``count`` points.

        Where there is no match the score is 0 or what the form says.
        """
        matches0, scores0 = outputs["matches0"], outputs["mscores0"]
        if matches0.ndim == 2 and self.outputs == ("matches0", "mscores0"):  # pairs
            full, scores = np.full(count, -1, np.int64), np.zeros(count, np.float32)
            full[matches0[:, 0]], scores[matches0[:, 0]] = matches0[:, 1], scores0
            return full, scores
        return matches0.reshape(-1), scores0.reshape(-1)


_POINTS = ("kpts0", "kpts1", "desc0", "desc1")
_SIZES = ("image_size0", "image_size1")
_SCALES = ("scales0", "scales1", "oris0", "oris1")
_FOUR = ("matches0", "matches1", "mscores0", "mscores1")
FLAVOURS: Mapping[str, Flavour] = MappingProxyType(
    {
        "photoglue": Flavour(
            form=lambda plain: plain,
            inputs=(*_POINTS, *_SIZES, "mask0", "mask1", *_SCALES),
            outputs=_FOUR,
            batched=True,
        ),
        "colmap": Flavour(form=ColmapForm, inputs=(*_POINTS, *_SIZES, *_SCALES), outputs=("matches0", "mscores0")),
        "opencv": Flavour(form=OpenCVForm, inputs=_POINTS, outputs=("matches0", "mscores0"), span=2.0, scales=False),
        "opencv-disk": Flavour(form=OpenCVDiskForm, inputs=_POINTS, outputs=_FOUR, span=1.0, scales=False),
    }
)
"""Forms of an exported matcher by name."""


def example_inputs(flavour: Flavour, model: LightGlue) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
    """Inputs to trace a matcher with, and the axes of each whose length may change."""
    batch, counts = (2 if flavour.batched else 1), {"0": 5, "1": 7}
    shapes: dict[str, tuple[int, ...]] = {"kpts": (2,), "desc": (model.shape.input_dim,)}
    examples: dict[str, Tensor] = {}
    axes: dict[str, dict[int, str]] = {}
    for name in flavour.inputs:
        stem, image = name[:-1], name[-1]
        if name in _SCALES and not model.shape.add_scale_ori:
            continue
        if stem == "image_size":
            examples[name] = torch.tensor([[640.0, 480.0]]).repeat(batch, 1)
        else:
            examples[name] = torch.rand(batch, counts[image], *shapes.get(stem, ())).sub(0.5)
        if stem == "mask":
            examples[name] = torch.ones_like(examples[name], dtype=torch.bool)
        axes[name] = {0: "batch"} if flavour.batched else {}
        if stem != "image_size":
            axes[name][1] = f"points{image}"
    return examples, axes
