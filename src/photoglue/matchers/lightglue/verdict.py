"""What LightGlue's scores mean: the probability that a match is correct, and that two photos overlap at all.

A score orders the matches of a pair well, but it is not the share of such matches that is correct: it is too low (0.15
where a third are). A calibration maps it to that share, and a verdict sums up a pair. Both were fitted to photos with
known geometry, none of which is in the evaluation sets; ``benchmarks/calibrate.py`` made the table below. Weights of
one's own get theirs from ``photoglue train calibrate``, and keep it in their file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from photoglue.errors import ConfigError
from photoglue.structs import Matches

SCORE_LIMIT = 1e-4
"""Scores count as at least this and at most 1 minus this, since the logit of 0 and 1 is infinite."""
LEAST_SCORE = 0.1
"""The filter threshold of the released models, that verdicts were fitted with: matches below it are no evidence."""
SURE_SCORE = 0.8
"""Matches from here on are sure ones, whose neighbours are looked at."""
POINTS_PER_CELL = 16
"""Points that are neighbours: a photo is divided into equal squares with so many in each, on average."""
LOGIT_LIMIT = 30.0
"""Odds are at most exp(30), so that verdicts are never quite 1."""


@dataclass(frozen=True, kw_only=True)
class ScoreCalibration:
    """Score of a match → probability that it is correct: 1 / (1 + exp(-(offset + slope · logit(score)))).

    Platt scaling of the score's logit (Platt 1999); a temperature would be the same without the offset.

    Raises:
        ConfigError: If the slope is not positive: the map keeps the order of scores.
    """

    slope: float
    """Above 1 makes scores more extreme, below 1 less."""
    offset: float
    """Above 0 makes them higher."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.offset) and 0 < self.slope < math.inf):
            raise ConfigError(
                f"slope is {self.slope} and offset {self.offset}; a calibration has a positive slope, and both finite."
            )

    def __call__(self, scores: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        """The probability that each match is correct, in (0, 1), for scores in [0, 1] of any floating type; float32."""
        logits = torch.logit(scores.double(), eps=SCORE_LIMIT)
        return torch.sigmoid(self.offset + self.slope * logits).float()


@dataclass(frozen=True, kw_only=True)
class PairVerdict:
    """Matches of LightGlue → probability that the two photos show the same thing.

    A logistic regression on the logarithm of 1 + the number of correct matches that the calibrated scores promise tells
    pairs that were matched from unrelated ones. A share of overlapping pairs, ``failures``, cannot be matched and looks
    like unrelated ones: so that few matches make an overlap unlikely and not impossible. Mean score, share of keypoints
    matched, and numbers of keypoints and matches made it no better on scenes left out.

    Different things that look alike have matches, too, but these are few among the points around them. So the share of
    neighbours of sure matches that are sure matches themselves (``neighbors_matched``) counts as well: its logarithm,
    with a weight of its own.

    It supposes that, before any match was seen, overlap was as likely as not. Where one pair in a hundred overlaps, as
    between all photos of a big collection, ask for more than 0.99.

    Raises:
        ConfigError: If a number is out of its range.
    """

    calibration: ScoreCalibration
    """The calibration of the single scores."""
    offset: float
    """Logit of an overlap where no match is expected to be correct."""
    evidence: float
    """Weight of log(1 + expected number of correct matches); positive."""
    failures: float
    """Share of the overlapping pairs on which the matcher finds next to nothing, in [0, 1)."""
    neighbors: float = 0.0
    """Weight of the logarithm of ``neighbors_matched``, at least 0; 0: it does not count."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.offset) and 0 < self.evidence < math.inf and 0 <= self.failures < 1):
            raise ConfigError(
                f"offset is {self.offset}, evidence {self.evidence} and failures {self.failures}; a verdict has a "
                "finite offset, positive evidence, and failures from 0 to less than 1."
            )
        if not 0 <= self.neighbors < math.inf:
            raise ConfigError(f"neighbors is {self.neighbors}; its weight is at least 0.")

    def __call__(self, matches: Matches) -> float | None:
        """The probability in (0, 1), the same for swapped images; None if no LightGlue made the matches.

        Scores of nearest neighbours are similarities: nothing can be concluded from them in this way.
        """
        if matches.stop is None:
            return None
        logit = self.offset + self.evidence * math.log1p(expected_matches(matches, self.calibration))
        if self.neighbors:
            logit += self.neighbors * math.log(neighbors_matched(matches))
        odds = (1 - self.failures) * math.exp(min(logit, LOGIT_LIMIT)) + self.failures
        return odds / (1 + odds)


def expected_matches(matches: Matches, calibration: ScoreCalibration) -> float:
    """How many of the matches should be correct: the sum of their probabilities.

    Swapped images give this number to the last digit.
    """
    scores = matches.scores.double().cpu()
    # Sorted, because a sum depends on its order, and that on which image comes first.
    return float(calibration(scores[scores > LEAST_SCORE].sort().values).double().sum())


def neighbors_matched(matches: Matches) -> float:
    """How many of the points beside sure matches are sure matches themselves, in (0, 1).

    Most are where both photos show the same, few where they only look alike. The photo with the larger share counts: in
    the other one, points may be hidden or out of focus. It is a sixteenth if there is nothing to be counted. Swapped
    images have the same share to the last digit.
    """
    sides = (
        (matches.keypoints0, matches.matches0, matches.matching_scores0),
        (matches.keypoints1, matches.matches1, matches.matching_scores1),
    )
    return max(_share(points, (partners >= 0) & (scores > SURE_SCORE)) for points, partners, scores in sides)


def _share(points: Float[Tensor, "n 2"], sure: Bool[Tensor, " n"]) -> float:
    points, sure = points.double().cpu(), sure.cpu()
    if not bool(sure.any()):
        return 1 / POINTS_PER_CELL
    low, high = points.aminmax(dim=0)
    width, height = (high - low).tolist()
    apart = POINTS_PER_CELL / len(points)
    side = max(math.sqrt(width * height * apart), max(width, height) * apart, 1e-6)
    column, row = ((points - low) / side).long().T
    cell = torch.unique(row * (int(width / side) + 1) + column, return_inverse=True)[1]
    every = torch.bincount(cell)
    chosen = torch.bincount(cell[sure], minlength=len(every))
    beside, of_these = int((chosen * (every - 1)).sum()), int((chosen * (chosen - 1)).sum())
    return (of_these + 1) / (beside + POINTS_PER_CELL)


VERDICTS: Mapping[str, PairVerdict] = MappingProxyType(
    {
        # python benchmarks/calibrate.py --data ../shared/data --features aliked (disk, sift)
        # sift, and all but the calibration of the others, with --per-scene 6 --every 8 --negatives 24
        "aliked": PairVerdict(
            calibration=ScoreCalibration(slope=0.755, offset=0.765),
            offset=-2.75,
            evidence=2.83,
            failures=0.19,
            neighbors=3.08,
        ),
        "disk": PairVerdict(
            calibration=ScoreCalibration(slope=0.772, offset=0.6),
            offset=-5.07,
            evidence=2.88,
            failures=0.23,
            neighbors=2.58,
        ),
        # It was trained on some of the photos that this was fitted to.
        "sift-photoglue": PairVerdict(
            calibration=ScoreCalibration(slope=0.718, offset=0.317),
            offset=-3.09,
            evidence=2.35,
            failures=0.2,
            neighbors=2.49,
        ),
        # benchmarks/calibrate.py --features aliked-t16 --layers 5 --per-scene 6 --every 8
        "aliked-t16-edge": PairVerdict(
            calibration=ScoreCalibration(slope=0.763, offset=0.757),
            offset=-3.04,
            evidence=2.26,
            failures=0.23,
            neighbors=1.93,
        ),
        # photoglue train calibrate, eight scenes, 9 pairs of each; fitted before the weights had low-rank changes
        "aliked-t16-photoglue": PairVerdict(
            calibration=ScoreCalibration(slope=0.848, offset=0.915), offset=-14.93, evidence=4.93, failures=0.2
        ),
    }
)
"""Verdicts of the released LightGlue models, under their names. A new row is what the command above it prints."""
