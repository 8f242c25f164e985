"""LightGlue in stages: one layer and one head are traced; the files of the others differ in their weights alone."""

from collections.abc import Iterator
from typing import Any, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from photoglue.export.convert import to_onnx
from photoglue.export.graph import Confidences, Embedding, Head
from photoglue.export.layers import PlainLayer
from photoglue.matchers.lightglue import LightGlue
from photoglue.matchers.onnx import NAMES


class StageLayer(nn.Module):
    """A layer, and what decides after it on exit and pruning."""

    def __init__(self, model: LightGlue, number: int) -> None:
        super().__init__()
        last = len(model.token_confidence) - 1  # nothing is decided after the last layer: its file has the one before
        self.layer = PlainLayer(cast("Any", model.transformers[number]))
        self.facts = Confidences(cast("Any", model.token_confidence[min(number, last)]), _head(model, number))

    def forward(
        self,
        x0: Float[Tensor, "1 m d"],
        x1: Float[Tensor, "1 n d"],
        turn0: Float[Tensor, "2 1 1 m f"],
        turn1: Float[Tensor, "2 1 1 n f"],
    ) -> tuple[
        Float[Tensor, "1 m d"],
        Float[Tensor, "1 n d"],
        Float[Tensor, "1 m"],
        Float[Tensor, "1 n"],
        Float[Tensor, "1 m"],
        Float[Tensor, "1 n"],
    ]:
        """States, confidences and matchabilities of both images."""
        x0, x1 = self.layer(x0, x1, turn0, turn1)
        (confidence0, matchability0), (confidence1, matchability1) = self.facts(x0), self.facts(x1)
        return x0, x1, confidence0, confidence1, matchability0, matchability1


class StageHead(nn.Module):
    """The head of a layer, for states of two images without padding."""

    def __init__(self, model: LightGlue, number: int) -> None:
        super().__init__()
        self.head = Head(_head(model, number), model.config.filter_threshold)

    def forward(
        self, x0: Float[Tensor, "1 m d"], x1: Float[Tensor, "1 n d"]
    ) -> tuple[Int64[Tensor, "1 m"], Int64[Tensor, "1 n"], Float[Tensor, "1 m"], Float[Tensor, "1 n"]]:
        """``matches0``, ``matches1``, ``mscores0`` and ``mscores1``."""
        found: tuple[Tensor, Tensor, Tensor, Tensor] = self.head(x0, x1)
        return found


def stages(model: LightGlue, opset: int) -> Iterator[tuple[str, Any]]:
    """Names and graphs of all files."""
    shape = model.shape
    width, frequencies = shape.descriptor_dim, shape.descriptor_dim // shape.num_heads // 2
    points: dict[str, Tensor] = {"kpts": torch.rand(1, 5, 2), "desc": torch.rand(1, 5, shape.input_dim)}
    points["image_size"] = torch.rand(1, 2)
    if shape.add_scale_ori:
        points |= {"scales": torch.rand(1, 5), "oris": torch.rand(1, 5)}
    axes: dict[str, dict[int, str]] = {name: {1: "points"} for name in points if name != "image_size"}
    yield "embed", to_onnx(Embedding(model), points, ("x", "turn"), axes, opset=opset, optimize=False)
    states = {"x0": torch.rand(1, 5, width), "x1": torch.rand(1, 7, width)}
    turns = {f"turn{i}": torch.rand(2, 1, 1, n, frequencies) for i, n in ((0, 5), (1, 7))}
    axes = {"x0": {1: "points0"}, "x1": {1: "points1"}, "turn0": {3: "points0"}, "turn1": {3: "points1"}}
    facts = ("confidence0", "confidence1", "matchability0", "matchability1")
    layer_outputs, head_outputs = ("y0", "y1", *facts), tuple(NAMES)
    layers = [StageLayer(model, number) for number in range(shape.n_layers)]
    heads = [StageHead(model, number) for number in range(shape.n_layers)]
    layer = to_onnx(layers[0], states | turns, layer_outputs, axes, opset=opset, optimize=False)
    head = to_onnx(heads[0], states, head_outputs, axes, opset=opset, optimize=False)
    for number in range(shape.n_layers):
        yield f"layer{number}", exchanged(layer, layers[number])
        yield f"head{number}", exchanged(head, heads[number])


def exchanged(graph: Any, module: nn.Module) -> Any:
    """The graph with the weights of another module of the same kind."""
    state = module.state_dict()
    left = set(state)
    for tensor in graph.graph.initializer:
        if tensor.name in state:
            tensor.raw_data = state[tensor.name].contiguous().numpy().tobytes()
            left.discard(tensor.name)
    assert not left, f"weights without a place in the graph: {left}"
    return graph


def _head(model: LightGlue, number: int) -> Any:
    return model.log_assignment[number]
