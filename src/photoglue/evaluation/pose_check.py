"""A warning if the matches of a data set contradict its poses, which would make every method look bad."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from photoglue.datasets.base import DataSet, EvaluationPair
from photoglue.datasets.conventions import PosedMatches, advice, fitting_convention
from photoglue.datasets.truths import Posed
from photoglue.structs import Matches

MIN_INLIERS = 20
"""Pairs with fewer inliers of their estimated model say nothing, nor do those with more outliers than inliers."""
MAX_SHARE = 0.25
"""The poses are contradicted if a smaller share of the matches agrees with them, and they fit in another convention or
the pose errors are large. (Few matches agree with right, but inaccurate poses, or in small images.)"""
MIN_ERROR_DEG = 10.0
"""A median pose error that is large."""
AGREES = "epipolar_precision_1e-3"
"""The share of a pair's matches that agree with its poses: to a thousandth of the focal length."""
MOST_PAIRS = 8
"""So many pairs are matched again to tell which convention the poses have."""


def pose_warning(
    dataset: DataSet,
    values: Mapping[int, Mapping[str, float]],
    matches_of: Callable[[Sequence[EvaluationPair]], Sequence[Matches]],
) -> str | None:
    """What is wrong with the poses of a data set, if matches that fit a model of their own do not fit them.

    Args:
        dataset: Of any benchmark; only poses are checked.
        values: What was measured on each pair, by number.
        matches_of: The matches of some pairs once more, in pixels of the images as read.

    Returns:
        A sentence or two; None if nothing speaks against the poses.
    """
    clear = [
        i
        for i, row in values.items()
        if isinstance(dataset.pairs[i].truth, Posed) and row["num_inliers"] >= max(MIN_INLIERS, row["num_matches"] / 2)
    ]
    if not clear:
        return None
    matches = sum(values[i]["num_matches"] for i in clear)
    inliers = sum(values[i]["num_inliers"] for i in clear)
    agreeing = sum(values[i][AGREES] * values[i]["num_matches"] for i in clear) / matches
    if agreeing >= MAX_SHARE:
        return None
    pairs = [dataset.pairs[i] for i in clear[:: -(-len(clear) // MOST_PAIRS)]]
    found = [_posed(pair, each) for pair, each in zip(pairs, matches_of(pairs), strict=True)]
    convention = fitting_convention(found)
    if convention is None and np.median([values[i]["pose_error_deg"] for i in clear]) < MIN_ERROR_DEG:
        return None
    return (
        f"The matches contradict the given poses: {inliers:.0f} of {matches:.0f} matches are inliers of an estimated "
        f"model, but only {agreeing:.1%} agree with the poses. {advice(convention)}"
    ).replace("%", " %")


def _posed(pair: EvaluationPair, matches: Matches) -> PosedMatches:
    truth = pair.truth
    assert isinstance(truth, Posed)
    return PosedMatches(
        points0=matches.points0,
        points1=matches.points1,
        camera0=truth.camera0,
        camera1=truth.camera1,
        cam0_from_world=truth.cam0_from_world,
        cam1_from_world=truth.cam1_from_cam0 @ truth.cam0_from_world,
    )
