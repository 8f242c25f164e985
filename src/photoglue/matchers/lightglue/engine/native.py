"""The whole network in one call of the native library: layers, exits, pruning and matches, in int16 or float32.

The layers are folded first, see `folded.py`. In int16 the linear layers and both products of attention multiply int16
with sums of int32; each row of a product has its own scale. States, layer norms, softmax and rotary encoding are
float32, and so is all that comes after the last layer. What is decided, and how, is `adaptive.py`'s and
`assignment.py`'s.
"""

import ctypes
import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from photoglue.errors import ConfigError
from photoglue.matchers.lightglue.adaptive import PRUNING_MIN_KEYPOINTS, Pack, TokenConfidence, confidence_threshold
from photoglue.matchers.lightglue.assignment import MatchAssignment
from photoglue.matchers.lightglue.blocks import TransformerLayer
from photoglue.matchers.lightglue.config import LightGlueConfig
from photoglue.matchers.lightglue.engine.folded import FoldedFeedForward, FoldedLayer
from photoglue.matchers.lightglue.engine.kernels import LOG2_E
from photoglue.native.library import library
from photoglue.structs import Features, Matches

_SPREAD = np.sum([(np.arange(1024) >> bit & 1) << 2 * bit for bit in range(10)], axis=0)
"""The bits of each number below 1024, with a zero between any two."""


class _Batch(ctypes.Structure):
    """PhotoglueBatch of api.hpp."""

    _fields_ = (
        ("images", ctypes.c_int32),
        ("exits", ctypes.c_int32),
        ("prunes", ctypes.c_int32),
        ("exit_share", ctypes.c_float),
        ("least_matchability", ctypes.c_float),
        ("filter_threshold", ctypes.c_float),
        ("pruning_min", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("lengths", "order", "x", "cosine", "sine", "confidence_thresholds")),
        *((name, ctypes.c_void_p) for name in ("stops", "survived", "matches", "scores")),
    )


@dataclass(frozen=True)
class NativeMatches:
    """What the library says of a pack of pairs, all of its tokens back to back."""

    stops: tuple[int, ...]
    """Number of layers that each pair ran."""
    survived: Int64[Tensor, " t"]
    """1 + the number of pruning steps that each token survived."""
    matches: Int64[Tensor, " t"]
    """For each token its partner's number in the other image; -1 where there is none."""
    scores: Float[Tensor, " t"]
    """Confidence of each token's choice; 0 where the best partners do not choose each other."""


