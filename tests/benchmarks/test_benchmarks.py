"""The benchmark counts, divides and compares what it says; no test here measures how fast anything is."""

import json
from pathlib import Path

import pytest
import torch
from peer_packages import transformers_or_skip

from photoglue.native.library import int16_supported

INT16 = ["ours int16"] if int16_supported() else []
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def features():
    from photoglue.structs import Features

    def make(count, seed=0):
        chance = torch.Generator().manual_seed(seed)
        return Features(
            keypoints=torch.rand(count, 2, generator=chance) * 400,
            descriptors=torch.nn.functional.normalize(torch.randn(count, 128, generator=chance), dim=1),
            scores=torch.ones(count),
            image_size=(500, 401),
            kind="aliked-n16",
        )

    return make


@pytest.mark.rare
@pytest.mark.parametrize(("m", "n"), [(60, 100), (256, 256)])
def test_the_floor_counts_what_torch_counts(features, m, n, monkeypatch):
    from floor import match_flops
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, LightGlueShape
    from photoglue.matchers.lightglue.engine import kernels

    # Never prepared: the plain layers.
    model = LightGlue(LightGlueConfig.accurate(), shape=LightGlueShape(input_dim=128)).eval()
    monkeypatch.setattr(kernels, "_ONE_DNN", False)  # products of oneDNN are not counted
    # The fused kernel of the CPU is not counted; attention in single steps is.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.match(features(m), features(n, 1))
    # The plain layers make the cross similarity once for each direction, the floor for both.
    counted = counter.get_total_flops() - 9 * 2 * 256 * m * n
    assert match_flops([(m, n)] * 9) == pytest.approx(counted, rel=0.005)


def test_points_that_were_pruned_cost_nothing():
    from floor import match_flops

    whole = match_flops([(512, 512)] * 9)
    assert match_flops([(512, 512)] * 4) < 0.5 * whole
    assert match_flops([(512, 512)] + [(256, 256)] * 8) < 0.5 * whole


def test_survivors():
    from contestants import survivors

    from photoglue.structs import Matches

    # Image 0: one point went after layer 1, one after layer 2, two stayed to the exit at layer 3; image 1 kept all.
    matches = Matches(
        matches0=torch.full((4,), -1), matches1=torch.full((2,), -1),
        matching_scores0=torch.zeros(4), matching_scores1=torch.zeros(2),
        keypoints0=torch.zeros(4, 2), keypoints1=torch.zeros(2, 2),
        stop=3, n_layers=9, prune0=torch.tensor([1, 2, 3, 3]), prune1=torch.tensor([3, 3]),
    )  # fmt: skip
    assert survivors(matches) == [(4, 2), (3, 2), (2, 2)]


def test_contestants_take_turns():
    from timing import alternate

    calls = []
    seconds = alternate({name: lambda name=name: calls.append(name) for name in "abc"}, rounds=3)
    assert "".join(calls) == "abc" + "abc" + "cba" + "abc"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_speedups_are_ratios_within_a_round():
    from timing import speedups

    # The machine was slow in the second round: the ratio of the medians would be another.
    ratios = speedups({"official": [2.0, 8.0, 3.0], "ours": [1.0, 2.0, 1.0]}, "official")
    assert (ratios["ours"].median, ratios["ours"].least, ratios["ours"].most) == (3, 2, 4)
    assert (ratios["ours"].low, ratios["ours"].high) == (2.5, 3.5)
    assert ratios["official"].median == 1


def test_tiled_points_are_distinct_and_inside(features):
    from peak import tiled

    few = features(50)
    many = tiled(few, 120, 0)
    assert len(many) == 120
    assert torch.equal(many.keypoints[:50], few.keypoints)
    assert torch.equal(many.descriptors[50:100], few.descriptors)
    assert len(many.keypoints.unique(dim=0)) == 120
    assert (many.keypoints >= 0).all()
    assert (many.keypoints <= torch.tensor([499, 400])).all()


