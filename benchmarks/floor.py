"""The time that no implementation of the same arithmetic can beat: its operations over the machine's best rate."""

import ctypes
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.nn import functional

from photoglue.native.library import instruction_set, library

WIDTH, INPUT_DIM = 256, 128
SHAPES = ((256, 768), (256, 256), (512, 512), (512, 256))
"""(inputs, outputs) of the network's linear layers."""


def match_flops(layers: Sequence[tuple[int, int]]) -> float:
    """Floating-point operations of one match, multiplications and additions counted apart.

    With m and n points going into a layer, t = m + n and d = 256, a layer needs

    - linear: self-attention 3 d² for query, key and value, d² for the output, 6 d² for the feed-forward net
      (2d → 2d → d); cross-attention d² + d² + d² + 6 d²; 19 d² multiply-adds a token, so 38 t d² operations.
    - attention: self 4 d (m² + n²) for similarity and weighted sum; cross 6 d m n, since the similarity of the two
      directions is the same matrix, transposed.

    Before the layers comes the projection of descriptors, 2 t d · 128; after them the head, 2 t d² for its projection
    and 2 d m n for the similarity. Activations, norms, rotations, softmax, and the confidence and matchability heads
    (d multiply-adds a token) are left out, so that the floor is a little too low.

    Args:
        layers: (m, n) for each layer that runs.
    """
    d = WIDTH
    (m0, n0), (m1, n1) = layers[0], layers[-1]
    flops = 2 * (m0 + n0) * d * INPUT_DIM + 2 * (m1 + n1) * d * d + 2 * d * m1 * n1
    for m, n in layers:
        flops += 38 * (m + n) * d * d + 4 * d * (m * m + n * n) + 6 * d * m * n
    return float(flops)


def best_rate(dtype: torch.dtype, tokens: int = 4096, repeats: int = 15) -> dict[str, float | str]:
    """The fastest matrix product of the network's own shapes, in GFLOP/s, by whichever kernel of torch is faster."""
    best: dict[str, float | str] = {"gflops": 0.0}
    for inputs, outputs in SHAPES:
        x, weight, bias = torch.randn(tokens, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
        for name, product in _products(x.to(dtype), weight.to(dtype), bias.to(dtype)).items():
            rate = 2 * tokens * inputs * outputs / _fastest(product, repeats) / 1e9
            if rate > float(best["gflops"]):
                best = {"gflops": rate, "kernel": name, "shape": f"{tokens} × {inputs} → {outputs}"}
    return best


def int16_rate(repeats: int = 25, products: int = 10_000) -> dict[str, float | str]:
    """The most that the native library's int16 products reach here on all threads, in GFLOP/s, 0 where it has none.

    Rows and weights lie in the cache, and nothing is rounded, scaled or written.
    """
    native = library()
    if native is None or instruction_set() is None:
        return {"gflops": 0.0, "kernel": "none", "shape": ""}
    native.photoglue_products.restype = ctypes.c_double
    threads = torch.get_num_threads()
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            start = time.perf_counter()
            each = pool.map(lambda _: native.photoglue_products(1, ctypes.c_int64(products)), range(threads))
            best = max(best, sum(each) / (time.perf_counter() - start) / 1e9)
    return {"gflops": best, "kernel": instruction_set() or "", "shape": f"512 channels, {threads} threads"}


def _products(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> dict[str, Callable[[], object]]:
    products: dict[str, Callable[[], object]] = {"F.linear": lambda: functional.linear(x, weight, bias)}
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        products["oneDNN"] = lambda: torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return products


def _fastest(function: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest run: a floor asks what the machine can do, not what it usually does."""
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 2):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return min(times[2:])
