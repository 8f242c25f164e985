"""From pairs with known geometry to the loss: what points match, what the network says, how wrong that is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import torch

from photoglue.data.pairs import TrainingPair
from photoglue.matchers.lightglue import LightGlue
from photoglue.training.ground_truth import DEFAULT_RULES, LabelRules, label
from photoglue.training.losses import LossConfig, LossTerms, losses


@final
class Objective:
    """The loss of a batch of pairs, for the training loop.

    Args:
        config: What to learn.
        rules: What counts as a match.
    """

    def __init__(self, config: LossConfig | None = None, rules: LabelRules = DEFAULT_RULES) -> None:
        self.config, self.rules = config or LossConfig(), rules

    def __call__(self, model: LightGlue, pairs: Sequence[TrainingPair], *, checkpointed: bool = False) -> LossTerms:
        """The loss, a mean over the pairs that have points in both images; the others are dropped and counted.

        If none is left, all terms are zero and ``total`` carries no gradient.

        Args:
            model: To be trained; under ``torch.autocast`` if that is wanted.
            pairs: Of any numbers of points; fastest on GPUs if all have the same.
            checkpointed: See ``LightGlue.all_layers``.
        """
        usable = [pair for pair in pairs if len(pair.features0) and len(pair.features1)]
        dropped = len(pairs) - len(usable)
        if not usable:
            return _nothing(model, dropped)
        labels = [label(pair, self.rules) for pair in usable]
        found = model.all_layers([(pair.features0, pair.features1) for pair in usable], checkpointed=checkpointed)
        return replace(losses(found, labels, self.config), dropped=dropped)


def _nothing(model: LightGlue, dropped: int) -> LossTerms:
    zeros = torch.zeros(model.config.n_layers, device=model.device)
    return LossTerms(
        total=zeros.sum(),
        nll=zeros,
        positive=zeros[-1],
        negative=zeros[-1],
        confidence=None,
        matchable=0.0,
        unmatchable=0.0,
        pairs=0,
        dropped=dropped,
    )
