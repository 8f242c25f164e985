"""The loss of pairs with known geometry: which points match, what the network says, how wrong that is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, final

import numpy as np
import torch

from photoglue.limits.turning import turned
from photoglue.matchers.lightglue import LightGlue
from photoglue.structs import Features, TensorStruct
from photoglue.training.ground_truth import DEFAULT_RULES, LabelRules, Labels, label
from photoglue.training.losses import LossConfig, LossTerms, losses
from photoglue.training.pairs.base import TrainingPair


@dataclass(frozen=True, kw_only=True, eq=False)
class Example(TensorStruct):
    """A pair that is labelled already."""

    features0: Features
    features1: Features
    labels: Labels


Learned: TypeAlias = TrainingPair | Example


@final
class Objective:
    """The loss of a batch of pairs, for the training loop.

    Args:
        config: Which losses count, and how much.
        rules: What counts as a match.
        turn: Share of the pairs of which one image is turned by any angle, once labelled.
        seed: Seed of the angles.
    """

    def __init__(
        self,
        config: LossConfig | None = None,
        rules: LabelRules = DEFAULT_RULES,
        *,
        turn: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.config, self.rules, self.turn, self.seed = config or LossConfig(), rules, turn, seed

    def prepare(self, pair: TrainingPair, number: int) -> Example:
        """Label a pair, and turn one of its images if that is wanted, in the process that reads it.

        Labels are a hundred small operations a pair, some of which wait for their own result: 1.3 ms on a CPU core, and
        no less in a process that drives a GPU, which would wait meanwhile.

        Args:
            pair: The pair.
            number: Its number in the run, which decides whether and how it is turned.

        Raises:
            ConfigError: If features without orientations are to be turned.
        """
        labels = label(pair, self.rules)
        features = [pair.features0, pair.features1]
        generator = np.random.default_rng([self.seed, 3, number])
        if generator.random() < self.turn:
            side = int(generator.integers(2))
            features[side] = turned(features[side], generator.uniform(-math.pi, math.pi))
        return Example(features0=features[0], features1=features[1], labels=labels)

    def __call__(self, model: LightGlue, pairs: Sequence[Learned], *, checkpointed: bool = False) -> LossTerms:
        """The loss, a mean over the pairs that have points in both images; the others are dropped and counted.

        If none is left, all terms are zero and ``total`` carries no gradient.

        Args:
            model: The network to train; under ``torch.autocast`` if that is wanted.
            pairs: Pairs, prepared or not, with any numbers of points; fastest on GPUs if all have the same.
            checkpointed: See ``LightGlue.all_layers``.
        """
        usable = [pair for pair in pairs if len(pair.features0) and len(pair.features1)]
        dropped = len(pairs) - len(usable)
        if not usable:
            return _nothing(model, dropped)
        # Neighbours of one size go through the loss together on GPUs.
        usable.sort(key=lambda pair: (len(pair.features0), len(pair.features1)))
        labels = [pair.labels if isinstance(pair, Example) else label(pair, self.rules) for pair in usable]
        found = model.all_layers([(pair.features0, pair.features1) for pair in usable], checkpointed=checkpointed)
        return replace(losses(found, labels, self.config), dropped=dropped)


def _nothing(model: LightGlue, dropped: int) -> LossTerms:
    zeros = torch.zeros(model.shape.n_layers, device=model.device)
    return LossTerms(
        total=zeros.sum(),
        nll=zeros,
        positive=zeros[-1],
        negative=zeros[-1],
        confidence=None,
        matchable=zeros[-1],
        unmatchable=zeros[-1],
        pairs=0,
        dropped=dropped,
    )
