"""The main line on small real sequences: SIFT needs no weights."""

from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch

from photoglue import LightGlue, LightGlueConfig, LightGlueShape
from photoglue.datasets.layouts import load_dataset
from photoglue.errors import ConfigError, PhotoGlueError
from photoglue.evaluation import run
from photoglue.evaluation.methods import Method
from photoglue.evaluation.results import read_result
from photoglue.matchers.nearest import NearestNeighbor

SETTINGS = run.Settings(workers=0, device="cpu")


def numbers(result):
    """All that must be the same in every run."""

    def timeless(values):
        return {name: value for name, value in values.items() if name != "match_s"}

    scenes = {scene: timeless(values) for scene, values in result.scenes.items()}
    return timeless(result.values), scenes, [(r.scene, r.name1, timeless(r.values)) for r in result.records]


@pytest.mark.slow
def test_results_of_a_run(planes, tmp_path):
    out, seen = tmp_path / "out", []
    dataset = load_dataset(planes)
    ratio, nearest = run.measure([dataset], ["sift+ratio", "sift+nn"], out, SETTINGS, lambda *args: seen.append(args))
    assert (ratio.dataset, ratio.benchmark, ratio.method, nearest.method) == (
        "planes", "homography", "sift+ratio", "sift+nn",
    )  # fmt: skip
    assert ratio.values["AUC@3"] > 0.5
    assert ratio.values["precision@3px"] > nearest.values["precision@3px"] > 0.3
    assert len(ratio.records) == 4
    assert ratio.scenes.keys() == {"viewpoint (v_*)", "v_0", "v_1"}
    assert ratio.scenes["viewpoint (v_*)"] == ratio.values
    name = "precision@3px"
    assert np.mean([ratio.scenes[f"v_{i}"][name] for i in (0, 1)]) == pytest.approx(ratio.values[name])
    assert ratio.scenes["v_0"][name] == np.mean([record.values["precision_3px"] for record in ratio.records[:2]])
    assert read_result(out / "planes.sift+ratio.json") == ratio
    assert list((out / "unfinished").iterdir()) == []
    assert len(list((out / "features").iterdir())) == 1  # shared by both methods
    assert seen[0] == ("planes: extract sift", 0, 6)
    assert seen[-1] == ("planes: sift+nn", 4, 4)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers_and_others_do_not(planes, out):
    dataset = load_dataset(planes)
    first, second = (run.measure([dataset], ["sift+nn"], out, SETTINGS)[0] for _ in range(2))
    assert numbers(first) == numbers(second)
    (several,) = run.measure([dataset], ["sift+nn"], out, replace(SETTINGS, seeds=3))
    assert numbers(several)[2] == numbers(first)[2]  # records are those of the first seed
    assert several.spread["AUC@1"] > 0
    assert several.spread["AUC_DLT@1"] == 0
    assert first.spread == {}


class Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("survive", [0, 1, 3])
def test_killed_and_resumed_is_as_if_never_killed(planes, out, monkeypatch, survive):
    """Blocks of two pairs; the process dies after so many pairs are written down."""
    monkeypatch.setattr(run, "PAIRS_AT_ONCE", {"cpu": 2})
    dataset = load_dataset(planes)
    (whole,) = run.measure([dataset], ["sift+nn"], out, SETTINGS)

    append, matched = run.Journal.append, []

    def dies(self, pair, values):
        if len(self.done) == survive:
            raise Killed
        append(self, pair, values)

    monkeypatch.setattr(run.Journal, "append", dies)
    with pytest.raises(Killed):
        run.measure([dataset], ["sift+nn"], out, SETTINGS)
    monkeypatch.setattr(run.Journal, "append", append)
    assert len(list((out / "unfinished").iterdir())) == 1

    match_many = NearestNeighbor.match_many

    def counted(self, pairs):
        matched.append(len(pairs))
        return match_many(self, pairs)

    monkeypatch.setattr(NearestNeighbor, "match_many", counted)
    (resumed,) = run.measure([dataset], ["sift+nn"], out, SETTINGS)
    assert numbers(resumed) == numbers(whole)
    assert matched == ([2, 2] if survive < 2 else [2])  # whole blocks that were done are not matched again


@pytest.mark.slow
def test_batches_and_their_order_change_nothing(planes, out, tmp_path, monkeypatch):
    """Matched in other company and another order, each pair has the same values."""
    weights = tmp_path / "own.safetensors"
    torch.manual_seed(1)
    shape = LightGlueShape(input_dim=128, descriptor_dim=128, num_heads=2, n_layers=2)
    model = LightGlue(LightGlueConfig(filter_threshold=0.0), shape=shape)
    with torch.no_grad():  # little is mixed in, so that what is alike matches although nothing was trained
        for name, value in model.named_parameters():
            if "ffn.3" in name:
                value.mul_(0.2)
            elif "final_proj.weight" in name:
                value.copy_(10 * torch.eye(128))
    model.save(weights)
    dataset, method = load_dataset(planes), f"sift+{weights}@float32"
    (plain,) = run.measure([dataset], [method], out, SETTINGS)
    monkeypatch.setattr(run, "PAIRS_AT_ONCE", {"cpu": 3})
    turned = replace(dataset, pairs=dataset.pairs[::-1])
    (other,) = run.measure([turned], [method], out, SETTINGS)
    assert plain.records[0].values["num_matches"] > 5
    for record, same in zip(plain.records, other.records[::-1], strict=True):
        assert (record.name0, record.name1) == (same.name0, same.name1)
        for name in record.values.keys() - {"match_s"}:
            assert record.values[name] == pytest.approx(same.values[name], rel=1e-3, nan_ok=True), name


