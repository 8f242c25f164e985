"""What is decided after a layer, against the rules written out with loops; and how often a GPU's host would wait."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

LENGTHS = (5, 4, 3, 6, 7, 7, 1, 2, 4, 4)
"""Five pairs: one is done, one loses all points of an image, one is too small to be pruned, two go on."""


def pack_of(lengths):
    from photoglue.matchers.lightglue.adaptive import Pack
    from photoglue.matchers.lightglue.packing import Segments

    total = sum(lengths)
    return Pack(
        x=torch.randn(total, 8),
        encoding=torch.randn(2, total, 1, 4),
        origin=torch.arange(total) + 100,
        image=torch.tensor([j for j, length in enumerate(lengths) for _ in range(length)]),
        segments=Segments(lengths),
        pairs=tuple(range(20, 20 + len(lengths) // 2)),
    )


def opinions():
    """Confidence and matchability of each token: pair 0 is confident, image 3 is sure to have no partners."""
    image = pack_of(LENGTHS).image
    confidence = torch.where(image < 2, 1.0, torch.rand(len(image)))
    matchability = torch.where(image == 3, 0.0, torch.rand(len(image)))
    return torch.where(image == 3, 1.0, confidence), matchability


def decide(pack, confidence, matchability, survived, least=3):
    from photoglue.matchers.lightglue.adaptive import decide as decide_layer

    decision = decide_layer(
        pack,
        confidence,
        matchability,
        threshold=0.5,
        counts=[sum(pack.segments.lengths[2 * i : 2 * i + 2]) for i in range(len(pack.pairs))],
        depth_confidence=0.95,
        width_confidence=0.5,
        pruning_min_keypoints=least,
    )
    return pack.divided(decision, survived)


def by_the_rules(pack, confidence, matchability, least=3):
    """(rows of each part, pairs of each part, by how much ``survived`` grows), token by token."""
    rows, pairs, steps = ([], [], []), ([], [], []), [0] * 200
    for i, pair in enumerate(pack.pairs):
        tokens = [[t for t in range(pack.segments.total) if pack.image[t] == j] for j in (2 * i, 2 * i + 1)]
        done = sum(confidence[t] >= 0.5 for side in tokens for t in side) > 0.95 * sum(map(len, tokens))
        left = [list(side) for side in tokens]
        for side in range(2):
            if not done and len(tokens[side]) > least:
                left[side] = [t for t in tokens[side] if matchability[t] > 0.5 or confidence[t] <= 0.5]
                for t in left[side]:
                    steps[pack.origin[t]] += 1
        part = 1 if done else 0 if all(left) else 2
        rows[part].extend(left[0] + left[1])
        pairs[part].append(pair)
    return rows, pairs, steps


@pytest.fixture(params=["as on a CPU", "as on a GPU"])
def either_way(request, monkeypatch):
    """How rows are found."""
    from photoglue.matchers.lightglue import adaptive

    if request.param == "as on a GPU":
        monkeypatch.setattr(adaptive, "rows_of", adaptive._first_sorted)


def test_divided_by_the_rules(either_way):
    pack, (confidence, matchability), survived = pack_of(LENGTHS), opinions(), torch.ones(200, dtype=torch.int64)
    rows, pairs, steps = by_the_rules(pack, confidence, matchability)
    parts = decide(pack, confidence, matchability, survived)
    for part, wanted, numbers in zip(parts, rows, pairs, strict=True):
        assert list(part.pairs) == numbers
        assert torch.equal(part.origin, pack.origin[wanted])
        assert torch.equal(part.x, pack.x[wanted])
        assert torch.equal(part.encoding, pack.encoding[:, wanted])
        assert part.image.bincount(minlength=2 * len(numbers)).tolist() == list(part.segments.lengths)
        assert (part.image.diff() >= 0).all()
    assert (survived - 1).tolist() == steps
    assert [len(part.pairs) for part in parts] == [3, 1, 1]
    assert 0 < parts[0].segments.total < sum(LENGTHS[4:])


def test_what_is_left_can_be_divided_again(either_way):
    survived = torch.ones(200, dtype=torch.int64)
    pack = decide(pack_of(LENGTHS), *opinions(), survived)[0]
    confidence, matchability = torch.rand(2, pack.segments.total)
    rows, pairs, _ = by_the_rules(pack, confidence, matchability)
    for part, wanted, numbers in zip(decide(pack, confidence, matchability, survived), rows, pairs, strict=True):
        assert list(part.pairs) == numbers
        assert torch.equal(part.origin, pack.origin[wanted])


def test_nothing_is_copied_where_nothing_changes():
    pack, survived = pack_of(LENGTHS), torch.ones(200, dtype=torch.int64)
    sure, unsure, high = torch.ones(pack.segments.total), torch.zeros(pack.segments.total), torch.ones(len(pack.image))
    assert decide(pack, unsure, high, survived, least=99)[0] is pack  # too small to be pruned
    assert decide(pack, sure, high, survived, least=99)[1] is pack  # all are done
    assert survived.sum() == 200
    assert decide(pack, unsure, high, survived)[0] is pack  # pruned, and every point is left
    assert survived.sum() == 200 + sum(length for length in LENGTHS if length > 3)


class Waits(TorchDispatchMode):
    """Counts what moves between host and device if the device is a GPU, and refuses what else would make it wait."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.reads = self.uploads = 0
        tolist = torch.Tensor.tolist
        monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: (self._read(), tolist(tensor))[1])

    def _read(self):
        self.reads += 1

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "nonzero_static"), name
        if name == "index":
            assert not any(x is not None and x.dtype == torch.bool for x in args[1])
        if name == "repeat_interleave":
            assert (kwargs or {}).get("output_size") is not None
        self.uploads += name == "lift_fresh"  # torch.tensor
        return function(*args, **(kwargs or {}))


