"""Many pairs into one file: each as if alone, resumed = uninterrupted, and changed features are noticed."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_photos import Bright, write_photo

from photoglue import batch
from photoglue.batch.match import IMAGES_OF_TILE, PAIRS_AT_ONCE, _chunks, matcher_options
from photoglue.errors import ConfigError, FeatureKindError, OutputError
from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue import LightGlue, LightGlueShape
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.store import FeatureStore, MatchStore

h5py = pytest.importorskip("h5py", exc_type=ImportError)


class Counted(Matcher):
    """Nearest neighbours, and how many pairs were asked for at a time."""

    def __init__(self, ratio=None):
        self.ratio = ratio
        self._nearest = NearestNeighbor(ratio)
        self._passes = []

    def match_many(self, pairs):
        self._passes.append(len(pairs))
        return self._nearest.match_many(pairs)


@pytest.fixture
def features(tmp_path):
    for number in range(9):
        write_photo(tmp_path / "photos" / f"{number}.png", number)
    write_photo(tmp_path / "photos" / "black.png", None)
    batch.extract(tmp_path / "photos", tmp_path / "feats.h5", Bright())
    return tmp_path / "feats.h5"


@pytest.fixture
def store(tmp_path):
    return tmp_path / "matches.h5"


def names_in(features):
    with FeatureStore.open(features) as store:
        return store.names()


def content(features, store):
    with FeatureStore.open(features) as opened, MatchStore.open(store) as matches:
        points = {name: opened[name].keypoints for name in opened.names()}
        return {
            (a, b): (matches.read(a, b, points[a], points[b]).numpy(), matches.made_from_pair(a, b))
            for a, b in matches.pairs()
        }


def assert_same(left, right):
    assert left.keys() == right.keys()
    for pair, (matches, made_from) in left.items():
        assert made_from == right[pair][1]
        for name, value in matches.items():
            np.testing.assert_array_equal(value, right[pair][0][name])


@pytest.mark.slow
@pytest.mark.parametrize("matcher", [NearestNeighbor(), LightGlue(shape=LightGlueShape(input_dim=2, n_layers=2))])
def test_each_pair_gets_what_it_would_get_alone(features, store, matcher):
    matcher = matcher.eval() if isinstance(matcher, torch.nn.Module) else matcher
    pairs, told = list(combinations(names_in(features), 2)), []
    summary = batch.match(pairs, features, store, matcher, progress=lambda *state: told.append(state))
    assert (summary.done, summary.kept, summary.failed) == (45, 0, {})
    assert summary.lines() == [f"45 pairs, {summary.size} matches → {store}"]
    assert told[-1] == (45, 45)
    found = content(features, store)
    with FeatureStore.open(features) as opened:
        for a, b in pairs:
            alone = matcher.match(opened[a], opened[b]).numpy()
            for name, value in found[a, b][0].items():
                np.testing.assert_array_equal(value, alone[name])


def test_what_is_up_to_date_is_left_alone_in_either_order(features, store):
    batch.match([("0.png", "1.png"), ("1.png", "2.png")], features, store, NearestNeighbor())
    before = store.read_bytes()
    pairs = [("1.png", "0.png"), ("2.png", "1.png"), ("1.png", "2.png")]
    summary = batch.match(pairs, features, store, NearestNeighbor())
    assert (summary.done, summary.kept) == (0, 2)
    assert store.read_bytes() == before


def test_changed_features_are_noticed(features, store, tmp_path):
    pairs = list(combinations([f"{i}.png" for i in range(4)], 2))
    batch.match(pairs, features, store, Counted())
    write_photo(tmp_path / "photos" / "2.png", 77)
    batch.extract(tmp_path / "photos", features, Bright())
    matcher = Counted()
    summary = batch.match([*pairs, ("3.png", "4.png")], features, store, matcher)
    assert (summary.done, summary.kept, sum(matcher._passes)) == (4, 3, 4)
    assert summary.lines()[-1] == "3 pairs whose features changed since: matched again"
    assert batch.match([pair[::-1] for pair in pairs], features, store, Counted()).kept == 6


def test_other_options_and_weights_are_refused_and_named(features, store, tmp_path):
    batch.match([("0.png", "1.png")], features, store, NearestNeighbor())
    with pytest.raises(ConfigError, match=r"\(ratio: None there, 0\.8 now\)"):
        batch.match([("0.png", "1.png")], features, store, NearestNeighbor(0.8))
    with pytest.raises(ConfigError, match="matcher: 'NearestNeighbor' there, 'Counted' now"):
        batch.match([("0.png", "1.png")], features, store, Counted())
    first = LightGlue(shape=LightGlueShape(input_dim=2, n_layers=1)).eval()
    told = matcher_options(first)
    assert told["matcher"] == "LightGlue"
    assert told["config"]["filter_threshold"] == first.config.filter_threshold
    assert matcher_options(LightGlue(shape=first.shape).eval())["weights"] != told["weights"]
    other = first.prepare("float32")
    assert matcher_options(other)["precision"] == "float32"


def test_pairs_without_features_are_reported_and_the_others_go_on(features, store):
    with h5py.File(features, "a") as file:
        file.copy("3.png", "nan.png")
        file["nan.png/descriptors"][0] = np.nan
        del file["4.png/descriptors"]
    pairs = [("0.png", "1.png"), ("0.png", "absent.png"), ("4.png", "1.png"), ("nan.png", "2.png"), ("0.png", "2.png")]
    summary = batch.match(pairs, features, store, NearestNeighbor())
    assert summary.done == 2
    assert summary.failed.keys() == {"0.png absent.png", "4.png 1.png", "nan.png 2.png"}
    assert "has no features of 'absent.png'" in summary.failed["0.png absent.png"]
    assert "'4.png'" in summary.failed["4.png 1.png"]
    assert "NaN" in summary.failed["nan.png 2.png"]


def test_features_of_another_kind_end_the_run(features, store):
    with pytest.raises(FeatureKindError):
        batch.match(
            [("0.png", "1.png")], features, store, LightGlue(shape=LightGlueShape(input_dim=2, kinds=("disk",))).eval()
        )
    with pytest.raises(OutputError, match="There is no file"):
        batch.match([("0.png", "1.png")], features.with_name("no.h5"), store, NearestNeighbor())


def test_matches_without_a_record_are_made_again(features, store):
    """Such as those of an earlier version: whether their features are still the same cannot be known."""
    batch.match([("0.png", "1.png"), ("0.png", "2.png")], features, store, NearestNeighbor())
    with h5py.File(store, "a") as file:
        del file["0.png/1.png"].attrs["made_from"]
    summary = batch.match([("1.png", "0.png"), ("0.png", "2.png")], features, store, NearestNeighbor())
    assert summary.lines()[-1] == "1 pair without a record of what it was made from: matched again"
    with MatchStore.open(store) as matches:
        assert sorted(matches.pairs()) == [("0.png", "2.png"), ("1.png", "0.png")]


def test_damaged_matches_are_made_again(features, store):
    batch.match([("0.png", "1.png"), ("0.png", "2.png")], features, store, NearestNeighbor())
    with MatchStore.open(store) as matches:
        stored = matches._file["0.png/1.png/matching_scores0"]
        offset, size = stored.id.get_chunk_info(0).byte_offset, stored.id.get_chunk_info(0).size
    content = bytearray(store.read_bytes())
    content[offset + size // 2] ^= 1
    store.write_bytes(content)
    summary = batch.match([("1.png", "0.png"), ("0.png", "2.png")], features, store, NearestNeighbor())
    assert summary.lines()[-1] == "1 pair damaged in the file: matched again"


KILLED = """
import os, signal, sys
from itertools import combinations
from photoglue import NearestNeighbor, batch
from photoglue.store import FeatureStore

