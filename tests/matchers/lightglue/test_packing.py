import torch


def test_segments():
    from photoglue.matchers.lightglue.packing import Segments

    segments = Segments((3, 2, 0, 4))
    assert segments.offsets == (0, 3, 5, 5, 9)
    assert segments.total == 9
    assert not segments.equal
    assert segments.of_pairs([1]) == Segments((0, 4))
    assert segments.spread(torch.tensor([7, 8, 9, 6])).tolist() == [7, 7, 7, 8, 8, 6, 6, 6, 6]


def test_batches():
    from photoglue.matchers.lightglue.packing import batches

    assert batches([], 10) == []
    assert batches([5, 20, 5, 1], 10) == [[3, 0], [2], [1]]
    assert sorted(i for batch in batches(list(range(50)), 100) for i in batch) == list(range(50))
