"""How good the matches are while the network learns: on held-out pairs, against a baseline that does not learn.

Matches come from ``match_many``, as users get them, in the precision that they get: what is measured is what ships.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch

from photoglue.geometry.pose import pose_error_deg
from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.metrics import auc, average_precision
from photoglue.precision import choose_precision
from photoglue.solvers.poselib import verify
from photoglue.structs import Features, Matches
from photoglue.training.ground_truth import DEFAULT_RULES, UNMATCHED, LabelRules, Labels, label
from photoglue.training.objective import Example, Objective
from photoglue.training.pairs.base import PosedPair, TrainingPair
from photoglue.training.progress import Score

AUC_DEG = (5.0, 10.0, 20.0)
"""Errors of poses up to which the area under the recall is measured, degrees."""
FILTER_THRESHOLD = 0.1
"""The official filter threshold: matches below it count for the average precision only."""
PAIRS_AT_ONCE = 8
"""Pairs that go through the network together for the loss; matching decides by itself."""


@dataclass(frozen=True, kw_only=True)
class MatchQuality:
    """Quality of one matcher. Shares are means over pairs, in [0, 1]; a pair without what is divided by is left out,
    and where no pair is left, the share is NaN."""  # noqa: D205, D209

    precision: float
    """Share of right matches among those whose point in image 0 can be judged (is not ignored)."""
    recall: float
    """Share of the true matches that are found."""
    average_precision: float
    """Area under precision over recall as the filter threshold falls to zero; true matches not found count."""
    pose_auc: tuple[float, float, float] | None
    """Area under the recall of poses up to an error of 5, 10, 20 degrees, in [0, 1]; None: no posed photos."""

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall: 0 if nothing is found, or nothing right."""
        if self.recall == 0:
            return 0.0
        return 2 * self.precision * self.recall / (self.precision + self.recall)


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """Result of a validation."""

    matcher: MatchQuality
    """Quality of the network with all layers and all points."""
    baseline: MatchQuality
    """Quality of a matcher that does not learn, on the same pairs."""
    last_layer_loss: float
    """Negative log-likelihood of the last layer, nats."""
    confidence_loss: float | None
    """Cross-entropy of the confidence heads; None if there are none."""
    exit_layer: float
    """Number of layers after which pairs exit with adaptive depth, mean over pairs."""
    exit_agreement: float
    """Share of matches found both with all layers and with adaptive depth, among those found with either; mean."""

    def score(self) -> Score:
        """What the training loop keeps: all numbers, judged by the harmonic mean of precision and recall."""
        numbers = {
            "last_layer_loss": self.last_layer_loss,
            "exit_layer": self.exit_layer,
            "exit_agreement": self.exit_agreement,
        }
        if self.confidence_loss is not None:
            numbers["confidence_loss"] = self.confidence_loss
        for prefix, quality in (("", self.matcher), ("baseline_", self.baseline)):
            numbers[f"{prefix}precision"] = quality.precision
            numbers[f"{prefix}recall"] = quality.recall
            numbers[f"{prefix}average_precision"] = quality.average_precision
            for degrees, area in zip(AUC_DEG, quality.pose_auc or (), strict=False):
                numbers[f"{prefix}pose_auc_{degrees:.0f}"] = area
        return Score(score=self.matcher.f1, numbers=numbers)