@pytest.mark.slow
def test_a_layer_makes_one_read_and_one_upload(monkeypatch):
    from photoglue.matchers.lightglue import adaptive

    monkeypatch.setattr(adaptive, "rows_of", adaptive._first_sorted)
    pack, both, survived = pack_of(LENGTHS), opinions(), torch.ones(200, dtype=torch.int64)
    with Waits(monkeypatch) as waits:
        parts = decide(pack, *both, survived)
    assert all(part.pairs for part in parts)
    assert (waits.reads, waits.uploads) == (1, 1)
    nobody = torch.zeros_like(both[0])
    with Waits(monkeypatch) as waits:
        assert decide(pack, nobody, nobody, survived, least=99)[0] is pack
    assert (waits.reads, waits.uploads) == (1, 0)


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [(5, 3), (4, 4, 2, 9), (1, 6, 6, 1, 3, 3)])
def test_the_layout_for_attention_is_one_upload(lengths, monkeypatch):
    from photoglue.matchers.lightglue.engine import varlen
    from photoglue.matchers.lightglue.packing import Segments

    varlen._layout.cache_clear()
    segments = Segments(lengths)
    with Waits(monkeypatch) as waits:
        layout = varlen._layout(segments, torch.device("cpu"))
    assert (waits.reads, waits.uploads) == (0, 1)
    tokens = [list(range(rows.start, rows.stop)) for rows in segments.slices()]
    assert layout.rows.tolist() == [t for j in range(len(lengths)) for t in tokens[j ^ 1]]
    assert layout.offsets.tolist() == list(segments.offsets)
    assert layout.swapped.diff().tolist() == [lengths[j ^ 1] for j in range(len(lengths))]


def test_confidence_thresholds():
    from photoglue.matchers.lightglue.adaptive import confidence_threshold

    official = [0.9000, 0.8641, 0.8411, 0.8264, 0.8169, 0.8108, 0.8069, 0.8045, 0.8029]
    np.testing.assert_allclose([confidence_threshold(i, 9) for i in range(9)], official, atol=5e-5)