def test_mixed_pairs_are_the_same_every_time(features):
    from pairs import mixed_pairs

    both = [features(300), features(300, 1)]
    counts = [(len(a), len(b)) for a, b in mixed_pairs(both, None, 20, (32, 256))]
    assert counts == [(len(a), len(b)) for a, b in mixed_pairs(both, None, 20, (32, 256))]
    assert len(set(counts)) > 15
    assert min(min(counts)) >= 32
    assert max(max(counts)) <= 256


@pytest.mark.weights
@pytest.mark.rare
def test_one_pair_and_many_on_a_device(official, motorcycle, monkeypatch):
    """On a CPU, where nothing is recorded or compiled, so that it cannot be broken when a GPU comes along."""
    import speed
    from pairs import point_features
    from rich.console import Console

    monkeypatch.setattr("pairs.SIDE", 640)  # for speed
    monkeypatch.setattr("device_runs.FIRST_RUNS", 1)
    options = "--device cpu --only latency throughput --keypoints 96 128 --pairs 3 --rounds 1 --batch-rounds 1"
    monkeypatch.setattr("sys.argv", ["speed.py", *options.split()])
    results = {"skipped": {}}
    with (console := Console(width=130)).capture() as text:
        speed.on_device(point_features(motorcycle, 128), speed.arguments(), results, console)
    results = json.loads(json.dumps(results))
    assert results["skipped"] == {}
    names = {
        "latency": {"full": ["official", "ours, layer by layer", "ours, one graph"], "adaptive": ["official", "ours"]},
        "throughput": {mode: ["official", "ours float32", "ours bfloat16", *INT16] for mode in ("full", "adaptive")},
    }
    for section, pairs in (("latency", 1), ("throughput", 3)):
        rows = results[section]
        assert [(row["points"], row["mode"], row["name"]) for row in rows] == [
            (points, mode, name) for points in (96, 128) for mode in names[section] for name in names[section][mode]
        ]
        for row in rows:
            assert row["pairs"] == pairs
            assert row["matches"] > 20 * pairs
            assert row["same_as_official"] >= (1 if row["name"] == "ours float32" else 0.9)
            assert row["baseline"] == (row["name"] == "official")
            assert row["peak_mib"] is None
    # The pair of one section is all pairs of the other, so both must have taken as many points.
    alone, many = ([row["matches"] for row in results[name] if row["baseline"]] for name in names)
    assert many == [3 * count for count in alone]
    assert text.get().count("official *") == 8


@pytest.mark.rare
@pytest.mark.weights
@pytest.mark.parametrize("points", [96, 2100])
def test_the_official_code_is_compiled_for_the_points_measured(official, features, monkeypatch, points):
    """Else it would pad 96 to 256, and run 2100 uncompiled without a word."""
    from device_runs import official_model, official_runs

    seen = []

    def layer(first, second, *_):
        seen.append((first.shape[1], second.shape[1]))
        return first, second

    monkeypatch.setattr("torch.compile", lambda _, **__: layer)
    model = official_model("full", [96, 2100], "cpu", compiled=True)
    official_runs({"compiled": model}, [(features(points), features(points, 1))])["compiled"]()
    assert seen == [(points, points)] * 9


@pytest.mark.rare
@pytest.mark.weights
def test_the_official_settings_are_those_they_are_called(official, monkeypatch):
    import peers
    from device_runs import official_models

    made = peers.official().LightGlue
    monkeypatch.setattr(made, "to", lambda model, _: model)
    for name, model in official_models("full", [64], "cuda").items():
        assert model.conf.flash
        assert model.conf.mp == name.endswith("mp")
        assert (model.static_lengths is not None) == ("compiled" in name)
    assert list(official_models("full", [64], "cpu")) == ["official"]


