import torch


def test_segments():
    from photoglue.matchers.lightglue.packing import Segments

    segments = Segments((3, 2, 0, 4))
    assert segments.offsets == (0, 3, 5, 5, 9)
    assert segments.total == 9
    assert not segments.equal
    assert segments.of_pairs([1]) == Segments((0, 4))
    assert segments.spread(torch.tensor([7, 8, 9, 6])).tolist() == [7, 7, 7, 8, 8, 6, 6, 6, 6]


def test_attend_against_the_formula():
    from photoglue.matchers.lightglue.attention import attend
    from photoglue.matchers.lightglue.packing import Segments

    for lengths in ((4, 4, 4, 4), (3, 5, 1, 2)):
        segments = Segments(lengths)
        q, k, v = torch.randn(3, segments.total, 2, 8, dtype=torch.float64)
        for cross in (False, True):
            out = attend(q, k, v, segments, cross=cross)
            for i, rows in enumerate(segments.slices()):
                others = segments.slices()[i ^ 1 if cross else i]
                for head in range(2):
                    weights = (q[rows, head] @ k[others, head].T / 8**0.5).softmax(dim=1)
                    torch.testing.assert_close(out[rows, head], weights @ v[others, head])


def test_match_points_against_the_formula():
    """Eq. 6 to 8 written out, with loops."""
    from photoglue.matchers.lightglue.assignment import match_points

    a, b = torch.randn(7, 4, dtype=torch.float64), torch.randn(9, 4, dtype=torch.float64)
    z0, z1 = torch.randn(7, dtype=torch.float64), torch.randn(9, dtype=torch.float64)
    similarity = a @ b.T
    probability = similarity.softmax(1) * similarity.softmax(0) * z0.sigmoid()[:, None] * z1.sigmoid()
    found = match_points(a, b, z0, z1, threshold=0.1)
    for i in range(7):
        j = int(probability[i].argmax())
        mutual = int(probability[:, j].argmax()) == i
        assert found.matches0[i] == (j if mutual and probability[i, j] > 0.1 else -1)
        torch.testing.assert_close(found.scores0[i], probability[i, j] if mutual else torch.tensor(0.0).double())
    for i, j in enumerate(found.matches0.tolist()):
        if j >= 0:
            assert found.matches1[j] == i
            assert found.scores1[j] == found.scores0[i]
