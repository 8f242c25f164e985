"""LightGlue: two sets of local features in, matches out.

The main line is `_match_packed`: pack all pairs, run the layers, let pairs exit and points go, read off the matches.

Reference: LightGlue: Local Feature Matching at Light Speed (arXiv 2306.13643). Defaults, exit and pruning rules are
those of the official code where it differs from the paper.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue import pretrained
from photoglue.matchers.lightglue.adaptive import (
    PRUNING_MIN_KEYPOINTS,
    Pack,
    TokenConfidence,
    confidence_threshold,
    decide,
    first_pack,
)
from photoglue.matchers.lightglue.assignment import MatchAssignment, read_off, unmatched
from photoglue.matchers.lightglue.blocks import TransformerLayer
from photoglue.matchers.lightglue.config import LightGlueConfig, LightGlueShape
from photoglue.matchers.lightglue.encoding import FourierEncoding, positions_of
from photoglue.matchers.lightglue.engine.choice import matching_precision
from photoglue.matchers.lightglue.engine.folded import FoldCache
from photoglue.matchers.lightglue.engine.graphs import PairGraphs
from photoglue.matchers.lightglue.engine.kernels import project
from photoglue.matchers.lightglue.engine.native import NativeNetwork, matches_of
from photoglue.matchers.lightglue.inputs import checked_pairs
from photoglue.matchers.lightglue.packing import TOKENS_AT_ONCE, Segments, batches
from photoglue.matchers.lightglue.pretrained import StoredNetwork
from photoglue.matchers.lightglue.states import AllLayers, layer_output
from photoglue.matchers.lightglue.verdict import PairVerdict
from photoglue.precision import (
    Precision,
    check_precision,
    choose_precision,
    require_float32,
    require_int16,
    without_autocast,
)
from photoglue.structs import Features, Matches


class LightGlue(nn.Module, Matcher):
    """The matcher LightGlue. ``LightGlue(config)`` is random; ``LightGlue.pretrained("aliked")`` is trained.

    Args:
        config: The options of a match; they may be replaced later, by setting ``model.config``.
        shape: The shape of the network; it is fixed.

    Raises:
        ConfigError: If the config asks for more layers than the shape has.
    """

    verdict: PairVerdict | None = None
    """How likely two photos overlap, from the matches of this matcher; its ``calibration`` says how likely a match is
    correct. None: nothing is known of what its scores mean."""

    def __init__(self, config: LightGlueConfig | None = None, *, shape: LightGlueShape | None = None) -> None:
        super().__init__()
        self.config = config or LightGlueConfig()
        self.shape = shape = (shape or LightGlueShape()).shortened(self.config.n_layers)
        width, heads = shape.descriptor_dim, shape.num_heads
        self.input_proj = nn.Identity() if shape.input_dim == width else nn.Linear(shape.input_dim, width)
        self.posenc = FourierEncoding(4 if shape.add_scale_ori else 2, width // heads)
        self.transformers = nn.ModuleList(TransformerLayer(width, heads) for _ in range(shape.n_layers))
        self.log_assignment = nn.ModuleList(MatchAssignment(width) for _ in range(shape.n_layers))
        self.token_confidence = nn.ModuleList(TokenConfidence(width) for _ in range(shape.n_layers - 1))
        self.precision: Precision | None = None
        self._fold_cache = FoldCache()
        self._graphs = PairGraphs()

    @classmethod
    def pretrained(
        cls,
        features: str = "aliked",
        config: LightGlueConfig | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        precision: Precision | None = "auto",
    ) -> "LightGlue":
        """The released model for some features, ready to use.

        Args:
            features: "aliked", "disk", "superpoint", "sift" (our model, which comes with PhotoGlue) or "doghardnet";
                "sift-official"; or a kind of features, such as "aliked-n16rot". "aliked-t16" has a small model beside
                its own, which is taken if the options want 5 layers or fewer, or by its name, "aliked-t16-edge".
            config: The options; None: the defaults.
            path: A file to use instead of searching and downloading; it must be the same file.
            precision: See ``prepare``.

        Raises:
            ConfigError: If there are no weights of that name, or more layers are asked for than they have.
            WeightsError: If they cannot be had or are corrupt.
        """
        n_layers = None if config is None else config.n_layers
        return cls._of_stored(pretrained.released(features, path, n_layers), config).prepare(precision)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike[str],
        config: LightGlueConfig | None = None,
        *,
        precision: Precision | None = "auto",
    ) -> "LightGlue":
        """A model from a file: ours, an official one, or a training checkpoint of glue-factory.

        The shape of the network is read off the tensors.

        Args:
            path: ``.safetensors``, or anything that ``torch.save`` wrote that holds only tensors and plain values.
            config: The options; None: those stored with the file.
            precision: See ``prepare``.

        Raises:
            WeightsError: If it cannot be read, or tensors are missing or left over; the message names them.
            ConfigError: If more layers are asked for than the file has.
        """
        return cls._of_stored(pretrained.checkpoint(Path(path)), config).prepare(precision)

    @staticmethod
    def from_onnx(
        path: str | os.PathLike[str], *, providers: Sequence[str] | None = None, threads: int | None = None
    ) -> Matcher:
        """The matcher in a file that ``photoglue export matcher`` wrote, run by onnxruntime; see ``OnnxMatcher``.

        Args:
            path: The file.
            providers: Providers of onnxruntime, such as "CUDAExecutionProvider"; None: the fastest that are there.
            threads: Threads on a CPU; None: as many as PyTorch takes.

        Raises:
            WeightsError: If it is missing, cut off, no ONNX file, none of ours, or no matcher.
            ConfigError: If a provider is not there.
            MissingExtra: If onnxruntime is not installed.
        """
        from photoglue.matchers.onnx import OnnxMatcher  # which is built on this package

        return OnnxMatcher.from_file(path, providers=providers, threads=threads)

    def prepare(self, precision: Precision | None = "auto") -> "LightGlue":
        """Choose what inference runs on: the layers as they are trained, or folded to be fast.

        Folding (`engine/folded.py`) happens at the first match on a device, and again after weights have changed. It is
        for inference only: no gradient passes. On CUDA in half precision, a network without exit and pruning runs a
        single pair of up to 8192 points as one recorded graph (`engine/graphs.py`).

        Args:
            precision: What the layers compute in; "auto": what was measured to be fastest on this machine, of what
                costs few matches (``engine/choice.py``). The residual stream and the assignment stay float32. None: the
                plain layers, the reference.

        Raises:
            ConfigError: If there is no such precision, or int16 cannot be had here; the message says what to do.
        """
        if precision is not None:
            check_precision(precision)
            if precision == "int16":
                require_int16(self.device)
        self.precision = precision
        return self

    def train(self, mode: bool = True) -> "LightGlue":
        """Set training or evaluation mode, as in torch; forgets the folded layers, and in training mode the verdict."""
        self._forget_folded()
        if mode:
            self.verdict = None
        super().train(mode)
        return self

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load weights, as in torch; forgets the folded layers and the verdict, which were of other weights."""
        self._forget_folded()
        self.verdict = None
        return super().load_state_dict(*args, **kwargs)

    def _forget_folded(self) -> None:
        self._fold_cache.clear()
        self._graphs.clear()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the weights, the shape, the options and the verdict as ``.safetensors``, for ``from_checkpoint``.

        Raises:
            OutputError: If the file cannot be written.
        """
        stored = StoredNetwork(state=self.state_dict(), shape=self.shape, config=self.config, verdict=self.verdict)
        pretrained.save(stored, Path(path))

    @classmethod
    def _of_stored(cls, stored: StoredNetwork, config: LightGlueConfig | None) -> "LightGlue":
        model = cls(config or stored.config, shape=stored.shape)
        pretrained.load(model, stored, model.shape.n_layers)
        if model.shape == stored.shape:  # a shorter network has other scores
            model.verdict = stored.verdict
        return model.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """The device of the weights, where matching is computed."""
        device: torch.device = self.posenc.Wr.weight.device
        return device

    @torch.no_grad()
    def match_many(self, pairs: Iterable[tuple[Features, Features]]) -> list[Matches]:
        """Matches of many pairs, in their order, in passes as large as the device likes.

        Pairs may have any number of points, none included. Each exits and is pruned on its own, and gets what it would
        get alone: bit by bit in float32 and int16 on CPUs; in half precision, as on CPUs with AMX, products of other
        shapes may round otherwise. An image that is in several pairs is moved to the device once.

        Args:
            pairs: Two images each. Features are moved to the device of the model; keypoints come back from there.

        Raises:
            ConfigError: If the weights were converted to another floating type; ``prepare`` is for that.
            FeatureKindError: If the model was not trained for these features.
            ShapeError: If descriptors have the wrong width, scales are missing, or values are not finite.
        """
        require_float32(self)
        checked = checked_pairs(pairs, self.shape, self.device)
        empty = {i for i, pair in enumerate(checked) if not (len(pair[0]) and len(pair[1]))}
        matches = {i: self._unmatched(*checked[i]) for i in empty}
        rest = [i for i in range(len(checked)) if i not in empty]
        for batch in batches([sum(map(len, checked[i])) for i in rest], TOKENS_AT_ONCE[self.device.type]):
            members = [rest[position] for position in batch]
            with without_autocast(self.device):
                matches.update(zip(members, self._match_packed([checked[i] for i in members]), strict=True))
        return [matches[i] for i in range(len(checked))]

    def all_layers(self, pairs: Sequence[tuple[Features, Features]], *, checkpointed: bool = False) -> AllLayers:
        """The outputs of every layer for every point, for training: no exit, no pruning, gradients flow.

        Runs the plain layers, in fp32 or under ``torch.autocast``; the encoding of positions is always fp32.

        Args:
            pairs: Two images each, with one point or more.
            checkpointed: Compute each layer again in the backward pass instead of keeping what is inside it: a third
                more time, far less memory.
        """
        images = [features.to(self.device) for pair in pairs for features in pair]
        segments = Segments(tuple(len(features) for features in images))
        with without_autocast(self.device):
            encoding = self.posenc(positions_of(images, segments, self.shape.add_scale_ori))
        x = self.input_proj(torch.cat([features.descriptors for features in images]))
        outputs = []
        for number, layer in enumerate(self.transformers):
            if checkpointed:
                x = checkpoint(layer, x, encoding, segments, use_reentrant=False)
            else:
                x = layer(x, encoding, segments)
            confidence = self._confidence(number) if number < len(self.token_confidence) else None
            outputs.append(layer_output(x, self._head(number), confidence))
        return AllLayers(segments, tuple(outputs))

    def _match_packed(self, pairs: list[tuple[Features, Features]]) -> list[Matches]:
        config, n_layers = self.config, self.shape.n_layers
        images = [features for pair in pairs for features in pair]
        first = Segments(tuple(len(features) for features in images))
        pack = self._packed(images, first)
        if self._chosen_precision() == "int16":
            return self._match_natively(pairs, pack)
        survived = torch.ones_like(pack.origin)
        layers, precision = self._layers()
        exits: list[tuple[int, Pack]] = []
        adaptive = config.depth_confidence is not None or config.width_confidence is not None
        pack, ran = (pack, 0) if adaptive else self._graphs.run(layers, pack)
        for layer in range(ran, n_layers):
            pack = replace(pack, x=layers[layer](pack.x, pack.encoding, pack.segments))
            if adaptive and layer < n_layers - 1:  # nothing is decided after the last layer
                pack, done = self._adapt(layer, pack, first, survived)
                exits += done
                if not pack.pairs:
                    break
        exits.append((n_layers, pack))
        if config.width_confidence is None:
            survived.fill_(n_layers)
        matches = read_off(pairs, first, survived, exits, self.log_assignment, threshold=config.filter_threshold)
        return [replace(each, precision=str(precision).removeprefix("torch.")) for each in matches]

    def _match_natively(self, pairs: list[tuple[Features, Features]], pack: Pack) -> list[Matches]:
        dtype = choose_precision("int16", self.device)
        network = self._fold_cache.made_of(self, dtype, lambda _, d: NativeNetwork(self, self.shape.num_heads, d))
        found = network.match(pack, [features.keypoints for pair in pairs for features in pair], self.config)
        return matches_of(pairs, pack, found, self.shape.n_layers, self.config)

    def _chosen_precision(self) -> Precision | None:
        """What inference computes in; None: as it is trained."""
        if self.precision is None or self.training:
            return None
        return matching_precision(self.precision, self.device, self.shape)

    def _layers(self) -> tuple[nn.ModuleList, torch.dtype]:
        """The layers that inference runs on, and what they compute in."""
        chosen = self._chosen_precision()
        if chosen is None:
            return self.transformers, self.posenc.Wr.weight.dtype
        dtype = choose_precision(chosen, self.device)
        return self._fold_cache.layers_of(self.transformers, dtype), dtype

    def _packed(self, images: list[Features], segments: Segments) -> Pack:
        descriptors = torch.cat([features.descriptors for features in images]).to(self.posenc.Wr.weight.dtype)
        positions = positions_of(images, segments, self.shape.add_scale_ori)
        x = project(self.input_proj, descriptors) if isinstance(self.input_proj, nn.Linear) else descriptors
        return first_pack(x, self.posenc(positions), segments)

    def _unmatched(self, features0: Features, features1: Features) -> Matches:
        """The matches of a pair of which an image has no points."""
        steps = self.shape.n_layers if self.config.width_confidence is None else 1
        prune = [torch.full((len(features),), steps, device=self.device) for features in (features0, features1)]
        return unmatched(features0, features1, self.shape.n_layers, 1, *prune)

    def _adapt(
        self, layer: int, pack: Pack, first: Segments, survived: Int64[Tensor, " T"]
    ) -> tuple[Pack, list[tuple[int, Pack]]]:
        """The pack that goes on, and the pairs that exit, each with the number of layers that it ran."""
        config = self.config
        threshold = config.pruning_min_keypoints
        decision = decide(
            pack,
            self._confidence(layer)(pack.x) if config.depth_confidence is not None else None,
            self._head(layer).matchability_of(pack.x) if config.width_confidence is not None else None,
            threshold=confidence_threshold(layer, self.shape.n_layers),
            counts=[sum(first.lengths[2 * pair : 2 * pair + 2]) for pair in pack.pairs],
            depth_confidence=config.depth_confidence,
            width_confidence=config.width_confidence,
            pruning_min_keypoints=PRUNING_MIN_KEYPOINTS[pack.x.device.type] if threshold is None else threshold,
        )
        going_on, done, emptied = pack.divided(decision, survived)
        # Where all points of an image are gone, the official code notices when the next layer begins.
        exits = [(stop, part) for stop, part in ((layer + 1, done), (layer + 2, emptied)) if part.pairs]
        return going_on, exits

    def _head(self, layer: int) -> MatchAssignment:
        head = self.log_assignment[layer]
        assert isinstance(head, MatchAssignment)
        return head

    def _confidence(self, layer: int) -> TokenConfidence:
        head = self.token_confidence[layer]
        assert isinstance(head, TokenConfidence)
        return head
