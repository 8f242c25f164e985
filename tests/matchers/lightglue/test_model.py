"""The tests that would have caught the field's bugs (house rule 10), on real features and real weights."""

import functools
from dataclasses import replace

import pytest
import torch


@functools.cache
def model(preset="default", features="aliked", precision=None, **changes):
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig

    config = {"default": LightGlueConfig, "accurate": LightGlueConfig.accurate, "realtime": LightGlueConfig.realtime}
    return LightGlue.pretrained(features, config[preset](**changes), precision=precision)


@pytest.fixture(scope="session")
def real(motorcycle, astronaut):
    """Features of three real photos: two of one place, one of another."""
    from photoglue.extractors.aliked import ALIKED, ALIKEDConfig

    extractor = ALIKED.pretrained(ALIKEDConfig(detection_threshold=0.0, max_keypoints=2048))
    return [extractor.extract(path) for path in (*motorcycle, astronaut)]


def random_features(n, dim=128, seed=0, **changes):
    from photoglue.structs import Features

    generator = torch.Generator().manual_seed(seed)
    return Features(
        keypoints=torch.rand(n, 2, generator=generator) * torch.tensor([600.0, 200.0]),
        descriptors=torch.nn.functional.normalize(torch.randn(n, dim, generator=generator), dim=1),
        scores=torch.rand(n, generator=generator),
        image_size=(600, 200),
        **changes,
    )


