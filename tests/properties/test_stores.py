"""What goes into a store comes out of it, under any name, with or without what may be left out."""

import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from drawn import features, matches
from hypothesis import given
from hypothesis import strategies as st

from photoglue.errors import OutputError
from photoglue.store import FeatureStore, MatchStore
from photoglue.structs import Features

pytest.importorskip("h5py", exc_type=ImportError)

parts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12).filter(
    lambda part: part not in (".", "..") and not part.startswith(".photoglue")
)
names = st.lists(parts, min_size=1, max_size=3).map("/".join)
"""Paths of images below a folder, in any script."""


@contextmanager
def reopened(kind, written):
    """A store in a file of its own, written by one process's worth of code and opened anew to be read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.h5"
        with kind.open(path, "w", options={"made": "here"}) as store:
            written(store)
        with kind.open(path) as store:
            yield store


def assert_same(ours, others):
    for name, value in vars(ours).items():
        again = getattr(others, name)
        if isinstance(value, torch.Tensor):
            assert again.dtype == value.dtype, name
            assert torch.equal(again, value), name
        else:
            assert again == value, name


@pytest.mark.slow
@given(names, features())
def test_features(name, found):
    with reopened(FeatureStore, lambda store: store.write(name, found)) as store:
        assert store.names() == [name]
        assert name in store
        assert_same(found, store[name])


@pytest.mark.slow
@given(st.dictionaries(parts, features(st.integers(0, 2)), max_size=5))
def test_many_images_do_not_touch_each_other(images):
    def write(store):
        for name, found in images.items():
            store.write(name, found)

    with reopened(FeatureStore, write) as store:
        assert store.names() == sorted(images)
        for name, found in images.items():
            assert_same(found, store[name])


@pytest.mark.slow
@given(names, features(), features())
def test_the_last_features_of_a_name_count(name, first, second):
    def write(store):
        store.write(name, first)
        store.write(name, second)

    with reopened(FeatureStore, write) as store:
        assert store.names() == [name]
        assert_same(second, store[name])


ONE_POINT = Features.from_arrays([[1.0, 2.0]], [[0.5, 0.5]], (640, 480), kind="sift-opencv")


@pytest.mark.slow
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8))
def test_any_text_is_a_name_or_is_refused(name):
    """What is written without an error can be read again."""
    refused = []

    def write(store):
        try:
            store.write(name, ONE_POINT)
        except OutputError:
            refused.append(name)

    with reopened(FeatureStore, write) as store:
        assert (name in store) != bool(refused)
        if not refused:
            assert_same(ONE_POINT, store[name])
            assert len(store.names()) == 1


@pytest.mark.slow
@given(parts, parts, matches())
def test_matches_in_either_order(name0, name1, found):
    with reopened(MatchStore, lambda store: store.write(name0, name1, found)) as store:
        assert store.pairs() == [(name0, name1)]
        assert (name0, name1) in store
        assert (name1, name0) in store
        assert_same(found, store.read(name0, name1, found.keypoints0, found.keypoints1))
        if name0 != name1:
            other = store.read(name1, name0, found.keypoints1, found.keypoints0)
            assert_same(found, transposed(other))


@pytest.mark.slow
@given(parts, parts, matches(), matches(), st.booleans())
def test_the_last_matches_of_a_pair_count(name0, name1, first, second, turned):
    """Also if they were written in the other order."""

    def write(store):
        store.write(name0, name1, first)
        store.write(*((name1, name0, transposed(second)) if turned else (name0, name1, second)))

    if name0 == name1 and turned:
        second = transposed(second)
    with reopened(MatchStore, write) as store:
        assert len(store.pairs()) == 1
        if name0 != name1:
            assert_same(second, store.read(name0, name1, second.keypoints0, second.keypoints1))


def transposed(found):
    fields = ("matches", "matching_scores", "keypoints", "prune")
    return replace(found, **{f"{name}{i}": getattr(found, f"{name}{1 - i}") for name in fields for i in (0, 1)})
