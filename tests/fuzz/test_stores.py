"""Stores, caches, weights and JSON files with flipped bits, cut at any length, or edited: the content, or one error."""

import json
import random

import numpy as np
import pytest
import torch
from fuzzing import damaged, seeds, written

pytest.importorskip("h5py", exc_type=ImportError)


def _features(count, seed=0):
    from photoglue import Features

    values = np.random.default_rng(seed)
    return Features.from_arrays(
        values.random((count, 2)) * 100, values.normal(size=(count, 16)), (100, 100), kind="test", scores=np.ones(count)
    )


def _matches(count):
    from photoglue import Matches

    order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
    inverse = torch.argsort(order)
    points = torch.rand(count, 2, generator=torch.Generator().manual_seed(2))
    ones = torch.ones(count)
    return Matches(
        matches0=order, matches1=inverse, matching_scores0=ones, matching_scores1=ones.clone(), keypoints0=points,
        keypoints1=points.clone(),
    )  # fmt: skip


def _same(one, other):
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("keypoints", "descriptors", "scores"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_feature_stores(tmp_path, tries):
    from photoglue.store import FeatureStore

    path = tmp_path / "whole.h5"
    truth = {f"photo{i}.jpg": _features(5 + i, i) for i in range(3)}
    with FeatureStore.open(path, "w") as store:
        for name, features in truth.items():
            store.write(name, features)
    whole = path.read_bytes()

    def check(found):
        for name, features in found.items():
            if name in truth and features.kind == "test" and features.image_size == (100, 100):
                assert _same(features, truth[name]), f"{name} reads as other numbers"

    for number in seeds(120, 0.1):
        bad = written(tmp_path, ".h5", damaged(whole, random.Random(number)))

        def read(bad=bad):
            with FeatureStore.open(bad) as store:
                return {name: store[name] for name in store.names()}

        tries(read, f"feature store {number}", check)
    assert tries.outcomes["refused"] > 5


@pytest.mark.filterwarnings("ignore")
def test_match_stores(tmp_path, tries):
    from photoglue.store import MatchStore

    path = tmp_path / "whole.h5"
    truth = _matches(20)
    with MatchStore.open(path, "w") as store:
        store.write("a", "b", truth)
    whole = path.read_bytes()

    def check(found):
        for matches in found:
            assert torch.equal(matches.matches0, truth.matches0), "reads as other numbers"
            assert len(matches.points1) == len(matches)

    for number in seeds(120, 0.1):
        bad = written(tmp_path, ".h5", damaged(whole, random.Random(number)))

        def read(bad=bad):
            with MatchStore.open(bad) as store:
                return [store.read(*pair, truth.keypoints0, truth.keypoints1) for pair in store.pairs()]

        tries(read, f"match store {number}", check)
    assert tries.outcomes["refused"] > 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_training_caches(tmp_path, tries):
    from photoglue.store import atomic_store
    from photoglue.store.cache import CacheWriter, FeatureCache

    path = tmp_path / "whole.h5"
    truth = [_features(4, 1), _features(7, 2)]
    with atomic_store(path, {"x": 1}, CacheWriter) as writer:
        writer.append(truth, steps=1, notes=["a note"])
    whole = path.read_bytes()
    expected = [FeatureCache.open(path).features(i) for i in range(2)]

    def check(found):
        for features, wanted in zip(found, expected, strict=False):
            if len(features) == len(wanted) and features.kind == "test":
                assert _same(features, wanted), "reads as other numbers"

    for number in seeds(120, 0.1):
        bad = written(tmp_path, ".h5", damaged(whole, random.Random(number)))

        def read(bad=bad):
            cache = FeatureCache.open(bad)
            try:
                return [cache.features(i) for i in range(len(cache))]
            finally:
                cache.close()

        tries(read, f"cache {number}", check)


@pytest.mark.filterwarnings("ignore")
def test_weights(tmp_path, tries, as_a_user):
    from photoglue import LightGlue

    path = tmp_path / "whole.safetensors"
    LightGlue.from_checkpoint(_small_weights(tmp_path)).save(path)
    whole = path.read_bytes()
    for number in seeds(60, 0.05):
        source = random.Random(number)
        content = _edited_header(whole, source) if number % 2 else damaged(whole, source)
        bad = written(tmp_path, ".safetensors", content)
        tries(lambda bad=bad: LightGlue.from_checkpoint(bad), f"weights {number}")
    assert tries.outcomes["refused"] > 10


def _small_weights(folder):
    """A random network of little width, under the official names."""
    from safetensors.torch import save_file

    path = folder / "small.safetensors"
    width, heads, state = 16, 2, {}
    generator = torch.Generator().manual_seed(0)

    def put(name, *shape):
        state[name] = torch.randn(*shape, generator=generator) * 0.1

    def linear(name, out, given):
        put(f"{name}.weight", out, given)
        put(f"{name}.bias", out)

    put("posenc.Wr.weight", width // heads // 2, 2)
    for layer in range(2):
        for block, names in (("self_attn", ["Wqkv"]), ("cross_attn", ["to_qk", "to_v"])):
            start = f"transformers.{layer}.{block}"
            for name in names:
                linear(f"{start}.{name}", 3 * width if name == "Wqkv" else width, width)
            linear(f"{start}.{'out_proj' if block == 'self_attn' else 'to_out'}", width, width)
            linear(f"{start}.ffn.0", 2 * width, 2 * width)
            put(f"{start}.ffn.1.weight", 2 * width)
            put(f"{start}.ffn.1.bias", 2 * width)
            linear(f"{start}.ffn.3", width, 2 * width)
        linear(f"log_assignment.{layer}.matchability", 1, width)
        linear(f"log_assignment.{layer}.final_proj", width, width)
    linear("token_confidence.0.token.0", 1, width)
    save_file(state, path)
    return path


def _edited_header(content, source):
    """Valid safetensors whose stored options somebody has edited."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header["__metadata__"]
    key = source.choice([name for name in metadata if name in ("config", "shape", "verdict", "format", "version")])
    try:
        options = json.loads(metadata[key])
    except ValueError:
        options = {}
    if isinstance(options, dict) and options and source.random() < 0.8:
        options[source.choice(list(options))] = source.choice([None, "x", -1, 1e99, [], {}, [1, "a"], True, 3.5])
        metadata[key] = json.dumps(options)
    else:
        metadata[key] = source.choice(["", "[]", "null", "{}", '{"a": 1}', "{", "\x00", "9" * 50])
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]
