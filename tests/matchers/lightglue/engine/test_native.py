"""The native library gives what the layers in torch give: the same decisions and matches, nearly the same scores."""

import pytest
import torch

from photoglue.errors import ConfigError


@pytest.fixture(autouse=True)
def _there():
    from photoglue.native import library

    if not library.int16_supported():
        pytest.skip(library.absence() or "no kernels for this processor")


def random_net(**config):
    """A small network whose scores, confidences and matchabilities spread, so that all decisions are taken."""
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, LightGlueShape

    torch.manual_seed(3)
    shape = LightGlueShape(input_dim=24, descriptor_dim=64, n_layers=4, num_heads=2)
    net = LightGlue(LightGlueConfig(filter_threshold=0.0, **config), shape=shape).eval().requires_grad_(False)
    for head in net.log_assignment:
        head.final_proj.weight.mul_(6)
        head.matchability.weight.mul_(8)
    for head in net.token_confidence:
        head.token[0].weight.mul_(4)
        head.token[0].bias.fill_(2.0)
    return net


def features(count, seed=0):
    from photoglue.structs import Features

    chance = torch.Generator().manual_seed(seed)
    return Features(
        keypoints=torch.rand(count, 2, generator=chance) * 500,
        descriptors=torch.randn(count, 24, generator=chance),
        scores=torch.ones(count),
        image_size=(500, 500),
    )


def equal(a, b):
    names = ("matches0", "matches1", "matching_scores0", "matching_scores1", "prune0", "prune1")
    return a.stop == b.stop and all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


def in_float32(net, pairs):
    """What the library says in float32: its decisions are those of Python, not only most of them."""
    from photoglue.matchers.lightglue.engine.native import NativeNetwork, matches_of
    from photoglue.matchers.lightglue.packing import Segments

    images = [image for pair in pairs for image in pair]
    pack = net._packed(images, Segments(tuple(map(len, images))))
    native = NativeNetwork(net, net.shape.num_heads, torch.float32)
    return matches_of(
        pairs,
        pack,
        native.match(pack, [image.keypoints for image in images], net.config),
        net.shape.n_layers,
        net.config,
    )


PAIRS = [(70, 300), (300, 70), (1, 1), (1, 40), (230, 229), (57, 112)]


def pairs():
    return [(features(m, i), features(n, 99 + i)) for i, (m, n) in enumerate(PAIRS)]


