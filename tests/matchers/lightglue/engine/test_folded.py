"""The folded layers give what the plain ones give: exactly in fp32, closely in half precision."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional


@pytest.fixture(scope="module")
def real(motorcycle, astronaut):
    from photoglue.extractors.aliked import ALIKED, ALIKEDConfig

    extractor = ALIKED.pretrained(ALIKEDConfig(detection_threshold=0.0, max_keypoints=1024))
    return [extractor.extract(path) for path in (*motorcycle, astronaut)]


def layer_and_input(dtype=torch.float32, lengths=(40, 70, 70, 33)):
    from photoglue.matchers.lightglue.blocks import TransformerLayer
    from photoglue.matchers.lightglue.encoding import FourierEncoding
    from photoglue.matchers.lightglue.packing import Segments

    segments = Segments(lengths)
    encoding = FourierEncoding(2, 32)(torch.rand(segments.total, 2)).detach()
    return TransformerLayer(128, 4).eval(), torch.randn(segments.total, 128), encoding, segments


@pytest.mark.parametrize("lengths", [(40, 70, 70, 33), (64, 64, 64, 64), (1, 5), (700, 300)])
def test_layer_in_fp32(lengths):
    from photoglue.matchers.lightglue.engine.folded import FoldedLayer

    layer, x, encoding, segments = layer_and_input(lengths=lengths)
    with torch.no_grad():
        torch.testing.assert_close(
            FoldedLayer(layer, torch.float32)(x, encoding, segments), layer(x, encoding, segments), atol=2e-5, rtol=1e-5
        )


@pytest.mark.parametrize("large", [False, True])
def test_layer_in_bf16(large):
    """Also where similarities reach several hundred, as in the trained network's cross-attention."""
    from photoglue.matchers.lightglue.engine.folded import FoldedLayer

    layer, x, encoding, segments = layer_and_input()
    with torch.no_grad():
        if large:
            layer.cross_attn.to_qk.weight.mul_(8)
        wanted = layer(x, encoding, segments)
        found = FoldedLayer(layer, torch.bfloat16)(x, encoding, segments)
    assert found.dtype == torch.float32
    assert (found - wanted).norm() < 0.02 * wanted.norm()


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [True, False])
def test_products_have_few_shapes(monkeypatch, blocks):
    """What each new one costs is no small thing, and pruning makes a new size after each layer."""
    from photoglue.matchers.lightglue.blocks import TransformerLayer
    from photoglue.matchers.lightglue.engine import folded, kernels
    from photoglue.matchers.lightglue.packing import Segments

    monkeypatch.setattr(kernels, "attends_in_blocks", lambda *_: blocks)
    monkeypatch.setattr(folded, "rounds_up", lambda _: True)
    shapes = set()

    def linear(x, weight, bias=None):
        shapes.add((*x.shape, *weight.shape))
        return functional.linear(x, weight, bias)

    monkeypatch.setattr(kernels, "linear", linear)
    monkeypatch.setattr(folded, "linear", linear)
    layer = folded.FoldedLayer(TransformerLayer(32, 2), torch.float32)
    sizes = [(m, n) for m in range(1, 190, 9) for n in (5, 77, 150)]
    for m, n in sizes:
        x, encoding = torch.randn(m + n, 32), torch.randn(2, m + n, 1, 8)
        out = layer(x, encoding, Segments((m, n)))
        with monkeypatch.context() as unrounded:
            unrounded.setattr(folded, "rounds_up", lambda _: False)
            unrounded.setattr(folded, "linear", functional.linear)
            torch.testing.assert_close(out, layer(x, encoding, Segments((m, n))))
    # 4 of layers, for 5 sizes of a pack up to 320; 2 of attention, for 3 sizes of either image up to 192.
    assert len(shapes) <= 4 * 6 + 2 * 3 * 3 < len(sizes)


