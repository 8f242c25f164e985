"""The layers of the plain network; no ONNX here. The whole of it: test_graph.py."""

import torch
from exported_files import small_lightglue
from torch.nn import functional

from photoglue.export.cases import made_up
from photoglue.export.graph import PlainMatcher
from photoglue.export.layers import Product, gelu
from photoglue.matchers.onnx import graph_inputs


def test_half_precision_is_near():
    model = small_lightglue()
    features0, features1 = made_up(model, 100, 100)
    arrays = {
        n: torch.from_numpy(a) for i, f in enumerate((features0, features1)) for n, a in graph_inputs(f, i).items()
    }
    exact, half = PlainMatcher(model)(**arrays), PlainMatcher(model, torch.float16)(**arrays)
    assert 0 < (exact[2] - half[2]).abs().max() < 0.1 and half[2].dtype == torch.float32
    assert (exact[0] == half[0]).float().mean() > 0.9


def test_gelu_is_torchs():
    x = torch.linspace(-6, 6, 101).reshape(1, -1, 1)
    assert torch.allclose(gelu(x), functional.gelu(x), atol=1e-6)


def test_products_come_back_in_single_precision():
    layer, x = torch.nn.Linear(4, 3), torch.rand(1, 5, 4)
    assert torch.allclose(Product.of(layer, torch.float32)(x), layer(x), atol=1e-6)
    half = Product.of(layer, torch.float16)(x)
    assert half.dtype == torch.float32 and 0 < (half - layer(x)).abs().max() < 1e-2