def die(done, count):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    with FeatureStore.open(sys.argv[1]) as store:
        names = store.names()
    batch.match(combinations(names, 2), sys.argv[1], sys.argv[2], NearestNeighbor(), progress=die)
"""


@pytest.mark.slow
def test_killed_and_resumed_is_the_same_as_not_interrupted(features, store, tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    done = subprocess.run([sys.executable, tmp_path / "killed.py", features, store], check=False)
    assert done.returncode == -9
    pairs = list(combinations(names_in(features), 2))
    summary = batch.match(pairs, features, store, NearestNeighbor())
    assert (summary.kept, summary.done) == (PAIRS_AT_ONCE, 45 - PAIRS_AT_ONCE)
    batch.match(pairs, features, tmp_path / "whole.h5", NearestNeighbor())
    assert_same(content(features, store), content(features, tmp_path / "whole.h5"))


@pytest.mark.slow
def test_processes_give_the_same(features, store, tmp_path):
    pairs = list(combinations(names_in(features), 2))
    batch.match(pairs, features, store, NearestNeighbor())
    batch.match(pairs, features, tmp_path / "two.h5", NearestNeighbor(), engine=batch.Processes(workers=2))
    assert_same(content(features, store), content(features, tmp_path / "two.h5"))


def test_few_images_recur_within_a_chunk():
    names = [f"{i:03}" for i in range(60)]
    pairs = list(combinations(names, 2))
    chunks = _chunks(pairs[::-1])
    assert sorted(pair for chunk in chunks for pair in chunk) == pairs
    assert {len(chunk) for chunk in chunks[:-1]} == {PAIRS_AT_ONCE}
    read = sum(len({name for pair in chunk for name in pair}) for chunk in chunks)
    assert read < len(pairs)  # by themselves they would read 2 each
    assert IMAGES_OF_TILE**2 >= PAIRS_AT_ONCE


def test_few_images_recur_though_names_say_nothing_of_who_is_near_whom():
    """Images on a ring with names in another order; each is paired with the next five."""
    order = np.random.default_rng(0).permutation(400)
    pairs = [(f"{order[i]:03}", f"{order[(i + step) % 400]:03}") for i in range(400) for step in range(1, 6)]
    chunks = _chunks(pairs)
    assert sorted(pair for chunk in chunks for pair in chunk) == sorted(pairs)
    read = sum(len({name for pair in chunk for name in pair}) for chunk in chunks)
    assert read < 0.6 * len(pairs)  # sorted by name: more than one a pair
    assert _chunks(pairs[::-1]) == chunks


def test_no_pairs(features, store):
    assert batch.match([], features, store, NearestNeighbor()).done == 0
    assert Path(store).exists()
