"""Packing loses no token, mixes no two images, and every pair is in exactly one pass."""

from itertools import pairwise

import torch
from drawn import generator, seeds
from hypothesis import given
from hypothesis import strategies as st

from photoglue.matchers.lightglue.packing import Segments, batches

pairs_of_lengths = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8)


def packed(pairs) -> Segments:
    return Segments(tuple(length for pair in pairs for length in pair))


@given(pairs_of_lengths)
def test_segments_cover_each_token_once_in_order(pairs):
    segments = packed(pairs)
    assert segments.total == sum(map(sum, pairs)) == segments.offsets[-1]
    assert len(segments.offsets) == 2 * len(pairs) + 1
    tokens = list(range(segments.total))
    assert [token for rows in segments.slices() for token in tokens[rows]] == tokens
    assert [len(tokens[rows]) for rows in segments.slices()] == list(segments.lengths)
    assert segments.equal == (len(set(segments.lengths)) <= 1)


@given(pairs_of_lengths, seeds)
def test_tokens_cut_at_the_segments_are_those_that_were_packed(pairs, seed):
    segments, chance = packed(pairs), generator(seed)
    images = [torch.randn(length, 3, generator=chance) for length in segments.lengths]
    tokens = torch.cat([torch.zeros(0, 3), *images])
    for image, rows in zip(images, segments.slices(), strict=True):
        assert torch.equal(tokens[rows], image)


@given(pairs_of_lengths, seeds)
def test_one_value_an_image_reaches_all_its_tokens(pairs, seed):
    segments = packed(pairs)
    values = torch.randn(len(segments.lengths), 2, generator=generator(seed))
    spread = segments.spread(values)
    assert spread.shape == (segments.total, 2)
    for value, rows in zip(values, segments.slices(), strict=True):
        assert torch.equal(spread[rows], value.expand(rows.stop - rows.start, 2))


@given(pairs_of_lengths, st.data())
def test_pairs_that_stay_keep_their_two_images(pairs, data):
    """A pair that is done leaves the pack; the others keep their lengths and their order."""
    stay = data.draw(st.lists(st.sampled_from(range(len(pairs))), unique=True) if pairs else st.just([]))
    left = packed(pairs).of_pairs(sorted(stay))
    assert left == packed([pairs[i] for i in sorted(stay)])


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 100))
def test_batches_have_each_pair_once_and_stay_in_their_budget(sizes, budget):
    passes = batches(sizes, budget)
    assert sorted(pair for numbers in passes for pair in numbers) == list(range(len(sizes)))
    for numbers in passes:
        assert numbers
        assert sum(sizes[pair] for pair in numbers) <= budget or len([pair for pair in numbers if sizes[pair]]) == 1
    in_order = [sizes[pair] for numbers in passes for pair in numbers]
    assert in_order == sorted(in_order)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 100))
def test_no_two_neighbouring_batches_fit_into_one(sizes, budget):
    passes = batches(sizes, budget)
    for first, second in pairwise(passes):
        assert sum(sizes[pair] for pair in first) + sizes[second[0]] > budget
