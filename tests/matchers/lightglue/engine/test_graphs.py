"""One pair in a recorded graph gives what the layers give one by one, whatever pairs came before it.

No graph can be recorded without a GPU. A stand-in does the work again on the same tensors, with a kernel that computes
what torch documents and leaves NaN where no image is; the last test is for the real thing.
"""

import contextlib
import copy
import pickle
import threading
import warnings

import pytest
import torch
from torch.nn import functional

from photoglue.errors import PhotoGlueWarning

POINTS = [(300, 212), (40, 60), (1, 1), (1, 300), (256, 256), (2, 510), (300, 213), (512, 512), (0, 5), (12, 7)]
"""Pairs in this order: several share a graph, with larger and smaller ones before them, and some fill it."""


def kernel(query, key, value, cu_seq_q, cu_seq_k, *longest, scale, num_splits):
    max_q, max_k = longest
    out = torch.full_like(query, torch.nan)
    for (q0, q1), (k0, k1) in zip(cu_seq_q.unfold(0, 2, 1).tolist(), cu_seq_k.unfold(0, 2, 1).tolist(), strict=True):
        assert q1 - q0 <= max_q
        assert k1 - k0 <= max_k
        # A batch of one, or torch would not take its flash kernel, and round otherwise.
        q, k, v = (x.transpose(0, 1)[None] for x in (query[q0:q1], key[k0:k1], value[k0:k1]))
        out[q0:q1] = functional.scaled_dot_product_attention(q, k, v, scale=scale)[0].transpose(0, 1)
    return out


class StandIn:
    """Like CudaRecorder on a CPU. As there, recording itself leaves no result."""

    made: list["StandIn"]

    def __init__(self, device):
        self.made.append(self)
        self.records = self.replays = self.finished = 0

    def record(self, work):
        self.records += 1
        result = torch.full_like(work(), torch.nan)

        def replay():
            self.replays += 1
            result.copy_(work())

        return replay, result

    def turn(self):
        return contextlib.nullcontext()

    def finish(self):
        self.finished += 1


