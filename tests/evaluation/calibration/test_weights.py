"""Weights of one's own: what is refused, and that a verdict is stored with them."""

import numpy as np
import pytest
import rendered_scene
import torch

from photoglue import SIFT, LightGlue, LightGlueConfig, SIFTConfig
from photoglue.datasets.scenes import read_scenes
from photoglue.errors import ConfigError
from photoglue.evaluation.calibration import weights as module
from photoglue.evaluation.calibration.pairs import LeftOut, ScoreErrors
from photoglue.evaluation.calibration.weights import calibrate, store_verdict
from photoglue.matchers.lightglue.verdict import VERDICTS


@pytest.fixture
def own(tmp_path):
    """A small network for SIFT."""
    path = tmp_path / "own.safetensors"
    config = LightGlueConfig(input_dim=128, descriptor_dim=32, num_heads=2, n_layers=2, kinds=("sift-opencv",))
    LightGlue(config).save(path)
    return str(path)


@pytest.fixture
def extractor():
    pytest.importorskip("cv2")
    return SIFT(SIFTConfig(resize=None, max_keypoints=64))


def test_weights_that_are_none_or_for_other_features(own, extractor, monkeypatch):
    with pytest.raises(ConfigError, match=r"'absent' is no weight file, and no released model; those are .*aliked"):
        calibrate("absent", [], extractor)
    monkeypatch.setattr(SIFT, "kind", "dots")
    with pytest.raises(ConfigError, match="is for features of the kind sift-opencv; those of the extractor are dots"):
        calibrate(own, [], extractor)


def test_one_scene_is_too_few(own, extractor, tmp_path):
    rendered_scene.write_scene(tmp_path / "scenes" / "wall", count=3)
    with pytest.raises(ConfigError, match=r"overlapping pairs of 1 scenes \(wall\)"):
        calibrate(own, read_scenes(tmp_path / "scenes"), extractor, pairs_per_scene=3)


def test_pairs_are_drawn_by_the_seed_and_matched_with_few_and_many_points(own, extractor, tmp_path, monkeypatch):
    for name in ("a", "b"):
        rendered_scene.write_scene(tmp_path / "scenes" / name, count=4)
    seen = []

    def noted(pair, features, matcher, keypoints):
        seen.append((pair.paths, matcher.config.depth_confidence, keypoints))

    monkeypatch.setattr(module, "judged", noted)
    monkeypatch.setattr(module, "fit_pairs", lambda pairs: VERDICTS["aliked"])
    nothing = LeftOut(
        scenes={}, whole=ScoreErrors(matches=0, correct=0.0, before=0.0, after=0.0), probabilities=np.zeros(0),
        overlaps=np.zeros(0, bool),
    )  # fmt: skip
    monkeypatch.setattr(module, "leave_scenes_out", lambda pairs: nothing)
    runs = []
    for seed in (0, 0, 1):
        found = calibrate(own, read_scenes(tmp_path / "scenes"), extractor, keypoints=64, pairs_per_scene=6, seed=seed)
        runs.append(list(seen))
        seen.clear()
    assert runs[0] == runs[1] != runs[2]
    assert len(runs[0]) == 2 * found.pairs
    assert {keypoints for _, _, keypoints in runs[0]} <= {8, 32, 64}
    assert len({depth for _, depth, _ in runs[0]}) == 2  # adaptively and at full depth


def test_a_verdict_is_stored_and_nothing_else_changes(own, tmp_path):
    before = LightGlue.from_checkpoint(own)
    store_verdict(own, VERDICTS["disk"], tmp_path / "out.safetensors")
    after = LightGlue.from_checkpoint(tmp_path / "out.safetensors")
    assert (before.verdict, after.verdict) == (None, VERDICTS["disk"])
    assert after.config == before.config
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())
