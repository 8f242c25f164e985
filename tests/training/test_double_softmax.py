"""The pass itself: numerical gradients, groups of pairs, extreme similarities. Whole losses: test_losses.py."""

import pytest
import torch


def pack(lengths, seed=0, layers=2, width=6, scale=1.0):
    """(descriptors of each layer, segments, partner, weight): about half of the points match."""
    from photoglue.matchers.lightglue.packing import Segments

    chance = torch.Generator().manual_seed(seed)
    partner, weight = [], []
    for m, n in zip(lengths[::2], lengths[1::2], strict=True):
        count = min(m, n) // 2
        rows, columns = (torch.randperm(k, generator=chance)[:count] for k in (m, n))
        strength = torch.rand(count, generator=chance, dtype=torch.float64)
        sides = torch.full((m,), -1), torch.full((n,), -2)
        weights = torch.zeros(m, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        sides[0][rows], sides[1][columns] = columns, rows
        weights[0][rows], weights[1][columns] = strength, strength
        partner += sides
        weight += weights
    tokens = sum(lengths)
    descriptors = [
        (scale * torch.randn(tokens, width, generator=chance, dtype=torch.float64)).requires_grad_()
        for _ in range(layers)
    ]
    return descriptors, Segments(tuple(lengths)), torch.cat(partner), torch.cat(weight)


def plain(descriptors, segments, partner, weight):
    """The same by autograd through log_softmax."""
    rows = segments.slices()
    values = []
    for x in descriptors:
        value = x.new_zeros(())
        for image in range(0, len(rows), 2):
            similarity = x[rows[image]] @ x[rows[image + 1]].T
            log = similarity.log_softmax(0) + similarity.log_softmax(1)
            for i, (j, w) in enumerate(zip(partner[rows[image]].tolist(), weight[rows[image]].tolist(), strict=True)):
                if j >= 0:
                    value = value + w * log[i, j]
        values.append(value)
    return torch.stack(values)


@pytest.fixture
def all_at_once(monkeypatch):
    """Pairs of one size as one group, as on GPUs."""
    from photoglue.training import double_softmax

    groups = double_softmax._groups
    monkeypatch.setattr(double_softmax, "_groups", lambda segments, _: groups(segments, torch.device("meta")))
    return double_softmax


@pytest.mark.slow
def test_numerical_gradient():
    from photoglue.training.double_softmax import log_likelihood

    descriptors, segments, partner, weight = pack([5, 4, 3, 6])
    assert torch.autograd.gradcheck(lambda *x: log_likelihood(x, segments, partner, weight)[0], descriptors)


def test_all_pairs_at_once_is_the_same(all_at_once):
    given = pack([7, 5] * 3)
    matchability = torch.randn(2, 36, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert len(list(all_at_once._groups(given[1], torch.device("cpu")))) == 1
    values, agreement = all_at_once.log_likelihood(*given, matchability)
    expected = plain(*given)
    torch.testing.assert_close(values, expected)
    gradients = [torch.autograd.grad(each.sum(), given[0]) for each in (values, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    rows = given[1].slices()
    for pair in range(3):  # each pair alone, which is a group of its own
        from photoglue.matchers.lightglue.packing import Segments

        tokens = slice(rows[2 * pair].start, rows[2 * pair + 1].stop)
        _, alone = all_at_once.log_likelihood(
            [x[tokens] for x in given[0]], Segments((7, 5)), given[2][tokens], given[3][tokens], matchability[:, tokens]
        )
        assert torch.equal(alone, agreement[:, tokens])


def test_pairs_of_other_sizes_are_other_groups(all_at_once):
    given = pack([7, 5, 5, 7, 5, 7])
    assert len(list(all_at_once._groups(given[1], torch.device("cpu")))) == 2
    torch.testing.assert_close(all_at_once.log_likelihood(*given)[0], plain(*given))


@pytest.mark.parametrize("scale", [0.0, 1e-3, 30.0, 1000.0])
def test_any_similarity(scale):
    """Equal everywhere, or so far apart that plain exponentials overflow and powers vanish."""
    from photoglue.training.double_softmax import log_likelihood

    given = pack([20, 15], scale=scale)
    values, expected = log_likelihood(*given)[0], plain(*given)
    assert values.isfinite().all()
    torch.testing.assert_close(values, expected)
    gradients = [torch.autograd.grad(each.sum(), given[0]) for each in (values, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9 * max(1.0, scale), rtol=1e-7)


def test_agreement_with_plain_argmax():
    """Point by point, both images, dustbins chosen by some."""
    from photoglue.training.double_softmax import log_likelihood

    descriptors, segments, partner, weight = pack([30, 25], layers=3)
    chance = torch.Generator().manual_seed(3)
    # The same points in both images, more or less; in each layer a little differently.
    directions = torch.nn.functional.normalize(torch.randn(30, 6, generator=chance, dtype=torch.float64), dim=1)
    noise = torch.randn(3, 55, 6, generator=chance, dtype=torch.float64)
    descriptors = [5 * torch.cat([directions, directions[:25]]) + 0.5 * each for each in noise]
    matchability = 2 + 2 * torch.randn(3, 55, generator=chance, dtype=torch.float64)
    _, agreement = log_likelihood(descriptors, segments, partner, weight, matchability)
    choices = []
    for x, z in zip(descriptors, matchability, strict=True):
        log, alone = torch.nn.functional.logsigmoid(z), torch.nn.functional.logsigmoid(-z)
        similarity = x[:30] @ x[30:].T
        similarity = similarity.log_softmax(0) + similarity.log_softmax(1) + log[:30, None] + log[30:]
        first = torch.cat([similarity, alone[:30, None]], dim=1).argmax(1)
        second = torch.cat([similarity, alone[None, 30:]]).argmax(0)
        assert 5 < (first == 25).sum() < 25  # the dustbin wins for some points, not for all
        choices.append(torch.cat([first, second]))
    assert torch.equal(agreement, torch.stack([choices[0] == choices[2], choices[1] == choices[2]]))
    assert 0 < agreement.float().mean() < 1


def test_on_gpus_neighbours_of_one_size_go_together():
    from photoglue.matchers.lightglue.packing import Segments
    from photoglue.training.double_softmax import _groups

    segments = Segments((2, 3, 4, 4, 4, 4, 4, 4, 2, 3))
    assert [(group.rows, group.m, group.n) for group in _groups(segments, torch.device("cuda"))] == [
        (slice(0, 5), 2, 3),
        (slice(5, 29), 4, 4),
        (slice(29, 34), 2, 3),
    ]
    assert len(list(_groups(segments, torch.device("cpu")))) == 5
