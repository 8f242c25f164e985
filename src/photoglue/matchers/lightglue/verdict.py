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
from jaxtyping import Float
from torch import Tensor

from photoglue.errors import ConfigError
from photoglue.structs import Matches

SCORE_LIMIT = 1e-4
"""Scores count as at least this and at most 1 minus this, since the logit of 0 and 1 is infinite."""
LEAST_SCORE = 0.1
"""The filter threshold of the released models, that verdicts were fitted with: matches below it are no evidence."""
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

    It supposes that, before any match was seen, overlap was as likely as not. Where one pair in a hundred overlaps, as
    between all photos of a big collection, ask for more than 0.99. Different things that look alike (doppelgangers) get
    the verdict of the same thing.

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

    def __post_init__(self) -> None:
        if not (math.isfinite(self.offset) and 0 < self.evidence < math.inf and 0 <= self.failures < 1):
            raise ConfigError(
                f"offset is {self.offset}, evidence {self.evidence} and failures {self.failures}; a verdict has a "
                "finite offset, positive evidence, and failures from 0 to less than 1."
            )

    def __call__(self, matches: Matches) -> float | None:
        """The probability in (0, 1), the same for swapped images; None if no LightGlue made the matches.

        Scores of nearest neighbours are similarities: nothing can be concluded from them in this way.
        """
        if matches.stop is None:
            return None
        logit = self.offset + self.evidence * math.log1p(expected_matches(matches, self.calibration))
        odds = (1 - self.failures) * math.exp(min(logit, LOGIT_LIMIT)) + self.failures
        return odds / (1 + odds)


def expected_matches(matches: Matches, calibration: ScoreCalibration) -> float:
    """How many of the matches should be correct: the sum of their probabilities.

    Swapped images give this number to the last digit.
    """
    scores = matches.scores.double().cpu()
    # Sorted, because a sum depends on its order, and that on which image comes first.
    return float(calibration(scores[scores > LEAST_SCORE].sort().values).double().sum())


VERDICTS: Mapping[str, PairVerdict] = MappingProxyType(
    {
        # python benchmarks/calibrate.py --data ../shared/data --features aliked (disk, sift)
        "aliked": PairVerdict(
            calibration=ScoreCalibration(slope=0.755, offset=0.765), offset=-22.92, evidence=6.93, failures=0.19
        ),
        "disk": PairVerdict(
            calibration=ScoreCalibration(slope=0.772, offset=0.6), offset=-21.67, evidence=6.32, failures=0.21
        ),
        # It was trained on some of the photos that this was fitted to; docs/quality.md has what it gives on others.
        "sift-photoglue": PairVerdict(
            calibration=ScoreCalibration(slope=0.784, offset=0.337), offset=-16.69, evidence=6.22, failures=0.16
        ),
        # photoglue train calibrate --weights aliked-t16-photoglue --features aliked-t16: eight scenes, 9 pairs of each
        "aliked-t16-photoglue": PairVerdict(
            calibration=ScoreCalibration(slope=0.848, offset=0.915), offset=-14.93, evidence=4.93, failures=0.2
        ),
    }
)
"""Verdicts of the released LightGlue models, under their names. A new row is what the command above it prints."""