@pytest.mark.rare
def test_the_fastest_official_setting_is_the_baseline(monkeypatch):
    """As on a GPU: what has no compiler is left out, the clock stops when the device is done, peaks are over what lay
    there."""
    import device_runs

    events = []
    counters = {
        "reset_peak_memory_stats": lambda: None,
        "memory_allocated": lambda: 5 * 2**20,
        "max_memory_allocated": lambda: 8 * 2**20,
        "synchronize": lambda: events.append("done"),
    }
    for name, counter in counters.items():
        monkeypatch.setattr(f"torch.cuda.{name}", counter)
    seconds = {"official": [4.0, 6.0], "official, mp": [2.0, 3.0], "ours": [1.0, 1.0]}

    def alternate(functions, rounds):
        assert rounds == 2
        functions["ours"]()
        return {name: seconds[name] for name in functions}

    def run(name, *rows):
        events.append(name)
        return [torch.tensor(rows, dtype=torch.int64)]

    def fails():
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(device_runs, "alternate", alternate)
    runs = {
        "official": lambda: run("official", (0, 1), (1, 0)),
        "official, mp": lambda: run("official, mp", (0, 1), (1, 0)),
        "official, compiled": fails,
        "ours": lambda: run("ours", (0, 1)),
    }
    skipped = {}
    rows = device_runs.timed_rows(runs, 2, "cuda", skipped)
    assert skipped == {"official, compiled, cuda": "no compiler"}
    assert [(row["name"], row["baseline"]) for row in rows] == [
        ("official", False), ("official, mp", True), ("ours", False),
    ]  # fmt: skip
    assert [row["speedup"]["median"] for row in rows] == [0.5, 1.0, 2.5]
    assert [row["same_as_official"] for row in rows] == [1, 1, 0.5]
    assert {row["peak_mib"] for row in rows} == {3}
    assert events[-2:] == ["ours", "done"]


def test_who_asks_for_a_gpu_that_is_not_there_is_told(features, monkeypatch, capsys):
    import speed

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["speed.py", "--only", "throughput", "--device", "cuda"])
    with pytest.raises(SystemExit):
        speed.arguments()
    assert "there is no CUDA device here; --device cpu" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["speed.py"])
    results = {"skipped": {}}
    speed.on_device([features(9), features(9)], speed.arguments(), results, None)
    assert list(results["skipped"]) == ["latency", "throughput"]
    assert "there is no CUDA device" in results["skipped"]["throughput"]


@pytest.mark.weights
@pytest.mark.rare
def test_the_whole_of_it(official, motorcycle, tmp_path, monkeypatch, capsys):
    """On few points, all contestants: they find the same, so that they are timed at the same job."""
    transformers_or_skip("superpoint", "lightglue")
    pytest.importorskip("matplotlib", exc_type=ImportError)
    import speed

    monkeypatch.setattr("pairs.SIDE", 640)  # for speed
    out, picture = tmp_path / "s.json", tmp_path / "s.png"
    options = f"--threads 1 --rounds 1 --keypoints 128 --only match --out {out} --plot {picture}"
    monkeypatch.setattr("sys.argv", ["speed.py", *options.split()])
    threads = torch.get_num_threads()
    try:
        speed.main()
    finally:
        torch.set_num_threads(threads)
    found = json.loads(out.read_text())
    assert found["skipped"] == {}
    names = ("official", "kornia", "transformers", "ours float32", "ours bfloat16", *INT16)
    assert [(row["mode"], row["name"]) for row in found["match"]] == [
        (mode, name) for mode in ("full", "adaptive") for name in names
    ]
    for row in found["match"]:
        assert row["matches"] > 30
        exact = row["name"] in ("official", "kornia", "ours float32")
        assert row["same_as_official"] >= (1 if exact else 0.93)
        assert row["speedup"]["median"] > 0
        assert row["layers"] == 9 or row["mode"] == "adaptive"
    assert "GFLOP/s" in capsys.readouterr().out
    assert picture.stat().st_size > 10_000


@pytest.mark.rare
def test_a_training_step_is_counted_as_torch_counts_it(features):
    from dataclasses import replace

    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from photoglue.matchers.lightglue import LightGlue
    from training import step_flops

    n, layers = 64, 9
    model = LightGlue()
    images = [replace(features(n, seed), descriptors=torch.randn(n, 256)) for seed in (0, 1)]
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        outputs = model.all_layers([(images[0], images[1])]).layers
        sum((each.descriptors[:n] @ each.descriptors[n:].T).sum() for each in outputs).backward()
    # torch makes the cross similarity once for each direction, forwards and backwards.
    counted = counter.get_total_flops() - 3 * layers * 2 * 256 * n * n
    assert step_flops(n, n) == pytest.approx(counted, rel=0.01)
