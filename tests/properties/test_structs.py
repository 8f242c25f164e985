"""Whatever holds for three points holds for none, for one and for many."""

import numpy as np
import pytest
import torch
from drawn import counts, features, matches, seeds
from hypothesis import given
from hypothesis import strategies as st

from photoglue.errors import ShapeError
from photoglue.structs import Features


def same(ours, others):
    """Whether two structs have equal fields."""
    left, right = vars(ours), vars(others)
    assert left.keys() == right.keys()
    for name, value in left.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == right[name].dtype, name
            assert torch.equal(value, right[name]), name
        else:
            assert value == right[name], name


@given(features(), st.data())
def test_rows_are_chosen_in_all_fields_alike(found, data):
    """A slice, a mask and indices choose the same points, and only the points change."""
    n = len(found)
    start, stop = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    rows = torch.arange(n)[start:stop]
    mask = torch.zeros(n, dtype=torch.bool)
    mask[rows] = True
    chosen = found[start:stop]
    assert len(chosen) == max(0, stop - start)
    same(chosen, found[mask])
    same(chosen, found[rows])
    assert (chosen.image_size, chosen.kind) == (found.image_size, found.kind)
    for name in ("keypoints", "descriptors", "scores", "scales", "orientations"):
        whole, part = getattr(found, name), getattr(chosen, name)
        assert (whole is None) == (part is None)
        assert whole is None or torch.equal(part, whole[rows])


@given(features(), seeds)
def test_shuffled_twice_is_unshuffled(found, seed):
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))
    same(found[order][order.argsort()], found)


@given(features())
def test_to_numpy_and_back(found):
    """What is there, and nothing else; arrays of the caller's are copied."""
    arrays = found.numpy()
    assert set(arrays) == {name for name, value in vars(found).items() if value is not None}
    again = Features.from_arrays(**arrays)
    same(again, found)
    arrays["keypoints"] += 1
    assert len(found) == 0 or not np.array_equal(again.keypoints, arrays["keypoints"])


@given(features())
def test_hloc_keeps_all_numbers(found):
    arrays = found.to_hloc()
    width, height = arrays["image_size"].tolist()
    again = Features.from_arrays(
        arrays["keypoints"], arrays["descriptors"].T, (width, height), scores=arrays["scores"], kind=found.kind
    )
    for name in ("keypoints", "descriptors", "scores", "image_size"):
        ours, theirs = getattr(found, name), getattr(again, name)
        assert ours == theirs if name == "image_size" else torch.equal(ours, theirs)


@given(features())
def test_moving_changes_nothing_and_is_no_copy(found):
    same(found.cpu(), found)
    assert found.to("cpu").keypoints.data_ptr() == found.keypoints.data_ptr()
    assert {str(value.device) for value in vars(found.to("meta")).values() if isinstance(value, torch.Tensor)} == {
        "meta"
    }


@given(counts, counts, st.sampled_from(["descriptors", "scores", "scales", "orientations"]))
def test_fields_of_different_lengths_are_refused(n, other, name):
    fields = {
        "keypoints": torch.zeros(n, 2),
        "descriptors": torch.zeros(n, 4),
        "scores": torch.zeros(n),
        "image_size": (30, 20),
    }
    fields[name] = torch.zeros(other, 4) if name == "descriptors" else torch.zeros(other)
    if other == n:
        assert len(Features(**fields)) == n
    else:
        with pytest.raises((ShapeError, TypeError)):  # the hook that executes annotations may speak first
            Features(**fields)


@given(matches())
def test_what_is_derived_from_matches_agrees(found):
    """Of indices, scores and points each row is one match; image 1 says the same as image 0."""
    indices = found.indices
    assert len(found) == len(indices) == len(found.scores) == len(found.points0) == len(found.points1)
    assert torch.equal(found.matches0[indices[:, 0]], indices[:, 1])
    assert torch.equal(found.matches1[indices[:, 1]], indices[:, 0])
    assert torch.equal(found.points0, found.keypoints0[indices[:, 0]])
    assert torch.equal(found.points1, found.keypoints1[indices[:, 1]])
    assert torch.equal(found.scores, found.matching_scores1[indices[:, 1]])
    assert (indices[:, 0].diff() > 0).all()
    assert (found.matches1 >= 0).sum() == len(found)


@given(matches())
def test_matches_for_hloc_hold_the_same(found):
    arrays = found.to_hloc()
    assert arrays["matches0"].tolist() == found.matches0.tolist()
    assert arrays["matching_scores0"].tolist() == found.matching_scores0.tolist()