@pytest.fixture
def recorders(monkeypatch):
    """The stand-ins made so far."""
    from photoglue.matchers.lightglue.engine import graphs, varlen

    StandIn.made = []
    monkeypatch.setattr(varlen, "kernel", lambda: kernel)
    monkeypatch.setattr(graphs, "packs_attention", lambda values: True)
    monkeypatch.setattr(graphs, "CudaRecorder", type("StandIn", (StandIn, graphs.CudaRecorder), {}))
    return StandIn.made


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Attention by torch, queries and keys in half precision too."""
    from photoglue.matchers.lightglue.engine import kernels

    monkeypatch.setattr(kernels, "attends_in_blocks", lambda *_: False)


@pytest.fixture(scope="module")
def real(motorcycle):
    from photoglue.extractors.aliked import ALIKED, ALIKEDConfig

    extractor = ALIKED.pretrained(ALIKEDConfig(detection_threshold=0.0, max_keypoints=1024))
    return [extractor.extract(path) for path in motorcycle]


@pytest.fixture(scope="module")
def trained():
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig

    return LightGlue.pretrained("aliked", LightGlueConfig.accurate(n_layers=5), precision="float32")


def small_model(**changes):
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, LightGlueShape

    torch.manual_seed(0)
    shape = LightGlueShape(input_dim=16, descriptor_dim=16, n_layers=2, num_heads=2)
    return LightGlue(LightGlueConfig.accurate(**changes), shape=shape).eval().prepare("float32")


def points(count, seed=0):
    from photoglue.structs import Features

    chance = torch.Generator().manual_seed(seed)
    return Features(
        keypoints=torch.rand(count, 2, generator=chance) * 100,
        descriptors=torch.randn(count, 16, generator=chance),
        scores=torch.ones(count),
        image_size=(101, 101),
    )


def check_equal(found, wanted):
    for name in ("matches0", "matches1", "prune0", "prune1"):
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name
    for name in ("matching_scores0", "matching_scores1"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), atol=1e-5, rtol=0)
    assert (found.stop, found.precision) == (wanted.stop, wanted.precision)


@pytest.mark.parametrize(
    ("tokens", "size"), [(2, 512), (512, 512), (513, 1024), (4096, 4096), (4097, 6144), (8192, 8192), (8193, None)]
)
def test_sizes(tokens, size):
    from photoglue.matchers.lightglue.engine.graphs import SIZES, size_for

    assert size_for(tokens) == size
    assert len(SIZES) <= 8
    assert list(SIZES) == sorted(SIZES)


@pytest.mark.parametrize("lengths", [(5, 3), (3, 5), (1, 1), (4, 4), (1, 7)])
def test_layout_is_that_of_the_segments(recorders, lengths):
    from photoglue.matchers.lightglue.engine import graphs, varlen
    from photoglue.matchers.lightglue.engine.graphs import RecordedPair
    from photoglue.matchers.lightglue.packing import Segments

    pair = RecordedPair(graphs.CudaRecorder(None), torch.nn.ModuleList(), 8, pack_of(5, 3))
    pair.states(pack_of(*lengths))
    layout, wanted = pair.layout(), varlen._layout(Segments(lengths), torch.device("cpu"))
    assert torch.equal(layout.offsets, wanted.offsets)
    assert torch.equal(layout.swapped, wanted.swapped)
    assert torch.equal(layout.rows[: sum(lengths)], wanted.rows)
    assert layout.rows.amin() >= 0
    assert layout.rows.amax() < 8


def pack_of(m, n, seed=0):
    model = small_model()
    images = [points(m, seed), points(n, seed + 1)]
    from photoglue.matchers.lightglue.packing import Segments

    with torch.no_grad():
        return model._packed(images, Segments((m, n)))


@pytest.mark.slow
@pytest.mark.weights
def test_real_pairs_one_after_the_other(recorders, as_on_a_gpu, trained, real, monkeypatch):
    from photoglue.matchers.lightglue.engine import graphs

    pairs = [(real[0][:m], real[1][-n:] if m < 40 else real[1][:n]) for m, n in POINTS]
    trained.train(False)  # no graphs from another test
    found = [trained.match(*pair) for pair in pairs]
    assert [(each.records, each.replays) for each in recorders] == [(2, 9 + 2)]  # 9 pairs with points, 2 rehearsals
    monkeypatch.setattr(graphs, "packs_attention", lambda values: False)
    wanted = [trained.match(*pair) for pair in pairs]
    assert recorders[0].replays == 9 + 2
    for a, b in zip(found, wanted, strict=True):
        check_equal(a, b)
    assert len(wanted[-3]) > 150  # of 512
    assert len({len(matches) for matches in wanted}) > 4


@pytest.mark.slow
@pytest.mark.weights
def test_half_precision_is_within_the_agreement(recorders, as_on_a_gpu, real, monkeypatch):
    """What rounding alone does: another attention, the same bfloat16. It must not look like a failure."""
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
    from photoglue.matchers.lightglue.engine import graphs, varlen

    def rounds_once(*arguments, **options):
        in_float32 = [x.float() if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in arguments]
        return kernel(*in_float32, **options).bfloat16()

    monkeypatch.setattr(varlen, "kernel", lambda: rounds_once)
    model = LightGlue.pretrained("aliked", LightGlueConfig.accurate(), precision="bfloat16")
    monkeypatch.setattr(graphs, "AGREEMENT", graphs.AGREEMENT / 2)  # with room to spare
    found = model.match(real[0][:400], real[1][:300])
    assert recorders[0].records == 1
    monkeypatch.setattr(graphs, "packs_attention", lambda values: False)
    wanted = model.match(real[0][:400], real[1][:300])
    kept = (found.matches0 == wanted.matches0) & (wanted.matches0 >= 0)
    assert kept.sum() > 0.97 * len(wanted)


@pytest.mark.slow
def test_one_graph_for_each_size_however_many_pairs(recorders, monkeypatch):
    from photoglue.matchers.lightglue.engine import graphs

    monkeypatch.setattr(graphs, "SIZES", (8, 16, 32))
    model = small_model()
    for m in range(1, 20):
        model.match(points(m), points(m // 2 + 1, 1))
    assert len(recorders) == 1
    assert recorders[0].records == 3
    assert recorders[0].replays == 19 + 3
    assert set(model._graphs._graphs) == {8, 16, 32}
    model.match(points(20), points(13, 1))
    assert recorders[0].replays == 19 + 3  # too large: as without graphs


@pytest.mark.slow
def test_inference_mode_and_none_in_turn(recorders):
    """What the one makes, the other may not refuse to write to."""
    model = small_model()
    with torch.inference_mode():
        first = model.match(points(9), points(8, 1))
    check_equal(model.match(points(9), points(8, 1)), first)
    with torch.inference_mode():
        check_equal(model.match(points(9), points(8, 1)), first)
    assert recorders[0].replays == 4


@pytest.mark.slow
def test_what_is_recorded_under_autocast_is_the_same(recorders):
    model = small_model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        first = model.match(points(9), points(8, 1))
    check_equal(model.match(points(9), points(8, 1)), first)
    assert recorders[0].replays == 3
    check_equal(small_model().match_many([(points(9), points(8, 1))] * 2)[0], first)


@pytest.mark.slow
def test_threads_take_turns(recorders):
    """They write to the same tensors."""
    model = small_model()
    pairs = [(points(200, seed), points(150, seed + 9)) for seed in range(2)]
    wanted = [model.match(*pair) for pair in pairs]
    found = [[], []]

    def work(i):
        found[i] += [model.match(*pairs[i]) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each, matches in zip(found, wanted, strict=True):
        assert len(each) == 20
        for one in each:
            check_equal(one, matches)


class TestNotTaken:
    @pytest.mark.slow
    def test_what_is_not_for_graphs(self, recorders):
        pair = points(9), points(8, 1)
        small_model().match_many([pair, pair])
        small_model().prepare(None).match(*pair)
        small_model(depth_confidence=0.9).match(*pair)
        small_model(width_confidence=0.9).match(*pair)
        assert recorders == []
        small_model().match(*pair)
        assert len(recorders) == 1

    def test_training(self, recorders):
        model = small_model().train()
        model.match(points(9), points(8, 1))
        model.eval().all_layers([(points(9), points(8, 1))]).layers[0].descriptors.sum().backward()
        assert model.transformers[0].self_attn.Wqkv.weight.grad is not None
        assert recorders == []

    def test_a_cpu(self):
        from photoglue.matchers.lightglue.engine.graphs import _recordable

        model = small_model().prepare("bfloat16")
        assert not _recordable(model._layers()[0], pack_of(9, 8))


class TestForgotten:
    @pytest.mark.slow
    def test_with_the_weights(self, recorders):
        model = small_model()
        before = model.match(points(9), points(8, 1))
        model.load_state_dict({name: 2 * tensor for name, tensor in model.state_dict().items()})
        assert recorders[0].finished == 1
        after = model.match(points(9), points(8, 1))
        assert len(recorders) == 2
        assert not torch.equal(before.matching_scores0, after.matching_scores0)
        check_equal(after, model.match_many([(points(9), points(8, 1))] * 2)[0])

    def test_with_weights_that_are_written_to(self, recorders):
        model = small_model()
        before = model.match(points(9), points(8, 1))
        with torch.no_grad():
            model.transformers[0].self_attn.Wqkv.weight.mul_(3)
        after = model.match(points(9), points(8, 1))
        assert not torch.equal(before.matching_scores0, after.matching_scores0)
        check_equal(after, model.match_many([(points(9), points(8, 1))] * 2)[0])

    def test_with_the_precision(self, recorders, as_on_a_gpu):
        model = small_model()
        model.match(points(9), points(8, 1))
        found = model.prepare("bfloat16").match(points(9), points(8, 1))
        assert found.precision == "bfloat16"
        assert [each.finished for each in recorders] == [1, 0]
        assert len(model._graphs._graphs) == 1

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
    def test_a_copy_has_its_own(self, recorders, copied):
        model = small_model()
        wanted = model.match(points(9), points(8, 1))
        other = copied(model)
        with torch.no_grad():
            other.transformers[0].self_attn.Wqkv.weight.mul_(3)
        assert not other._graphs._graphs
        other.train(False)
        assert not torch.equal(other.match(points(9), points(8, 1)).matching_scores0, wanted.matching_scores0)
        check_equal(model.match(points(9), points(8, 1)), wanted)


class TestFailure:
    """One notice, and results as if there were no graphs."""

    def check(self, reason):
        model = small_model()
        pair = points(9), points(8, 1)
        with pytest.warns(PhotoGlueWarning, match=f"does not work on cpu .*{reason}") as notices:
            found = model.match(*pair)
        assert len(notices) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_equal(model.match(*pair), found)
        check_equal(small_model().match_many([pair, pair])[0], found)
        assert model._graphs._graphs == {}

    def test_recording_fails(self, recorders, monkeypatch):
        def record(self, work):
            work()
            raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

        monkeypatch.setattr(StandIn, "record", record)
        self.check("not permitted when stream is capturing\\)")

    def test_a_graph_that_does_not_see_its_input(self, recorders, monkeypatch):
        def record(self, work):
            result = work()
            return lambda: None, result

        monkeypatch.setattr(StandIn, "record", record)
        self.check("differ")

    @pytest.mark.slow
    @pytest.mark.weights
    def test_a_graph_that_knows_where_the_images_lay_before(self, recorders, trained, real, monkeypatch):
        from photoglue.matchers.lightglue.engine.graphs import RecordedPair

        before = {}
        layout = RecordedPair.layout
        monkeypatch.setattr(RecordedPair, "layout", lambda pair: before.setdefault(len(pair._x), layout(pair)))
        model = copy.deepcopy(trained)
        with pytest.warns(PhotoGlueWarning, match="differ"):
            model.match(real[0][:256], real[1][:256])

    def test_a_graph_that_gives_nothing(self, recorders, monkeypatch):
        monkeypatch.setattr(StandIn, "record", lambda self, work: (lambda: None, torch.full_like(work(), torch.nan)))
        self.check("differ")


@pytest.mark.weights
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu(real, monkeypatch):
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
    from photoglue.matchers.lightglue.engine import graphs

    model = LightGlue.pretrained("aliked", LightGlueConfig.accurate()).to("cuda")
    pairs = [(real[0][:m].to("cuda"), real[1][:n].to("cuda")) for m, n in POINTS]
    found = [model.match(*pair) for pair in pairs]
    assert set(model._graphs._graphs) == {512, 1024}
    with torch.cuda.stream(torch.cuda.Stream()):
        check_equal(model.match(*pairs[0]).cpu(), found[0].cpu())
    monkeypatch.setattr(graphs, "_recordable", lambda *_: False)
    for pair, matches in zip(pairs, found, strict=True):
        wanted = model.match(*pair)
        kept = (matches.matches0 == wanted.matches0) & (wanted.matches0 >= 0)
        assert int(kept.sum()) >= 0.97 * len(wanted)
