"""AMX multiplies the same integers as VNNI: bit by bit the same results, in any thread or process."""

import ctypes
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from photoglue.native import library as module

SETS = (b"amx-int8", b"avx512-vnni")


@pytest.fixture
def sets():
    """Has networks that are made from now on use an instruction set."""
    native = module.library()
    if native is None:
        pytest.skip(module.absence())
    before = (module.instruction_set() or "").encode()
    if not native.photoglue_choose(SETS[0]):
        pytest.skip("no AMX here, or the system does not let this process use it")
    yield native.photoglue_choose
    assert native.photoglue_choose(before)


def pointer(array):
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def on_both(choose, compute):
    """The result of each set, as bits: NaN would differ from itself."""
    found = []
    for name in SETS:
        assert choose(name)
        found.append(compute().view(np.int32))
    return found


def linear(x, weights, bias):
    out = np.full((len(x), len(weights)), np.nan, np.float32)
    sizes = (ctypes.c_int64(len(x)), pointer(weights), pointer(bias), *weights.shape)
    assert module.library().photoglue_linear(1, pointer(x), *sizes, pointer(out)) == 0
    return out


def attend(x, weights, bias, heads):
    out = np.full_like(x, np.nan)
    sizes = (ctypes.c_int64(len(x)), pointer(weights), pointer(bias), x.shape[1], heads)
    assert module.library().photoglue_attend(1, pointer(x), *sizes, pointer(out)) == 0
    return out


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(1, 64, 32), (13, 256, 768), (61, 512, 96), (130, 448, 64), (57, 96, 64)]
)
@pytest.mark.parametrize("kind", ["usual", "extreme", "parallel"])
def test_linear(sets, rows, inputs, outputs, kind):
    """Also with numbers at the ends of int16, of all signs of both bytes, and sums close to 2³¹."""
    chance = np.random.default_rng(rows)
    x, weights = (chance.standard_normal((n, inputs)).astype(np.float32) for n in (rows, outputs))
    if kind == "extreme":  # a lone large number is ±32767 as int16
        for table in (x, weights):
            np.multiply(table, 1e-3, out=table)
            table[np.arange(len(table)), chance.integers(0, inputs, len(table))] = chance.choice([-1, 1], len(table))
    if kind == "parallel":
        x[:] = x[:1]
        weights[:] = x[:1] * chance.choice([-2, 3], (outputs, 1))
    bias = chance.standard_normal(outputs).astype(np.float32)
    amx, vnni = on_both(sets, lambda: linear(x, weights, bias))
    np.testing.assert_array_equal(amx, vnni)


@pytest.mark.parametrize("sharp", [0.02, 0.3, 2.0])
@pytest.mark.parametrize(("count", "width", "heads"), [(1, 64, 1), (37, 128, 2), (224, 64, 1), (301, 256, 4)])
def test_attention(sets, count, width, heads, sharp):
    """With few keys that count, one half of a tile may have none, or a whole tile."""
    chance = np.random.default_rng(count)
    x = chance.standard_normal((count, width)).astype(np.float32)
    weights = (chance.standard_normal((3 * width, width)) * sharp).astype(np.float32)
    bias = chance.standard_normal(3 * width).astype(np.float32)
    amx, vnni = on_both(sets, lambda: attend(x, weights, bias, heads))
    np.testing.assert_array_equal(amx, vnni)


def test_which_is_taken(sets):
    """A set that is not there changes nothing."""
    assert module.instruction_set() == "amx-int8"
    assert not sets(b"amx-int9")
    assert module.instruction_set() == "amx-int8"
    assert sets(b"avx2")
    assert module.instruction_set() == "avx2"


def features(count, seed):
    from photoglue.structs import Features

    chance = torch.Generator().manual_seed(seed)
    return Features(
        keypoints=torch.rand(count, 2, generator=chance) * 500,
        descriptors=torch.randn(count, 24, generator=chance),
        scores=torch.ones(count),
        image_size=(500, 500),
    )


def network():
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, LightGlueShape

    torch.manual_seed(3)
    shape = LightGlueShape(input_dim=24, descriptor_dim=128, n_layers=3, num_heads=2)
    config = LightGlueConfig(filter_threshold=0.0, depth_confidence=0.95, width_confidence=0.9)
    return LightGlue(config, shape=shape).eval().requires_grad_(False).prepare("int16")


def bits(matches):
    parts = (matches.matches0, matches.matches1, matches.matching_scores0, matches.matching_scores1, matches.prune0)
    return b"".join(part.numpy().tobytes() for part in parts)


@pytest.mark.slow
def test_whole_matches(sets):
    """Of many threads that call at once, with threads of their own; and in a process that forks after a match."""
    pairs = [(features(m, m), features(n, n + 1)) for m, n in [(70, 300), (1, 40), (230, 229), (300, 5)]]
    sets(SETS[1])
    wanted = [bits(each) for each in network().match_many(pairs)]
    sets(SETS[0])
    net = network()
    assert [bits(each) for each in net.match_many(pairs)] == wanted
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda pair: bits(net.match(*pair)), pairs * 3)) == wanted * 3
    if hasattr(os, "fork"):
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe(duplex=False)

        def tell():
            torch.set_num_threads(1)  # OpenMP does not outlive a fork
            theirs.send([bits(net.match(*pair)) for pair in pairs])

        child = context.Process(target=tell)
        child.start()
        theirs.close()
        try:
            assert ours.poll(60), "the child does not answer"
            assert ours.recv() == wanted
        finally:
            child.kill()
            child.join()
