"""Begin with what another feature's matcher has learned: most of it is about geometry, not about descriptors.

Taken is every tensor of the same shape. What else there is:

- *Another width of descriptors*: the input projection is new, an isometry. Descriptors that are alike stay alike, so
  that training begins with a nearest-neighbour matcher that knows about positions, not with noise; its scale is the
  source's, so that the first layer sees tokens of the length that it is used to.
- *Scale and orientation*: two new columns of the positional encoding, zero, so that the network does at first exactly
  what it did without; they learn from the first step on, since the gradient of a rotation does not vanish at angle 0.
- *Fewer layers*: the first ones. Each layer was trained to match on its own, so a shorter network is a complete one.
- *A narrower network, or no scale and orientation*: the leading channels and heads of everything. A narrower one no
  longer computes the same, but begins better than random weights (Xu et al., Initializing Models with Larger Ones,
  ICLR 2024).

More layers, a wider network, or heads of another size are refused: nothing would fit.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from photoglue.errors import ConfigError
from photoglue.matchers.lightglue import LightGlue, LightGlueShape, pretrained


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """Names of the tensors of a network, by what they began with."""

    origin: str
    """Name or path of the weights."""
    taken: tuple[str, ...]
    """Tensors taken as they were."""
    cut: tuple[str, ...]
    """Tensors of which the leading part was taken, for a narrower network."""
    widened: tuple[str, ...]
    """Tensors taken with new columns of zeros."""
    new: tuple[str, ...]
    """Tensors that the weights do not have in this shape, and that were made new."""

    def __str__(self) -> str:
        parts = [f"{len(self.taken)} tensors taken from {self.origin}"]
        parts += [f"{len(self.cut)} cut"] if self.cut else []
        parts += [f"with columns for scale and orientation: {', '.join(self.widened)}"] if self.widened else []
        parts += [f"new: {', '.join(self.new)}"] if self.new else []
        return "; ".join(parts)


def warm_start(model: LightGlue, source: str | os.PathLike[str]) -> WarmStart:
    """Fill a network with the weights of another, as far as they fit.

    Args:
        model: The network, changed in place.
        source: A released model ("aliked", "disk", …), a weight file, a training checkpoint, or the folder of a run.

    Raises:
        ConfigError: If the network is larger than the source in a way that nothing can fill.
        WeightsError: If the weights cannot be had.
    """
    network, origin = _weights(source)
    state = network.state
    _check_fits(model, network.shape, origin)
    projection = state.get("input_proj.weight")
    projects = projection is not None and projection.shape[1] == model.shape.input_dim
    filled: dict[str, Tensor] = {}
    groups: dict[str, list[str]] = {"taken": [], "cut": [], "widened": [], "new": []}
    for name, wanted in model.state_dict().items():
        found = state.get(name)
        if name.startswith("input_proj.") and not projects:
            filled[name], how = wanted, "new"
        elif found is None:
            raise ConfigError(f"{origin} has no tensor {name!r}; it is no complete LightGlue.")
        elif found.shape == wanted.shape:
            filled[name], how = found, "taken"
        elif name == "posenc.Wr.weight" and wanted.shape[1] > found.shape[1]:
            zeros = found.new_zeros(len(found), wanted.shape[1] - found.shape[1])
            filled[name], how = torch.cat([found, zeros], dim=1), "widened"
        else:
            filled[name], how = _leading(name, found, tuple(wanted.shape)), "cut"
        groups[how].append(name)
    model.load_state_dict(filled)
    if "input_proj.weight" in groups["new"]:
        _make_isometry(model, state)
    return WarmStart(origin=origin, **{how: tuple(names) for how, names in groups.items()})


def shape_of(source: str | os.PathLike[str]) -> LightGlueShape:
    """The shape of the network that weights are for; see ``warm_start``.

    Raises:
        ConfigError: If there are no such weights.
        WeightsError: If they cannot be had.
    """
    return _weights(source)[0].shape


def _weights(source: str | os.PathLike[str]) -> tuple[pretrained.StoredNetwork, str]:
    """The source's network, and what to call it."""
    if isinstance(source, str) and source in pretrained.WEIGHTS:
        return pretrained.released(source), f"LightGlue for {source}"
    path = Path(source)
    if path.is_dir():  # a run: what it shipped, else its best, else its last
        candidates = [path / name for name in ("model.safetensors", "best.pt", "last.pt")]
        path = next((candidate for candidate in candidates if candidate.is_file()), candidates[0])
    if not path.is_file():
        raise ConfigError(
            f"There are no weights {str(source)!r}: give one of {', '.join(pretrained.WEIGHTS)}, a weight file, or the "
            "folder of a run."
        )
    return pretrained.checkpoint(path), str(path)


def _check_fits(model: LightGlue, stored: LightGlueShape, origin: str) -> None:
    shape = model.shape
    for name, have, wanted in (
        ("layers", stored.n_layers, shape.n_layers),
        ("channels", stored.descriptor_dim, shape.descriptor_dim),
    ):
        if wanted > have:
            raise ConfigError(
                f"The network has {wanted} {name}; {origin} has only {have}. Begin without --init, or with a network "
                f"of at most {have} {name}."
            )
    head, wanted_head = stored.descriptor_dim // stored.num_heads, shape.descriptor_dim // shape.num_heads
    if head != wanted_head:
        raise ConfigError(
            f"A head of the network has {wanted_head} channels; one of {origin} has {head}. Choose num_heads so that "
            f"descriptor_dim / num_heads is {head}."
        )


def _leading(name: str, found: Shaped[Tensor, "..."], shape: tuple[int, ...]) -> Shaped[Tensor, "..."]:
    """The first channels along every axis. The input of a feed-forward part is two states side by side."""
    if name.endswith(".ffn.0.weight"):
        return torch.cat([half[: shape[0], : shape[1] // 2] for half in found.chunk(2, dim=1)], dim=1)
    return found[tuple(slice(length) for length in shape)]


def _make_isometry(model: LightGlue, state: dict[str, Tensor]) -> None:
    """A new input projection that keeps angles, and gives tokens the length that the source's has."""
    projection = model.input_proj
    assert isinstance(projection, nn.Linear)
    before = state.get("input_proj.weight")
    # The mean square of |W · d| over directions d of unit length; a source without projection passes d on.
    length = 1.0 if before is None else float(before.norm()) / before.shape[1] ** 0.5
    nn.init.orthogonal_(projection.weight)
    with torch.no_grad():
        # An isometry of fewer channels than the descriptors have loses some of them.
        projection.weight *= length * max(1.0, projection.in_features / projection.out_features) ** 0.5
        projection.bias.zero_()