@pytest.mark.weights
class TestModel:
    def models(self, **changes):
        from photoglue.matchers.lightglue import LightGlue, LightGlueConfig

        config = LightGlueConfig(**changes)
        return [LightGlue.pretrained("aliked", config, precision=p) for p in (None, "float32", "bfloat16")]

    @pytest.mark.slow
    def test_fp32_is_the_plain_one(self, real):
        plain, fast, _ = self.models()
        for pair in [(real[0], real[1]), (real[0][:300], real[2][:500])]:
            a, b = plain.match(*pair), fast.match(*pair)
            assert torch.equal(a.matches0, b.matches0)
            assert a.stop == b.stop
            assert torch.equal(a.prune0, b.prune0)
            torch.testing.assert_close(a.matching_scores0, b.matching_scores0, atol=1e-4, rtol=0)
        assert (a.precision, b.precision) == ("float32", "float32")

    @pytest.mark.slow
    def test_bf16_keeps_the_matches(self, real):
        plain, _, fast = self.models(depth_confidence=None, width_confidence=None)
        a, b = plain.match(real[0], real[1]), fast.match(real[0], real[1])
        kept = (a.matches0 == b.matches0) & (a.matches0 >= 0)
        assert kept.sum() >= 0.97 * len(a)
        assert b.precision == "bfloat16"

    @pytest.mark.slow
    def test_bf16_batches_equal_one_by_one(self, real):
        _, _, fast = self.models()
        pairs = [(real[0][:500], real[1][:700]), (real[2][:100], real[0][:60]), (real[1][:500], real[0][:700])]
        for pair, together in zip(pairs, fast.match_many(pairs), strict=True):
            alone = fast.match(*pair)
            assert together.stop == alone.stop
            # Products of other shapes round in another order: bit by bit equal is only float32.
            assert (together.matches0 == alone.matches0).float().mean() > 0.95

    @pytest.mark.slow
    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_no_nan(self, real, precision):
        """Half precision on odd input: points at one place, no texture in the descriptors, huge descriptors."""
        from dataclasses import replace

        from photoglue.matchers.lightglue import LightGlue

        net = LightGlue.pretrained("aliked", precision=precision)
        a, b = real[0][:50], real[1][:60]
        odd = [
            replace(a, keypoints=torch.zeros_like(a.keypoints)),
            replace(a, descriptors=torch.zeros_like(a.descriptors)),
            replace(a, descriptors=a.descriptors * 30),
        ]
        layers, _ = net._layers()
        finite = []
        for layer in layers:
            layer.register_forward_hook(lambda _, __, out: finite.append(bool(out.isfinite().all())))
        for features in odd:
            assert net.match(features, b).matching_scores0.isfinite().all()
        assert len(finite) >= len(odd)
        assert all(finite)

    @pytest.mark.slow
    def test_new_weights_are_noticed(self, real):
        from photoglue.matchers.lightglue import LightGlue

        net = LightGlue.pretrained("aliked", precision="float32")
        before = net.match(real[0][:100], real[1][:100])
        state = {name: torch.zeros_like(tensor) for name, tensor in net.state_dict().items()}
        net.load_state_dict(state)
        assert not torch.equal(net.match(real[0][:100], real[1][:100]).matching_scores0, before.matching_scores0)

    @pytest.mark.slow
    @pytest.mark.parametrize("how", ["in place", "through its parent", "replaced"])
    def test_other_changes_are_noticed(self, real, how):
        """Half of the tensors of the folded layers are the weights themselves: all have to follow, or none."""
        from photoglue.matchers.lightglue import LightGlue

        net = LightGlue.pretrained("aliked", precision="float32")
        pair = real[0][:100], real[1][:100]
        net.match(*pair)
        if how == "in place":
            for weight in net.transformers.parameters():
                weight.mul_(0.9)
        elif how == "replaced":
            smaller = {name: tensor * 0.9 for name, tensor in net.transformers.state_dict().items()}
            net.transformers.load_state_dict(smaller, assign=True)
        else:
            parent = torch.nn.ModuleDict({"net": net})
            names = parent.state_dict()
            parent.load_state_dict({n: t * 0.9 if ".transformers." in n else t for n, t in names.items()})
        found = net.match(*pair)
        plain = net.prepare(None).match(*pair)
        torch.testing.assert_close(found.matching_scores0, plain.matching_scores0, atol=1e-4, rtol=0)

    @pytest.mark.slow
    def test_copies_carry_no_folded_layers(self, real):
        """Not only for their size: tensors made in inference mode cannot be changed outside of it."""
        _, fast, _ = self.models()
        before = len(pickle.dumps(fast))
        with torch.inference_mode():
            wanted = fast.match(real[0][:100], real[1][:100])
        assert abs(len(pickle.dumps(fast)) - before) < 10_000
        for again in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
            assert torch.equal(again.match(real[0][:100], real[1][:100]).matches0, wanted.matches0)

    @pytest.mark.slow
    def test_two_threads(self, real):
        from concurrent.futures import ThreadPoolExecutor

        _, fast, _ = self.models()
        wanted = fast.match(real[0][:100], real[1][:100])
        fast = copy.deepcopy(fast)
        with ThreadPoolExecutor(2) as pool:
            for found in pool.map(lambda _: fast.match(real[0][:100], real[1][:100]), range(6)):
                assert torch.equal(found.matching_scores0, wanted.matching_scores0)

    @pytest.mark.slow
    def test_the_folded_layers_are_not_part_of_the_state(self, real):
        _, fast, _ = self.models()
        names = set(fast.state_dict())
        fast.match(real[0][:9], real[1][:9])
        assert set(fast.state_dict()) == names
        assert not any("own_weight" in name for name, _ in fast.named_buffers())

    def test_unknown_precision(self, as_a_user):
        from photoglue.errors import ConfigError
        from photoglue.matchers.lightglue import LightGlue

        with pytest.raises(ConfigError, match="precision is 'half'"):
            LightGlue.pretrained("aliked", precision="half")
