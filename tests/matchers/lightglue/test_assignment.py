"""From similarities to matches."""

import torch


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


def test_tiles_equal_dense(monkeypatch):
    from photoglue.matchers.lightglue import assignment

    a, b, z0, z1 = torch.randn(300, 32), torch.randn(170, 32), torch.randn(300), torch.randn(170)
    dense = assignment.match_points(a, b, z0, z1, 0.1)
    for elements in (1, 1000, 20_000):
        monkeypatch.setattr(assignment, "TILE_ELEMENTS", elements)
        tiled = assignment.match_points(a, b, z0, z1, 0.1)
        assert torch.equal(dense.matches0, tiled.matches0)
        assert torch.equal(dense.matches1, tiled.matches1)
        torch.testing.assert_close(dense.scores0, tiled.scores0)
        torch.testing.assert_close(dense.scores1, tiled.scores1)


def test_equal_rivals_are_matched_once():
    from photoglue.matchers.lightglue.assignment import match_points

    a = torch.eye(4)[[0, 0, 1]] * 20
    found = match_points(a, torch.eye(4) * 20, torch.full((3,), 9.0), torch.full((4,), 9.0), 0.0)
    assert found.matches0.tolist() == [0, -1, 1]
    assert found.matches1.tolist() == [0, 2, -1, -1]