def check_equal(a, b, atol=1e-5):
    assert a.stop == b.stop
    for name in ("matches0", "matches1", "prune0", "prune1"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    for name in ("matching_scores0", "matching_scores1"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=atol, rtol=0)


@pytest.mark.weights
class TestBatches:
    @pytest.mark.slow
    @pytest.mark.parametrize("precision", [None, "float32"])
    def test_twelve_mixed_pairs_equal_one_by_one(self, real, precision):
        net = model(precision=precision)
        a, b, other = real
        pairs = [
            (a[:1100], b[:1100]), (a[:0], b[:100]), (a[:512], b[:512]), (a[:1], b[:1]), (a[:1000], other[:300]),
            (other[:50], b[:0]), (a[:17], b[:2]), (b[:512], a[:512]), (a[:0], b[:0]), (a[:700], a[:700]),
            (a[100:400], b[50:900]), (other[:2], other[:512]),
        ]  # fmt: skip
        together = net.match_many(pairs)
        assert len(together) == 12
        for pair, matches in zip(pairs, together, strict=True):
            check_equal(matches, net.match(*pair))
        assert len({matches.stop for matches in together}) >= 3  # they did exit at different layers
        assert min(int(m.prune0.min()) for m in together if len(m.prune0)) < max(m.stop for m in together)

    @pytest.mark.slow
    @pytest.mark.parametrize("preset", ["accurate", "realtime"])
    def test_equal_lengths_equal_one_by_one(self, real, preset):
        pairs = [(real[0][:256], real[1][:256]), (real[1][:256], real[2][:256]), (real[2][:256], real[0][:256])]
        for pair, matches in zip(pairs, model(preset).match_many(pairs), strict=True):
            check_equal(matches, model(preset).match(*pair))

    def test_no_pairs(self):
        assert model().match_many([]) == []


@pytest.mark.weights
class TestInvariances:
    @pytest.mark.slow
    def test_swapping_images_transposes_the_result(self, real):
        forward, backward = model().match(real[0][:512], real[1][:700]), model().match(real[1][:700], real[0][:512])
        assert torch.equal(forward.matches0, backward.matches1)
        assert torch.equal(forward.prune1, backward.prune0)
        assert forward.stop == backward.stop
        torch.testing.assert_close(forward.matching_scores0, backward.matching_scores1, atol=5e-5, rtol=0)

    @pytest.mark.slow
    def test_shuffling_keypoints_shuffles_the_matches(self, real):
        a, b = real[0][:512], real[1][:512]
        order = torch.randperm(512)
        straight, shuffled = model().match(a, b), model().match(a[order], b)
        assert torch.equal(shuffled.matches0, straight.matches0[order])
        torch.testing.assert_close(shuffled.matching_scores0, straight.matching_scores0[order], atol=1e-4, rtol=0)

    def test_moving_the_origin_changes_nothing(self, real):
        """Attention sees differences of positions only; half a pixel of convention does not matter here."""
        a, b = real[0][:400], real[1][:400]
        moved = replace(a, keypoints=a.keypoints + 0.5)
        assert torch.equal(model().match(a, b).matches0, model().match(moved, b).matches0)

    @pytest.mark.slow
    def test_unit_of_position_is_the_long_side(self, real):
        """A photo twice as large, with points at twice the place, is the same to the network; portrait too."""
        a, b = real[0][:400], real[1][:400]
        larger = replace(a, keypoints=a.keypoints * 2, image_size=(2 * a.image_size[0], 2 * a.image_size[1]))
        check_equal(model().match(a, b), model().match(larger, b))
        straight = model().match(a, b)
        with pytest.warns(UserWarning, match="swapped"):
            swapped = model().match(replace(a, image_size=a.image_size[::-1]), b)
        torch.testing.assert_close(straight.matching_scores0, swapped.matching_scores0, atol=1e-4, rtol=0)

    @pytest.mark.slow
    def test_exit_and_pruning_off_is_full_depth(self, real):
        a, b = real[0][:300], real[1][:300]
        never = model("default", depth_confidence=1.0, width_confidence=None).match(a, b)
        full = model("accurate").match(a, b)
        assert never.stop == full.stop == 9
        check_equal(never, full)
        assert (full.prune0 == 9).all()

    @pytest.mark.slow
    def test_realtime_does_less(self, real):
        fast, full = model("realtime").match(*real[:2]), model("accurate").match(*real[:2])
        assert fast.stop < full.stop
        in_both = (fast.matches0 == full.matches0) & (full.matches0 >= 0)
        assert int(in_both.sum()) > 0.9 * len(full)

    @pytest.mark.slow
    def test_pruning_threshold(self, real):
        pair = real[0][:200], real[2][:200]
        assert (model(pruning_min_keypoints=200).match(*pair).prune0 == 1).all()
        assert (model(pruning_min_keypoints=199).match(*pair).prune0 > 1).any()


class TestSmallSets:
    @pytest.mark.parametrize(("m", "n"), [(0, 0), (0, 5), (5, 0), (1, 1), (1, 40)])
    @pytest.mark.parametrize("preset", ["default", "accurate"])
    def test_shapes(self, m, n, preset):
        from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, LightGlueShape

        config = LightGlueConfig() if preset == "default" else LightGlueConfig.accurate()
        matches = (
            LightGlue(config, shape=LightGlueShape(input_dim=128))
            .eval()
            .match(random_features(m), random_features(n, seed=1))
        )
        assert matches.matches0.shape == (m,)
        assert matches.matching_scores1.shape == (n,)
        assert matches.indices.shape == (len(matches), 2)
        assert matches.points1.shape == (len(matches), 2)
        if m == 0 or n == 0:
            assert matches.stop == 1
            assert (matches.matches1 == -1).all()

    def test_all_points_pruned(self):
        """As in the official code, which notices when the next layer begins."""
        from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, LightGlueShape

        net = LightGlue(LightGlueConfig(depth_confidence=None), shape=LightGlueShape(input_dim=128, n_layers=4)).eval()
        with torch.no_grad():
            net.log_assignment[1].matchability.bias.fill_(-1e4)
        lost, kept = net.match_many([(random_features(9), random_features(8, seed=1))] * 2)
        assert lost.stop == 3
        assert (lost.prune0 == 2).all()
        assert (kept.matches0 == -1).all()


class TestOtherShapes:
    def test_width_other_than_256(self):
        from photoglue.matchers.lightglue import LightGlue, LightGlueShape

        net = LightGlue(shape=LightGlueShape.edge(input_dim=64)).eval()
        assert net.match(random_features(30, 64), random_features(40, 64)).n_layers == 5
        same_width = LightGlue(shape=LightGlueShape(input_dim=96, descriptor_dim=96, num_heads=1)).eval()
        assert not list(same_width.input_proj.parameters())
        assert same_width.match(random_features(30, 96), random_features(40, 96)).matches0.shape == (30,)

    def test_one_layer(self):
        from photoglue.matchers.lightglue import LightGlue, LightGlueConfig

        assert LightGlue(LightGlueConfig(n_layers=1)).eval().match(*[random_features(9, 256)] * 2).stop == 1


def random_pair(**changes):
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, LightGlueShape

    scales = changes.pop("add_scale_ori", False)
    shape = LightGlueShape(input_dim=8, descriptor_dim=32, n_layers=3, num_heads=2, add_scale_ori=scales)
    pair = [random_features(n, dim=8, seed=n, scales=torch.rand(n), orientations=torch.rand(n)) for n in (30, 40)]
    return LightGlue(LightGlueConfig(**changes, filter_threshold=0.0), shape=shape).eval(), pair


class TestSurroundings:
    """What a caller's program has set for itself must not change matches."""

    def test_autocast(self):
        for precision in (None, "float32"):
            net, pair = random_pair()
            wanted = net.prepare(precision).match(*pair)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                check_equal(net.match(*pair), wanted, atol=0)

    @pytest.mark.slow
    def test_default_type_and_device(self):
        net, pair = random_pair(depth_confidence=0.1, width_confidence=0.5)
        wanted = net.match(*pair)
        try:
            torch.set_default_dtype(torch.float64)
            torch.set_default_device("meta")
            check_equal(net.match(*pair), wanted, atol=0)
        finally:
            torch.set_default_dtype(torch.float32)
            torch.set_default_device(None)

    @pytest.mark.weights
    def test_default_type_while_loading(self):
        from photoglue.matchers.lightglue import LightGlue

        torch.set_default_dtype(torch.float64)
        try:
            net = LightGlue.pretrained("sift-opencv")
        finally:
            torch.set_default_dtype(torch.float32)
        assert {weight.dtype for weight in net.parameters()} == {torch.float32}


class TestTypes:
    @pytest.mark.weights
    def test_half_precision_descriptors_are_taken(self, real):
        a, b = real[0][:200], real[1][:200]
        half = replace(a, descriptors=a.descriptors.half())
        agree = model().match(a, b).matches0 == model().match(half, b).matches0
        assert agree.float().mean() > 0.99

    def test_scales_of_any_type(self):
        net, pair = random_pair(add_scale_ori=True)
        wanted = net.match(*pair)
        doubles = [
            replace(features, scales=features.scales.double(), orientations=features.orientations.double())
            for features in pair
        ]
        check_equal(net.match(*doubles), wanted)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
    def test_converted_weights(self, dtype):
        from photoglue.errors import ConfigError

        net, pair = random_pair()
        with pytest.raises(ConfigError, match=rf"The weights are {dtype}; they must be torch\.float32"):
            net.to(dtype).match(*pair)
