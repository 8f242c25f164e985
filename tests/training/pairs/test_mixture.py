"""A mixture gives each source its share, in order, and the same for the same numbers."""

from collections import Counter

import pytest
import torch

from photoglue.errors import ConfigError
from photoglue.structs import Features
from photoglue.training.pairs.base import HomographyPair, PairSource
from photoglue.training.pairs.mixture import Mixture


class _Numbered(PairSource):
    """Pairs that say who gave them, and for which numbers."""

    def __init__(self, name, length):
        self.name, self.length = name, length

    def __len__(self):
        return self.length

    def pair(self, epoch, index):
        assert 0 <= index < self.length
        features = Features.from_arrays([[float(epoch), float(index)]], [[1.0]], (9, 9), kind=self.name)
        return HomographyPair(features0=features, features1=features, image1_from_image0=torch.eye(3).double())


def _who(pair):
    epoch, index = pair.features0.keypoints[0].tolist()
    return pair.features0.kind, int(epoch), int(index)


def _epoch(mixture, epoch):
    return [_who(mixture.pair(epoch, index)) for index in range(len(mixture))]


def test_each_epoch_has_exactly_the_shares():
    mixture = Mixture([(_Numbered("a", 7), 3.0), (_Numbered("b", 100), 1.0)], pairs_per_epoch=20)
    assert (len(mixture), mixture.counts) == (20, (15, 5))
    for epoch in range(3):
        assert Counter(name for name, *_ in _epoch(mixture, epoch)) == {"a": 15, "b": 5}


def test_a_source_gives_all_of_its_epoch_before_the_next():
    mixture = Mixture([(_Numbered("a", 7), 3.0), (_Numbered("b", 6), 1.0)], pairs_per_epoch=10, seed=3)
    given = [who for epoch in range(4) for who in _epoch(mixture, epoch)]
    for name, length, per_epoch in (("a", 7, mixture.counts[0]), ("b", 6, mixture.counts[1])):
        assert [who[1:] for who in given if who[0] == name] == [divmod(n, length) for n in range(4 * per_epoch)]


def test_the_order_is_random_but_the_same_for_the_same_numbers():
    sources = [(_Numbered("a", 50), 1.0), (_Numbered("b", 50), 1.0)]
    mixture, again = Mixture(sources), Mixture(sources)
    assert len(mixture) == 100
    assert [_who(again.pair(2, index)) for index in reversed(range(100))] == _epoch(mixture, 2)[::-1]
    names = ["".join(name for name, *_ in _epoch(mixture, epoch)) for epoch in (0, 1)]
    assert names[0] != names[1]
    assert "ab" * 3 not in names[0][:6]
    assert 10 < sum(left != right for left, right in zip(names[0], names[0][1:], strict=False)) < 90
    assert _epoch(Mixture(sources, seed=1), 0) != _epoch(mixture, 0)


def test_a_source_of_weight_0_is_left_out():
    mixture = Mixture([(_Numbered("a", 5), 0.0), (_Numbered("b", 5), 2.0), (_Numbered("c", 0), 0.0)])
    assert Counter(name for name, *_ in _epoch(mixture, 0)) == {"b": 5}


def test_rounding_leaves_no_pair_out():
    mixture = Mixture([(_Numbered(name, 9), 1.0) for name in "abc"], pairs_per_epoch=10)
    assert sorted(mixture.counts) == [3, 3, 4]


@pytest.mark.parametrize(
    ("weights", "message"),
    [([], "they must be 0 or more"), ([0.0, 0.0], "and one above 0"), ([1.0, -1.0], r"\[1.0, -1.0\]")],
)
def test_weights_must_make_sense(weights, message):
    with pytest.raises(ConfigError, match=message):
        Mixture([(_Numbered("a", 3), weight) for weight in weights])


def test_an_empty_source_or_epoch_is_refused():
    with pytest.raises(ConfigError, match="source of pairs with a weight is empty"):
        Mixture([(_Numbered("a", 3), 1.0), (_Numbered("b", 0), 1.0)])
    with pytest.raises(ConfigError, match="pairs_per_epoch is 0"):
        Mixture([(_Numbered("a", 3), 1.0)], pairs_per_epoch=0)
