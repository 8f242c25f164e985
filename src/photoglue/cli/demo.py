"""`photoglue demo`: the main job on a real stereo pair whose true disparity is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from rich.console import Console
from rich.text import Text
from torch import Tensor

from photoglue.errors import OutputError, require
from photoglue.pair import Clock
from photoglue.pipeline import Pipeline
from photoglue.structs import Matches
from photoglue.viz import save_figure

TOLERANCES_PX = (1.0, 3.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Match the Middlebury motorcycle stereo pair, draw it, and compare with its true disparity."""

    out: Path = Path("demo")
    """Folder for the two pictures; made if it is not there."""
    max_keypoints: int | None = 2048
    """At most so many points in each photo; None: all."""

    def run(self, console: Console) -> int:
        """Match the pair, print how precise the matches are and draw them; returns 0."""
        left, right, disparity = motorcycle()
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"The folder {str(self.out)!r} cannot be made: {error.strerror}.") from error
        clock = Clock()
        with clock("load models"):
            pipeline = Pipeline.pretrained(max_keypoints=self.max_keypoints)
        result = pipeline.run(left, right).cpu()
        clock.seconds.update(result.seconds)
        console.print("Middlebury motorcycle, left and right, ALIKED + LightGlue")
        console.print(f"keypoints   {len(result.features0)} and {len(result.features1)}")
        console.print(Text.assemble("matches     ", (str(len(result.matches)), "bold")))
        console.print(f"exit        layer {result.matches.stop} of {result.matches.n_layers}")
        errors, known = disparity_errors(result.matches, disparity)
        shares = ", ".join(f"{share_within(errors[known], px):.1%} within {px:g} px" for px in TOLERANCES_PX)
        console.print(f"precision   {shares} of the true position")
        console.print(f"            ({int(known.sum())} matches where the disparity is known)")
        console.print(f"time        {clock}")
        save_figure(result.draw(), self.out / "matches.png")
        save_figure(result.draw_pruning(), self.out / "pruning.png")
        console.print(f"pictures  → {self.out / 'matches.png'}, {self.out / 'pruning.png'}", soft_wrap=True)
        return 0


def motorcycle() -> tuple[np.ndarray, np.ndarray, Float[Tensor, "h w"]]:
    """(left image, right image, disparity of the left one in pixels) from the scikit-image package.

    The disparity is not finite where it is unknown.

    Raises:
        MissingExtra: If scikit-image is not installed.
    """
    data = require("skimage.data", extra="demo")
    left, right, disparity = data.stereo_motorcycle()
    return left, right, torch.from_numpy(np.asarray(disparity, dtype=np.float32))


def disparity_errors(
    matches: Matches, disparity: Float[Tensor, "h w"]
) -> tuple[Float[Tensor, " k"], Bool[Tensor, " k"]]:
    """Distance of each match from its true position, in pixels, and whether the truth is known there.

    A point at (x, y) of the left image lies at (x - disparity, y) in the right one.
    """
    x, y = matches.points0.T
    column = x.round().long().clamp(0, disparity.shape[1] - 1)
    row = y.round().long().clamp(0, disparity.shape[0] - 1)
    shift = disparity[row, column]
    known = shift.isfinite() & (shift > 0)
    truth = torch.stack([x - shift.nan_to_num(posinf=0.0), y], dim=-1)
    return (matches.points1 - truth).norm(dim=-1), known


def share_within(errors: Float[Tensor, " k"], tolerance_px: float) -> float:
    """The share of errors up to a tolerance; 0 if there are none."""
    return float((errors <= tolerance_px).float().mean()) if len(errors) else 0.0
