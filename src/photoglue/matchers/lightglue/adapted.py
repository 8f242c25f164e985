"""Weights that are those of another model with small changes: a file a hundredth as large.

A matcher for new features keeps most of what another one has learned. Its file holds the tensors that are replaced,
under their names, and for a matrix W of the other model that is changed a little, two thin matrices ``W.up`` and
``W.down`` with W' = W + up · down (low-rank adaptation, LoRA, arXiv:2106.09685). They are added once, when the file is
read: what runs is a network as any other.
"""

from collections.abc import Mapping

from jaxtyping import Shaped
from torch import Tensor

from photoglue.errors import WeightsError

UP, DOWN = ".up", ".down"


def adapted(
    base: Mapping[str, Shaped[Tensor, "..."]], changes: Mapping[str, Shaped[Tensor, "..."]], origin: str
) -> dict[str, Shaped[Tensor, "..."]]:
    """The tensors of a model with changes, float32.

    Args:
        base: Tensors of the model that is changed.
        changes: Tensors that replace some of them, and pairs of thin matrices that are multiplied and added to others.
        origin: What to call the changes in errors.

    Raises:
        WeightsError: If a change is to a tensor that the model does not have, or does not fit it.
    """
    result = {name: tensor.float() for name, tensor in base.items()}
    for name, change in changes.items():
        target = name.removesuffix(UP).removesuffix(DOWN)
        up, down = changes.get(f"{target}{UP}"), changes.get(f"{target}{DOWN}")
        if target not in result or (name != target and (up is None or down is None)):
            raise WeightsError(f"{origin} changes {target!r}, which its model does not have, or by half a change.")
        if up is None or down is None:
            result[target] = change.float()
        elif name.endswith(UP):
            if (up.shape[0], up.shape[1], down.shape[1]) != (len(result[target]), len(down), result[target].shape[1]):
                raise WeightsError(
                    f"{origin} changes {target!r} of {tuple(result[target].shape)} by {tuple(up.shape)} times "
                    f"{tuple(down.shape)}, which do not fit."
                )
            result[target] = result[target] + up.float() @ down.float()
    return result