@pytest.mark.parametrize(
    ("depth", "width"), [(None, None), (0.95, None), (None, 0.9), (0.9, 0.7), (0.6, 0.2), (0.99, 0.05)]
)
def test_decisions(depth, width):
    """Exit layers, pruned points, matches: pairs that exit at different layers, that lose all points, that stay."""
    net = random_net(depth_confidence=depth, width_confidence=width)
    wanted = net.prepare("float32").match_many(pairs())
    for a, b in zip(wanted, in_float32(net, pairs()), strict=True):
        assert a.stop == b.stop
        for name in ("prune0", "prune1", "matches0", "matches1"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        torch.testing.assert_close(a.matching_scores0, b.matching_scores0, atol=2e-5, rtol=1e-3)
        torch.testing.assert_close(a.matching_scores1, b.matching_scores1, atol=2e-5, rtol=1e-3)


def test_the_cases_of_decisions_occur():
    """Or `test_decisions` would say nothing."""
    found = [
        each
        for depth, width in [(0.9, 0.7), (0.6, 0.2), (0.99, 0.05)]
        for each in random_net(depth_confidence=depth, width_confidence=width).prepare("float32").match_many(pairs())
    ]
    assert len({each.stop for each in found}) > 2
    assert any(0 < int((each.prune0 == 1).sum()) < len(each.prune0) for each in found)


@pytest.mark.parametrize("least", [0, 100, 250])
def test_pruning_from_a_number_of_points_on(least):
    net = random_net(depth_confidence=None, width_confidence=0.7, pruning_min_keypoints=least)
    for a, b in zip(net.prepare("float32").match_many(pairs()), in_float32(net, pairs()), strict=True):
        assert torch.equal(a.prune0, b.prune0)
        assert torch.equal(a.prune1, b.prune1)


def test_int16_is_close():
    net = random_net(depth_confidence=None, width_confidence=None)
    for a, b in zip(net.prepare("float32").match_many(pairs()), net.prepare("int16").match_many(pairs()), strict=True):
        assert b.precision == "int16"
        assert (a.matches0 == b.matches0).float().mean() > 0.9
        torch.testing.assert_close(a.matching_scores0, b.matching_scores0, atol=0.03, rtol=0)


def test_neighbours_first():
    from photoglue.matchers.lightglue.engine.native import neighbours_first

    points = torch.tensor([[900.0, 900.0], [0.0, 0.0], [900.0, 0.0], [1.0, 1.0], [0.0, 900.0], [0.0, 0.0]])
    order = neighbours_first([points[:1], points])
    assert order.tolist() == [0, 2, 6, 4, 3, 5, 1]


def test_shuffled():
    """The order in which points come changes nothing at all."""
    net = random_net(depth_confidence=0.9, width_confidence=0.7).prepare("int16")
    a, b = pairs()[0]
    rows = torch.randperm(len(a))
    found, shuffled = net.match(a, b), net.match(a[rows], b)
    assert torch.equal(found.matching_scores0[rows], shuffled.matching_scores0)
    assert torch.equal(found.prune0[rows], shuffled.prune0)
    assert torch.equal(found.matching_scores1, shuffled.matching_scores1)


@pytest.mark.slow
def test_in_any_company():
    """Bit by bit: alone, in a batch, with two threads, in a second call that finds the memory of the first."""
    net = random_net(depth_confidence=0.9, width_confidence=0.7).prepare("int16")
    alone = [net.match(*pair) for pair in pairs()]
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            for order in (1, -1):
                together = net.match_many(pairs()[::order])[::order]
                assert all(map(equal, alone, together))
    finally:
        torch.set_num_threads(threads)


def test_swapped():
    net = random_net(depth_confidence=0.9, width_confidence=0.7).prepare("int16")
    for a, b in pairs()[:2]:
        there, back = net.match(a, b), net.match(b, a)
        assert there.stop == back.stop
        assert torch.equal(there.matches0, back.matches1)
        assert torch.equal(there.prune1, back.prune0)
        torch.testing.assert_close(there.matching_scores0, back.matching_scores1, atol=1e-5, rtol=1e-4)


def test_no_points():
    net = random_net().prepare("int16")
    found = net.match_many([(features(0), features(5)), (features(7), features(9)), (features(3), features(0))])
    assert [len(each.matches0) for each in found] == [0, 7, 3]
    assert equal(found[1], net.match(features(7), features(9)))


def test_new_weights_are_noticed():
    net = random_net().prepare("int16")
    before = net.match(*pairs()[0])
    for head in net.log_assignment:
        head.final_proj.weight.mul_(0.5)
    assert not torch.equal(net.match(*pairs()[0]).matching_scores0, before.matching_scores0)


@pytest.mark.slow
def test_many_points():
    """More similarities than are kept: some are computed twice."""
    net = random_net(depth_confidence=None, width_confidence=None, n_layers=1)
    many = [(features(2600), features(2200, 1)), (features(50, 2), features(60, 3))]
    for a, b in zip(net.prepare("float32").match_many(many), in_float32(net, many), strict=True):
        assert (a.matches0 == b.matches0).float().mean() > 0.999


def test_threads_at_once():
    from concurrent.futures import ThreadPoolExecutor

    net = random_net().prepare("int16")
    wanted = net.match(*pairs()[0])
    with ThreadPoolExecutor(3) as pool:
        assert all(equal(found, wanted) for found in pool.map(lambda _: net.match(*pairs()[0]), range(6)))


def test_sizes_without_kernels():
    from photoglue.matchers.lightglue import LightGlue, LightGlueShape

    net = LightGlue(shape=LightGlueShape(input_dim=24, descriptor_dim=48, n_layers=2, num_heads=2)).eval()
    with pytest.raises(ConfigError, match=r"heads of 32 or 64 channels; this one has 48 and 24. Use .*float32"):
        net.prepare("int16").match(*pairs()[0])


@pytest.mark.weights
@pytest.mark.slow
def test_real_features(motorcycle):
    from photoglue import ALIKED, ALIKEDConfig
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig

    extractor = ALIKED.pretrained(ALIKEDConfig(max_keypoints=1024, precision="float32"))
    pair = [extractor.extract(path) for path in motorcycle]
    for config in (LightGlueConfig.accurate(), LightGlueConfig()):
        net = LightGlue.pretrained("aliked", config, precision="float32")
        exact, found = net.match(*pair), net.prepare("int16").match(*pair)
        kept = (exact.matches0 == found.matches0) & (exact.matches0 >= 0)
        assert kept.sum() >= 0.998 * len(exact)
        assert (exact.matching_scores0 - found.matching_scores0)[kept].abs().mean() < 0.003
        assert exact.stop == found.stop
        [native] = in_float32(net, [tuple(pair)])
        assert torch.equal(native.matches0, exact.matches0)
        assert torch.equal(native.prune0, exact.prune0)