class NativeNetwork:
    """A network packed for the native library; it holds copies of the weights as they are now.

    Args:
        network: A LightGlue.
        heads: Number of its attention heads.
        dtype: ``torch.int16`` or ``torch.float32``.

    Raises:
        ConfigError: If the library has no kernels for such a network.
    """

    def __init__(self, network: nn.Module, heads: int, dtype: torch.dtype) -> None:
        library_ = library()
        assert library_ is not None
        self._library = library_
        tensors = _tensors(network)
        self.layers = len(tensors) // 22
        self.width = tensors[1].shape[0] // 3 if tensors[1] is not None else 0
        pointers = (ctypes.c_void_p * len(tensors))(*(None if each is None else each.data_ptr() for each in tensors))
        new = library_.photoglue_lightglue_new
        new.restype = ctypes.c_void_p
        handle = new(self.width, heads, self.layers, int(dtype == torch.int16), pointers)
        if handle is None:
            raise ConfigError(
                f"The native library computes networks with a width of at most 256 and heads of 32 or 64 channels; "
                f'this one has {self.width} and {self.width / heads:g}. Use precision="float32".'
            )
        self._handle = ctypes.c_void_p(handle)
        weakref.finalize(self, library_.photoglue_lightglue_free, self._handle)

    def match(self, pack: Pack, keypoints: Sequence[Float[Tensor, "_ 2"]], config: LightGlueConfig) -> NativeMatches:
        """The matches of a pack that has been through no layer yet; no image of it is empty.

        Args:
            pack: The tokens.
            keypoints: Of each image. Points that are near each other attend to much the same, and work that comes to
                nothing is seen for many of them at once.
            config: The options.

        Raises:
            MemoryError: If there is not enough memory.
        """
        lengths, x, encoding = pack.segments.lengths, pack.x.contiguous(), pack.encoding.contiguous()
        total = len(x)
        thresholds = [confidence_threshold(layer, self.layers) for layer in range(self.layers)]
        arrays = {
            "lengths": np.array(lengths, np.int32),
            "order": neighbours_first(keypoints).numpy(),
            "confidence_thresholds": np.array(thresholds, np.float32),
            "stops": np.zeros(len(lengths) // 2, np.int32),
        }
        found = NativeMatches((), *(torch.empty(total, dtype=t) for t in (torch.int64, torch.int64, torch.float32)))
        depth, width, least = config.depth_confidence, config.width_confidence, config.pruning_min_keypoints
        batch = _Batch(
            images=len(lengths),
            exits=depth is not None,
            prunes=width is not None,
            exit_share=depth or 0.0,
            least_matchability=1 - (width or 0.0),
            filter_threshold=config.filter_threshold,
            pruning_min=PRUNING_MIN_KEYPOINTS["cpu"] if least is None else least,
            x=x.data_ptr(),
            cosine=encoding[0].data_ptr(),
            sine=encoding[1].data_ptr(),
            survived=found.survived.data_ptr(),
            matches=found.matches.data_ptr(),
            scores=found.scores.data_ptr(),
            **{name: array.ctypes.data for name, array in arrays.items()},
        )
        if self._library.photoglue_lightglue_match(self._handle, ctypes.byref(batch), torch.get_num_threads()):
            raise MemoryError(f"There is not enough memory to match {total} points.")
        return replace(found, stops=tuple(arrays["stops"].tolist()))


def neighbours_first(keypoints: Sequence[Float[Tensor, "_ 2"]]) -> Int64[Tensor, " t"]:
    """The rows of all images back to back, each image's along a Z-order curve of 1024 × 1024 cells.

    The order of an image depends on nothing but its points.
    """
    parts, start = [], 0
    for points in keypoints:
        there = points.detach().float().numpy()
        low, high = there.min(axis=0), there.max(axis=0)
        cells = ((there - low) * (np.float32(1023) / max((high - low).max(), np.float32(1e-6)))).astype(np.int64)
        codes = _SPREAD[cells[:, 0]] | _SPREAD[cells[:, 1]] << 1
        parts.append(codes.argsort(kind="stable") + start)
        start += len(there)
    return torch.from_numpy(np.concatenate(parts))


def matches_of(
    pairs: Sequence[tuple[Features, Features]], pack: Pack, found: NativeMatches, n_layers: int, config: LightGlueConfig
) -> list[Matches]:
    """What the library found as matches of each pair."""
    survived = found.survived if config.width_confidence is not None else found.survived.fill_(n_layers)
    rows = pack.segments.slices()
    return [
        Matches(
            matches0=found.matches[rows0],
            matches1=found.matches[rows1],
            matching_scores0=found.scores[rows0],
            matching_scores1=found.scores[rows1],
            keypoints0=features0.keypoints,
            keypoints1=features1.keypoints,
            stop=stop,
            n_layers=n_layers,
            prune0=survived[rows0],
            prune1=survived[rows1],
            precision="int16",
        )
        for (features0, features1), stop, rows0, rows1 in zip(pairs, found.stops, rows[::2], rows[1::2], strict=True)
    ]


def _tensors(network: nn.Module) -> list[Tensor | None]:
    """The weights in the library's order, see api.hpp."""
    tensors: list[Tensor | None] = []
    layers, heads, confidences = (
        list(part.children())  # type: ignore[union-attr]
        for part in (network.transformers, network.log_assignment, network.token_confidence)
    )
    for number, (layer, head) in enumerate(zip(layers, heads, strict=True)):
        assert isinstance(layer, TransformerLayer)
        assert isinstance(head, MatchAssignment)
        folded = FoldedLayer(layer, torch.float32)
        tensors += [folded.own_weight, folded.own_bias, folded.cross_weight, folded.cross_bias]
        for net in (folded.own_ffn, folded.cross_ffn):
            assert isinstance(net, FoldedFeedForward)
            tensors += [net.weight1, net.bias1, net.norm_weight, net.norm_bias, net.weight2, net.bias2]
        # Products of projections are similarities to the base 2.
        scale = math.sqrt(LOG2_E) / head.final_proj.out_features**0.25
        tensors += [head.matchability.weight, head.matchability.bias]
        tensors += [head.final_proj.weight * scale, head.final_proj.bias * scale]
        if number < len(confidences):
            confidence = confidences[number]
            assert isinstance(confidence, TokenConfidence)
            linear = confidence.token[0]
            assert isinstance(linear, nn.Linear)
            tensors += [linear.weight, linear.bias]
        else:
            tensors += [None, None]
    return [None if each is None else each.detach().float().contiguous() for each in tensors]