@final
class Validation:
    """Held-out pairs, to be matched again and again as the network learns.

    Args:
        pairs: Pairs that are never trained on. The poses of those that are posed are measured too; PoseLib finds them.
        rules: What counts as a match.
        baseline: A matcher to compare with, which matches once; None: mutual nearest neighbours.
    """

    def __init__(
        self,
        pairs: Sequence[TrainingPair],
        *,
        rules: LabelRules = DEFAULT_RULES,
        baseline: Matcher | None = None,
    ) -> None:
        self.pairs = tuple(pairs)
        self.labels = tuple(label(pair, rules).cpu() for pair in pairs)
        self._objective = Objective(rules=rules)
        self._examples = [
            Example(features0=pair.features0, features1=pair.features1, labels=labels)
            for pair, labels in zip(self.pairs, self.labels, strict=True)
        ]
        found = (baseline or NearestNeighbor()).match_many(self._images())
        # Their scores are no probabilities: all matches count.
        self.baseline = self._quality([matches.cpu() for matches in found], threshold=-math.inf)

    @torch.no_grad()
    def __call__(self, model: LightGlue) -> ValidationResult:
        """Measure how good the model is; it comes back as it was."""
        depth = model.config.depth_confidence or LightGlueConfig().depth_confidence
        full = _matched(model, self._images(), None)
        adaptive = _matched(model, self._images(), depth)
        last, confidence = self._losses(model)
        return ValidationResult(
            matcher=self._quality(full, FILTER_THRESHOLD),
            baseline=self.baseline,
            last_layer_loss=last,
            confidence_loss=confidence,
            exit_layer=_mean([float(matches.stop or 0) for matches in adaptive]),
            exit_agreement=_mean([_agreement(*both) for both in zip(full, adaptive, strict=True)]),
        )

    def _images(self) -> list[tuple[Features, Features]]:
        return [(pair.features0, pair.features1) for pair in self.pairs]

    def _quality(self, found: Sequence[Matches], threshold: float) -> MatchQuality:
        shares = [judged(*pair, threshold) for pair in zip(found, self.labels, strict=True)]
        precision, recall, area = (_mean(column) for column in zip(*shares, strict=True)) if shares else (math.nan,) * 3
        errors = [
            _pose_error(matches, pair, threshold)
            for matches, pair in zip(found, self.pairs, strict=True)
            if isinstance(pair, PosedPair)
        ]
        at5, at10, at20 = auc(errors, AUC_DEG)
        pose_auc = (at5, at10, at20) if errors else None
        return MatchQuality(precision=precision, recall=recall, average_precision=area, pose_auc=pose_auc)

    def _losses(self, model: LightGlue) -> tuple[float, float | None]:
        """Loss of the last layer, and of the confidence heads: means over pairs."""
        dtype = choose_precision("auto", model.device)
        pairs, last, confidence = 0, 0.0, None
        for start in range(0, len(self.pairs), PAIRS_AT_ONCE):
            with torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32):
                terms = self._objective(model, self._examples[start : start + PAIRS_AT_ONCE])
            pairs += terms.pairs
            last += terms.pairs * float(terms.last)
            if terms.confidence is not None:
                confidence = (confidence or 0.0) + terms.pairs * float(terms.confidence)
        if not pairs:
            return math.nan, None
        return last / pairs, None if confidence is None else confidence / pairs


def judged(matches: Matches, truth: Labels, threshold: float) -> tuple[float, float, float]:
    """(precision, recall, average precision) of one pair; NaN where there is nothing to divide by.

    Args:
        matches: Matches of any score.
        truth: Matches whose point in image 0 is ignored there are not judged.
        threshold: Precision and recall are of the matches with a higher score.
    """
    proposed = (matches.matches0 >= 0) & (truth.matches0 >= UNMATCHED)
    scores = matches.matching_scores0[proposed].double().numpy()
    right = (matches.matches0 == truth.matches0)[proposed].numpy()
    kept = scores > threshold
    true = int((truth.matches0 >= 0).sum())
    precision = float(right[kept].mean()) if kept.any() else math.nan
    if not true:
        return precision, math.nan, math.nan
    # Relative to the right ones among these matches; rescaled to all true ones.
    area = average_precision(scores, right) * right.sum() / true if len(scores) else 0.0
    return precision, float(right[kept].sum() / true), float(area)


def _matched(
    model: LightGlue, images: list[tuple[Features, Features]], depth_confidence: float | None
) -> list[Matches]:
    """Matches of any score, with all points, by the model as users have it; afterwards it is as it was."""
    config, precision, training = model.config, model.precision, model.training
    model.eval().prepare("auto")
    model.config = replace(config, depth_confidence=depth_confidence, width_confidence=None, filter_threshold=0.0)
    try:
        return [matches.cpu() for matches in model.match_many(images)]
    finally:
        model.config, model.precision = config, precision
        model.train(training)


def _agreement(full: Matches, adaptive: Matches) -> float:
    """Matches above the threshold that both have, of those that one has; NaN if there are none."""
    one, other = (
        matches.matches0.masked_fill(matches.matching_scores0 <= FILTER_THRESHOLD, -1) for matches in (full, adaptive)
    )
    both = int(((one == other) & (one >= 0)).sum())
    either = int((one >= 0).sum() + (other >= 0).sum()) - both
    return both / either if either else math.nan


def _pose_error(matches: Matches, pair: PosedPair, threshold: float) -> float:
    rows0, rows1 = matches.indices[matches.scores > threshold].unbind(dim=1)
    found = verify(
        pair.points0[rows0],
        pair.points1[rows1],
        "essential",
        camera0=pair.camera0,
        camera1=pair.camera1,
    )
    return pose_error_deg(found.rotation, found.translation, pair.cam1_from_cam0.cpu())


def _mean(values: Sequence[float]) -> float:
    """Mean of those values that are numbers; NaN if there are none."""
    numbers = [value for value in values if not math.isnan(value)]
    return float(np.mean(numbers)) if numbers else math.nan