@pytest.mark.slow
def test_pairs_without_matches_are_failures_that_stay(textured, tmp_path):
    """A black image has no features at all."""
    PIL.Image.new("RGB", (256, 192)).save(textured / "v_0" / "3.png")
    (result,) = run.measure([load_dataset(textured / "v_0")], ["sift+nn"], tmp_path / "out", SETTINGS)
    failed = result.records[1].values
    assert (failed["num_matches"], failed["homography_error_px"], failed["precision_3px"]) == (0, float("inf"), 0)
    assert len(result.records) == 2
    assert result.values["AUC@5"] <= 0.5


@pytest.mark.slow
def test_other_protocols_change_size_and_frame(planes, out):
    settings = replace(SETTINGS, protocol="lightglue-paper")
    (result,) = run.measure([load_dataset(planes)], ["sift+ratio"], out, settings)
    assert (result.card.resize, result.card.resize_side, result.card.resized_frame) == (480, "short", True)
    assert result.values["AUC@5"] > 0.4


def test_dropped_scenes(textured, tmp_path):
    (textured / "v_1").rename(textured / "v_talent")
    dataset = load_dataset(textured)
    (job,) = run.jobs_of([dataset], ["sift+nn"], replace(SETTINGS, protocol="glue-factory"))
    assert [pair.scene for pair in job.dataset.pairs] == ["v_0", "v_0"]
    assert job.card.image_set.endswith("without 1 scenes")
    (textured / "v_0").rename(textured / "i_dc")
    with pytest.raises(ConfigError, match="leaves out all scenes"):
        run.jobs_of([load_dataset(textured)], ["sift+nn"], replace(SETTINGS, protocol="glue-factory"))


@pytest.mark.parametrize(
    ("methods", "settings", "said"),
    [
        (["sift"], {}, "'sift' is no method"),
        (["sift+nn"], {"protocol": "loftr"}, "says nothing of homography"),
        (["sift+nn"], {"estimator": "usac"}, "no estimator 'usac'"),
        (["sift+nn"], {"threshold_px": -1.0}, "threshold_px is -1"),
    ],
)
def test_mistakes_are_told_before_any_work(textured, tmp_path, methods, settings, said):
    with pytest.raises(ConfigError, match=said):
        run.measure([load_dataset(textured)], methods, tmp_path / "out", replace(SETTINGS, **settings))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_lost_solver_process_is_explained(planes, out, monkeypatch):
    def lost(self, task):
        raise BrokenProcessPool("terminated abruptly")

    monkeypatch.setattr(run.SolverPool, "submit", lost)
    with pytest.raises(PhotoGlueError, match=r"was ended from outside.* is kept: run the same again, with fewer"):
        run.measure([load_dataset(planes)], ["sift+nn"], out, replace(SETTINGS, seeds=2))


@pytest.mark.slow
def test_the_verdict_is_that_of_the_matcher(textured, out, monkeypatch):
    """Not of any other: same matches, other weights, another meaning."""
    dataset = load_dataset(textured, "overlap", max_pairs=2)
    seen = []
    monkeypatch.setattr(NearestNeighbor, "verdict", staticmethod(lambda matches: seen.append(matches) or 0.75))
    (result,) = run.measure([dataset], ["sift+nn"], out, SETTINGS)
    assert [record.values["overlap_probability"] for record in result.records] == [0.75, 0.75]
    assert result.values["false_positive_rate"] == 1.0
    assert [len(matches) for matches in seen] == [record.values["num_matches"] for record in result.records]


def test_two_data_sets_of_one_name(textured, tmp_path):
    dataset = load_dataset(textured)
    with pytest.raises(ConfigError, match="Two data sets are named 'planes'"):
        run.measure([dataset, dataset], ["sift+nn"], tmp_path / "out", SETTINGS)


def test_file_names_are_safe_and_different():
    names = ["sift+/a/b.pth", "sift+/a_b.pth", "sift+nn"]
    files = [run.safe_name(name) for name in names]
    assert len(set(files)) == 3
    assert files[2] == "sift+nn"
    assert not any("/" in file for file in files)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.weights
def test_real_photos_in_worker_processes(shared_data, tmp_path):
    """An easy pair of fountain-P11 must be solved by ALIKED + LightGlue, as it is with the official code."""
    dataset = load_dataset(shared_data / "eval/strecha/fountain-P11", max_pairs=1)
    settings = replace(SETTINGS, workers=1)
    (result,) = run.measure([dataset], ["aliked+lightglue@float32"], tmp_path, settings)
    assert result.values["AUC@5"] > 0.9
    assert result.values["exit_layer"] == 9
    assert result.values["pruned"] == 0
    assert Method.parse("aliked+lightglue").resolved_name(torch.device("cpu")).startswith("aliked+lightglue")
