"""Value and gradient of the double softmax at the true matches, in one pass over a pair that stays in the cache.

The loss asks for little of a layer's m × n similarity S: its values at the matches, and the log-sum-exp of rows and
columns. And as it is a sum with known weights, the gradient of S is known as soon as S is,

    weight · (2 at the matches - softmax of the rows - softmax of the columns),

and from it that of the descriptors. So all three products are made in the forward pass, nothing of size m × n outlives
it, and whether a layer's choices are those of the last one falls out of the same S. CPUs take a pair at a time; GPUs,
neighbouring pairs of one size at once. Exponentials and logarithms are to the base 2: on CPUs torch's exp2 is
several times faster than its exp.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor
from torch.nn import functional

from photoglue.matchers.lightglue.engine.kernels import LOG2_E, linear
from photoglue.matchers.lightglue.packing import Segments

LN_2 = math.log(2.0)
Sides: TypeAlias = tuple[Tensor, Tensor]
"""Two tensors: one of the images 0 of a group of pairs, and one of the images 1."""


def log_likelihood(
    descriptors: Sequence[Float[Tensor, "t d"]],
    segments: Segments,
    partner: Int64[Tensor, " t"],
    weight: Float[Tensor, " t"],
    matchability: Float[Tensor, "layers t"] | None = None,
    *,
    half: bool = False,
) -> tuple[Float[Tensor, " layers"], Bool[Tensor, "heads t"] | None]:
    """The weighted sum of both log-softmaxes of the similarity over the true matches of all pairs, for each layer.

    With ``matchability`` also, for each layer but the last, whether a point chooses as in the last layer. A point
    chooses the most likely of all points of the other image and of having no partner: the largest log P_ij of its row
    or column, log σ(-z) included. Where two are equally likely, a layer agrees if the last one's is among them.

    Args:
        descriptors: Descriptors of each layer, in which the result is differentiable, once. The similarity is their dot
            product.
        segments: Where each image's tokens lie; none is empty.
        partner: Number of the true partner of each point in the other image; negative: it has none.
        weight: Weight of each match, at both its points alike; 0 at points without partner.
        matchability: Logits z of each layer, which no gradient reaches from here; None: choices are not compared.
        half: Whether the products that make the gradient may be bfloat16.
    """
    learns = torch.is_grad_enabled()
    gradients = [torch.empty_like(x) if learns and x.requires_grad else None for x in descriptors]
    values = weight.new_zeros(len(descriptors))
    agreement, logs = None, None
    if matchability is not None:
        matchability = matchability.detach()
        agreement = torch.empty_like(matchability[:-1], dtype=torch.bool)
        # Half of log2 σ(z) and of log2 σ(-z): everything is compared as half a logarithm, which spares S a doubling.
        logs = torch.stack([functional.logsigmoid(matchability), functional.logsigmoid(-matchability)]) * (LOG2_E / 2)
    with torch.no_grad():
        # In each group from the last layer, with which the others are compared.
        for group in _groups(segments, weight.device):
            matches, weights = group.split(partner)[0], group.split(weight)
            chosen: Sides | None = None
            for layer in reversed(range(len(descriptors))):
                softmaxes = _DoubleSoftmax(*group.split(descriptors[layer]))
                values[layer] += softmaxes.log_likelihood(matches, weights)
                gradient = gradients[layer]
                if gradient is not None:
                    softmaxes.gradient_into(group.split(gradient), matches, weights, half)
                if logs is None or agreement is None:
                    continue
                choices = softmaxes.choices(*(group.split(log) for log in logs[:, layer]))
                if chosen is None:
                    chosen = choices.made()
                else:
                    for into, agrees in zip(group.split(agreement[layer]), choices.agree(chosen), strict=True):
                        into.copy_(agrees)
    tracked: list[Tensor] = [
        value if gradient is None else _WithGradient.apply(x, value, gradient)  # type: ignore[no-untyped-call]
        for x, value, gradient in zip(descriptors, values, gradients, strict=True)
    ]
    return torch.stack(tracked), agreement


class _WithGradient(torch.autograd.Function):
    """A number whose value and gradient are known already."""

    @staticmethod
    def forward(ctx: Any, _: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None


@dataclass(frozen=True)
class _Group:
    """``count`` pairs of m and n points, next to each other in the pack."""

    rows: slice
    m: int
    n: int

    def split(self, packed: Shaped[Tensor, "t ..."]) -> Sides:
        """(count × m × …, count × n × …): views."""
        pairs = packed[self.rows].view(-1, self.m + self.n, *packed.shape[1:])
        return pairs[:, : self.m], pairs[:, self.m :]


def _groups(segments: Segments, device: torch.device) -> Iterator[_Group]:
    """CPUs get a pair at a time, GPUs all neighbours of one size together."""
    sizes, slices = list(zip(segments.lengths[::2], segments.lengths[1::2], strict=True)), segments.slices()
    first = 0
    for pair, size in enumerate(sizes):
        if device.type == "cpu" or pair + 1 == len(sizes) or sizes[pair + 1] != size:
            yield _Group(slice(slices[2 * first].start, slices[2 * pair + 1].stop), *size)
            first = pair + 1


class _DoubleSoftmax:
    """The similarity of a group, in bits, and its softmaxes over the rows and over the columns."""

    def __init__(self, x0: Float[Tensor, "c m d"], x1: Float[Tensor, "c n d"]) -> None:
        self.x0, self.x1 = x0, x1
        self.similarity = _product(x0 * LOG2_E, x1)
        self.rows = _Softmax(self.similarity, dim=2)
        self.columns = _Softmax(self.similarity, dim=1)

    def log_likelihood(self, matches: Int64[Tensor, "c m"], weights: Sides) -> Float[Tensor, ""]:
        at_matches = self.similarity.gather(2, matches.clamp(min=0)[..., None])
        rows = weights[0][..., None] * (2 * at_matches - self.rows.log_sum)
        return (rows.sum() - (weights[1][:, None] * self.columns.log_sum).sum()) * LN_2

    def gradient_into(self, out: Sides, matches: Int64[Tensor, "c m"], weights: Sides, half: bool) -> None:
        """Write the gradient of the descriptors; the softmaxes are used up."""
        gradient = self.rows.powers.mul_(-weights[0][..., None] / self.rows.total)
        gradient.addcmul_(self.columns.powers, -weights[1][:, None] / self.columns.total)
        gradient.scatter_add_(2, matches.clamp(min=0)[..., None], 2 * weights[0][..., None])
        x0, x1 = self.x0, self.x1
        if half:
            gradient, x0, x1 = (x.to(torch.bfloat16) for x in (gradient, x0, x1))
        out[0].copy_(_product(gradient, x1.mT))
        out[1].copy_(_product(gradient.mT, x0.mT))

    def choices(self, log_matchable: Sides, log_unmatchable: Sides) -> "_Choices":
        """The choices that follow from half of log2 σ(z) and of log2 σ(-z); the similarity is used up."""
        half_log = self.similarity
        half_log.add_(log_matchable[0][..., None] - self.rows.log_sum / 2)
        half_log.add_(log_matchable[1][:, None] - self.columns.log_sum / 2)
        return _Choices(half_log, log_unmatchable)


class _Softmax:
    """A softmax over one axis, not yet divided by its sum."""

    def __init__(self, similarity: Float[Tensor, "c m n"], dim: int) -> None:
        peak = similarity.amax(dim, keepdim=True)
        self.powers = (similarity - peak).exp2_()
        self.total = self.powers.sum(dim, keepdim=True)
        self.log_sum = self.total.log2() + peak


@dataclass(frozen=True, eq=False)
class _Choices:
    """Half of log2 P of a layer, and of having no partner, for a group of pairs."""

    half_log: Float[Tensor, "c m n"]
    alone: Sides

    def made(self) -> Sides:
        """The choice of each point of either image: a number in the other image, or -1."""
        return self._made(dim=2), self._made(dim=1)

    def agree(self, chosen: Sides) -> Sides:
        """Whether these choices are among the best here."""
        return self._agree(chosen[0], dim=2), self._agree(chosen[1], dim=1)

    def _made(self, dim: int) -> Int64[Tensor, "c k"]:
        # argmax over rows that are not contiguous is many times slower than turning them.
        value, choice = self.half_log.transpose(dim, 2).contiguous().max(dim=2)
        return choice.masked_fill(value < self.alone[2 - dim], -1)

    def _agree(self, chosen: Int64[Tensor, "c k"], dim: int) -> Bool[Tensor, "c k"]:
        alone = self.alone[2 - dim]
        there = self.half_log.gather(dim, chosen.clamp(min=0).unsqueeze(dim)).squeeze(dim)
        return torch.where(chosen < 0, alone, there) >= torch.maximum(self.half_log.amax(dim), alone)


def _product(a: Float[Tensor, "c i k"], b: Float[Tensor, "c j k"]) -> Float[Tensor, "c i j"]:
    """``a @ b.mT``."""
    if len(a) > 1:
        return a @ b.mT
    # In fp32 torch's own is slow on some CPUs; in bfloat16 it is oneDNN's, and reads transposed matrices as they lie.
    product = linear(a[0], b[0]) if a.dtype == torch.float32 else a[0] @ b[0].T
    return product[None]
