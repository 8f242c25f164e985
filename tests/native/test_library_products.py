"""The kernels against numpy: integers exactly, also where sums are as large as they can be; attention closely."""

import ctypes

import numpy as np
import pytest

from photoglue.native import library as module


@pytest.fixture(scope="module")
def native():
    if not module.available():
        pytest.skip(module.absence() or "no kernels for this processor")
    return module.library()


def pointer(array):
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def linear(native, x, weights, bias, int16=True):
    out = np.full((len(x), len(weights)), np.nan, np.float32)
    sizes = (ctypes.c_int64(len(x)), pointer(weights), pointer(bias), *weights.shape)
    assert native.photoglue_linear(int(int16), pointer(x), *sizes, pointer(out)) == 0
    return out


def attend(native, x, weights, bias, heads, int16=True):
    out = np.full_like(x, np.nan)
    sizes = (ctypes.c_int64(len(x)), pointer(weights), pointer(bias), x.shape[1], heads)
    assert native.photoglue_attend(int(int16), pointer(x), *sizes, pointer(out)) == 0
    return out


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 32, 32), (13, 256, 768), (61, 512, 96), (130, 64, 64)])
def test_integers_are_exact(native, rows, inputs, outputs):
    """A single one off would be seen."""
    generator, scale = np.random.default_rng(0), np.float32(2**-9)
    x, weights = (generator.integers(-1500, 1501, (n, inputs)) for n in (rows, outputs))
    x[:, 0] = weights[:, -1] = 32767  # decides the scale: the norms are less than 46328
    bias = generator.integers(-99, 100, outputs).astype(np.float32)
    found = linear(native, x.astype(np.float32) * scale, weights.astype(np.float32) * scale, bias)
    wanted = (x @ weights.T).astype(np.float32).astype(np.float64) * 2.0**-18 + bias
    np.testing.assert_array_equal(found, wanted.astype(np.float32))


@pytest.mark.parametrize("inputs", [32, 512])
@pytest.mark.parametrize("kind", ["all alike", "one", "few", "alternating"])
def test_no_sum_overflows(native, inputs, kind):
    """Where a row of weights is parallel to the input, the sum is as large as it can be."""
    x = np.zeros((3, inputs), np.float32)
    x[:, : {"one": 1, "few": 3}.get(kind, inputs)] = 7.3
    if kind == "alternating":
        x[:, 1::2] *= -1
    weights = np.tile(x[:1] / 11, (32, 1))
    weights[1::2] *= -1
    found = linear(native, x, weights, np.zeros(32, np.float32))
    np.testing.assert_allclose(found, x @ weights.T, rtol=1e-3)  # an overflow would change the sign


def test_zeros(native):
    x, weights = np.zeros((2, 32), np.float32), np.zeros((32, 32), np.float32)
    bias = random(32)
    assert (linear(native, x, weights, bias) == bias).all()
    assert (attend(native, x, np.zeros((96, 32), np.float32), np.zeros(96, np.float32), 1) == 0).all()


@pytest.mark.parametrize("int16", [True, False])
@pytest.mark.parametrize(
    ("count", "width", "heads"), [(1, 32, 1), (33, 64, 1), (224, 64, 2), (225, 64, 1), (500, 128, 2)]
)
def test_attention(native, count, width, heads, int16):
    """Across the borders of panels and blocks of keys; scores reach some tens."""
    x, weights, bias = random(count, width), random(3 * width, width, seed=1) * 0.1, random(3 * width, seed=2)
    query, key, value = np.split(x.astype(np.float64) @ weights.T.astype(np.float64) + bias, 3, axis=1)
    wanted = np.empty((count, width))
    for part in np.split(np.arange(width), heads):
        scores = query[:, part] @ key[:, part].T
        share = np.exp2(scores - scores.max(axis=1, keepdims=True))
        wanted[:, part] = share / share.sum(axis=1, keepdims=True) @ value[:, part]
    error = np.abs(attend(native, x, weights, bias, heads, int16) - wanted)
    assert error.max() < (0.02 if int16 else 2e-4)
    assert error.mean() < (1e-3 if int16 else 5e-6)


def test_keys_whose_values_are_small(native):
    """Weights are rounded together with their values: those with next to no value still count in the total."""
    width = 32
    weights = np.zeros((96, width), np.float32)
    weights[64:] = np.eye(width)  # queries and keys are 0: all weights alike
    x = np.full((200, width), 1e-6, np.float32)
    x[0] = 1
    found = attend(native, x, weights, np.zeros(96, np.float32), 1)
    np.testing.assert_allclose(found, 1 / 200, rtol=2e-3)


def test_sizes_without_kernels(native):
    x, weights, bias = random(2, 48), random(48, 48), random(48)
    out = np.empty((2, 48), np.float32)
    sizes = (ctypes.c_int64(2), pointer(weights), pointer(bias), 48, 48)
    assert native.photoglue_linear(1, pointer(x), *sizes, pointer(out)) == 1
