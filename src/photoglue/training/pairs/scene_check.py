"""Whether a scene's poses and depths agree with its photos."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from photoglue.datasets.conventions import PosedMatches, advice, fitting_convention
from photoglue.datasets.depth import has_depth, project_points
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.structs import Matches
from photoglue.training.pairs.base import PosedPair

GOOD_PX = 3.0
"""Nearer than this, points are labelled as matches in training."""
MISMATCH_PX = 30.0
"""Matches farther off than this are taken for mismatches, and do not count in the median."""
MIN_MATCHES = 30
"""With fewer matches, nothing is said against a scene."""
MIN_SHARE = 0.25
"""A scene contradicts its photos if a smaller share of the matches is near."""


@dataclass(frozen=True, kw_only=True)
class SceneCheck:
    """How well matches of descriptors agree with the geometry that a scene claims."""

    name: str
    pairs: int
    matches: int
    """Mutual nearest neighbours that pass the ratio test and have depth in image 0, in all pairs."""
    median_px: float
    """Median distance of matches from where depth and pose put them, up to 30 px; NaN if there is none."""
    share: float
    """Share of all matches that are nearer to it than 3 px, in [0, 1]; NaN if there are no matches."""
    convention: str | None = None
    """A key of ``conventions.CONVENTIONS`` in which contradicted poses would fit; None: none does."""

    @property
    def contradicts(self) -> bool:
        """Whether there are enough matches to tell, and they say that poses or depths are wrong."""
        return self.matches >= MIN_MATCHES and (self.share < MIN_SHARE or self.median_px > GOOD_PX)

    def describe(self) -> str:
        """A sentence for people."""
        found = f"{self.matches} matches in {self.pairs} pairs"
        if self.contradicts:
            median = "" if math.isnan(self.median_px) else f" (median {self.median_px:.1f} px)"
            return (
                f"Scene {self.name!r}: its poses or depths contradict its photos: of {found}, {self.share:.0%} are "
                f"within {GOOD_PX:g} px of where they should be{median}. {advice(self.convention)} "
                "Check the unit of the depth too, or leave the scene out."
            )
        if self.matches == 0:
            return (
                f"Scene {self.name!r}: no matches with depth in {self.pairs} pairs, so its poses could not be checked."
            )
        return f"Scene {self.name!r}: {found}, {self.share:.0%} within {GOOD_PX:g} px, median {self.median_px:.2f} px."


def check_pairs(name: str, pairs: Iterable[PosedPair]) -> SceneCheck:
    """Match pairs of one scene by nearest neighbours with a ratio test, and compare with depth and pose."""
    matched = [(pair, NearestNeighbor(0.8).match(pair.features0, pair.features1)) for pair in pairs]
    errors = [_errors(pair, matches) for pair, matches in matched]
    every = torch.cat(errors) if errors else torch.zeros(0, dtype=torch.float64)
    near = every[every < MISMATCH_PX]
    check = SceneCheck(
        name=name,
        pairs=len(errors),
        matches=len(every),
        median_px=float(near.median()) if len(near) else float("nan"),
        share=float((every < GOOD_PX).double().mean()) if len(every) else float("nan"),
    )
    if not check.contradicts:
        return check
    return replace(check, convention=fitting_convention([_posed(pair, matches) for pair, matches in matched]))


def spread_over_overlaps(overlaps: Float64[Tensor, " p"], count: int) -> Int64[Tensor, " k"]:
    """Rows of at most ``count`` pairs: spread evenly over those with overlaps of 0.3 to 0.85, else over all."""
    order = torch.argsort(overlaps, stable=True)
    medium = order[(overlaps[order] >= 0.3) & (overlaps[order] <= 0.85)]
    order = medium if len(medium) else order
    places = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(np.int64)
    return order[torch.from_numpy(places)]


def _errors(pair: PosedPair, matches: Matches) -> Float64[Tensor, " k"]:
    """How far the matches with depth land from their partners, pixels; infinite behind the camera."""
    rows0, rows1 = matches.indices.unbind(dim=1)
    depths = pair.depths0[rows0]
    landed = project_points(pair.points0[rows0], depths, pair.camera0, pair.camera1, pair.cam1_from_cam0)
    error = torch.hypot(*(landed - pair.points1[rows1]).unbind(dim=1))
    return error[has_depth(depths)].nan_to_num(nan=torch.inf)


def _posed(pair: PosedPair, matches: Matches) -> PosedMatches:
    return PosedMatches(
        points0=pair.points0[matches.indices[:, 0]],
        points1=pair.points1[matches.indices[:, 1]],
        camera0=pair.camera0,
        camera1=pair.camera1,
        cam0_from_world=pair.cam0_from_world.numpy(),
        cam1_from_world=(pair.cam1_from_cam0 @ pair.cam0_from_world).numpy(),
    )
