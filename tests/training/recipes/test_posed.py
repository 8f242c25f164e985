"""The recipe of the second stage: which scenes are read, and which are kept out to validate with."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rendered_map import write_map
from tiny_training import write_flat_scene

from photoglue.errors import ConfigError, PhotoGlueWarning
from photoglue.training import Hooks, PosedRecipe, train
from photoglue.training.ground_truth import label
from photoglue.training.pairs.map_scenes import read_maps


def names(scenes):
    return [scene.name for scene in scenes]


class TestKeptOut:
    @pytest.mark.parametrize(("count", "kept_out"), [(1, ""), (2, "b"), (5, "e"), (6, "f"), (7, "f"), (13, "fl")])
    def test_every_sixth_scene_or_the_last(self, tmp_path, count, kept_out):
        for name in "abcdefghijklm"[:count]:
            write_flat_scene(tmp_path / name)
        scenes, held_out = PosedRecipe(scenes=(tmp_path,))._scenes()
        assert names(held_out) == list(kept_out)
        assert names(scenes) == [name for name in "abcdefghijklm"[:count] if name not in kept_out]

    def test_those_that_are_named_also_beside_only(self, tmp_path):
        for name in "abcd":
            write_flat_scene(tmp_path / name)
        shutil.rmtree(tmp_path / "d" / "depths")
        scenes, held_out = PosedRecipe(scenes=(tmp_path,), only=("a", "b"), val_scenes=("c",))._scenes()
        assert (names(scenes), names(held_out)) == (["a", "b"], ["c"])

    def data(self, tmp_path, **options):
        """What a run learns from, and what it prints."""
        pytest.importorskip("cv2", exc_type=ImportError)
        pytest.importorskip("h5py", exc_type=ImportError)
        (tmp_path / "run").mkdir()
        told = []
        recipe = PosedRecipe(scenes=(tmp_path / "scenes",), keypoints=100, build_workers=0, **options)
        data = recipe.data(tmp_path / "run", torch.device("cpu"), Hooks(on_message=told.append))
        return data, "\n".join(told)

    @pytest.mark.slow
    def test_of_two_scenes_one_is_never_trained_on(self, tmp_path):
        for name, focal in (("a", 100.0), ("b", 130.0)):
            write_flat_scene(tmp_path / "scenes" / name, size=(240, 180), focal=focal, step=6)
        data, told = self.data(tmp_path)
        assert {data.source.pair(epoch, i).camera0.fx for epoch in (0, 1) for i in range(len(data.source))} == {100.0}
        assert {pair.camera0.fx for pair in data.validation} == {130.0}
        assert data.facts[-1] == "validated on 3 pairs of b"
        assert "only scene" not in told

    def test_a_single_scene_is_told_that_validation_says_little(self, tmp_path):
        write_flat_scene(tmp_path / "scenes" / "[a]", size=(240, 180), step=6)
        data, told = self.data(tmp_path)
        assert len(data.validation) == 3
        assert "'[a]' is the only scene: validation is on pairs that are trained on." in told
        assert data.facts[-1] == "validated on 3 pairs of the only scene, which were trained on"


def small_run(tiny_recipe, **changes):
    """A posed recipe like the tiny one of photos."""
    recipe = tiny_recipe(pairs=8, save_every=2000, validate_every=4000)
    shared = {name: getattr(recipe, name) for name in ("features", "model", "build_workers", "device", "config")}
    return PosedRecipe(**{**shared, **changes})


@pytest.mark.slow
@pytest.mark.data
def test_scenes_mixed_with_homographies(tiny_recipe, tmp_path, shared_data):
    scenes = shared_data / "depth_scenes"
    quiet = Hooks(tensorboard=False)
    first = train(tiny_recipe(pairs=4), out=tmp_path / "first", hooks=quiet)
    recipe = small_run(
        tiny_recipe, scenes=(scenes / "cyprus", scenes / "monstree"), val_scenes=("monstree",), keypoints=60,
        init=str(tmp_path / "first"), homographies=tmp_path / "first" / "cache.h5", resize=320,
    )  # fmt: skip
    assert first.finished
    # Matches of such features are worth nothing, and the check of the scene cannot know why.
    with pytest.warns(PhotoGlueWarning) as warned:
        outcome = train(recipe, out=tmp_path / "second", hooks=quiet)
    assert "Scene 'cyprus': its poses or depths contradict its photos" in str(warned[0].message)
    assert "pose_auc_5" in outcome.last.numbers
    card = (tmp_path / "second" / "model_card.md").read_text()
    assert "cyprus (" in card
    assert "monstree" in card
    assert "30% of all pairs from homographies" in card


@pytest.mark.slow
@pytest.mark.data
def test_a_scene_whose_poses_point_backwards_is_named(tmp_path, shared_data):
    pytest.importorskip("cv2", exc_type=ImportError)
    scenes = tmp_path / "scenes"
    for name in ("cyprus", "kitchen"):
        (scenes / name).mkdir(parents=True)
        for path in (shared_data / "depth_scenes" / name).iterdir():
            (scenes / name / path.name).symlink_to(path)
    cameras = json.loads((scenes / "kitchen" / "cameras.json").read_text())
    for frame in cameras["frames"].values():
        frame["T_w2c"] = np.linalg.inv(frame["T_w2c"]).tolist()
    (scenes / "kitchen" / "cameras.json").unlink()
    (scenes / "kitchen" / "cameras.json").write_text(json.dumps(cameras))
    told = []
    recipe = PosedRecipe(scenes=(scenes,), val_scenes=("kitchen",), keypoints=512, build_workers=0, pairs_per_scene=6)
    (tmp_path / "run").mkdir()
    with pytest.warns(PhotoGlueWarning, match="Scene 'kitchen': its poses or depths contradict its photos"):
        recipe.data(tmp_path / "run", torch.device("cpu"), Hooks(on_message=told.append))
    assert any(line.startswith("Scene 'cyprus': ") for line in told)
    assert not any("contradict" in line for line in told)


class TestBadInput:
    def test_no_scenes(self, tmp_path):
        with pytest.raises(ConfigError, match="holds no scenes"):
            PosedRecipe(scenes=(tmp_path,))._scenes()

    def test_scenes_that_do_not_exist(self, tmp_path):
        scene = write_flat_scene(tmp_path / "cyprus")
        with pytest.raises(ConfigError, match=r"There is no scene 'x'\. There are: cyprus\."):
            PosedRecipe(scenes=(scene,), val_scenes=("x",))._scenes()
        with pytest.raises(ConfigError, match="none is left to train on"):
            PosedRecipe(scenes=(scene,), val_scenes=("cyprus",))._scenes()


class TestMaps:
    def recipe(self, tmp_path, **options):
        pytest.importorskip("cv2", exc_type=ImportError)
        pytest.importorskip("h5py", exc_type=ImportError)
        (tmp_path / "run").mkdir()
        told = []
        recipe = PosedRecipe(keypoints=100, build_workers=0, **options)
        data = recipe.data(tmp_path / "run", torch.device("cpu"), Hooks(on_message=told.append))
        return data, "\n".join(told)

    @pytest.mark.slow
    def test_a_map_is_a_scene_beside_others(self, tmp_path):
        write_map(tmp_path / "castle", points=1000)
        write_flat_scene(tmp_path / "scenes" / "flat", size=(240, 180), step=6)
        options = {"map": (tmp_path / "castle",), "scenes": (tmp_path / "scenes",), "overlap": (0.1, 1.0)}
        data, told = self.recipe(tmp_path, val_scenes=("flat",), **options)
        assert "Scene 'castle':" in told
        assert "contradict" not in told
        labels = [label(data.source.pair(0, i)).matches0 for i in range(len(data.source))]
        assert sum(int((each >= 0).sum()) for each in labels) > 20
        with pytest.raises(ConfigError, match=r"no scene 'tower'\. There are: flat, castle"):
            PosedRecipe(val_scenes=("tower",), **options)._scenes()
        assert names(PosedRecipe(only=("castle",), **options)._scenes()[0]) == ["castle"]

    def test_of_a_single_place_every_sixth_photo_is_kept_out(self, tmp_path):
        (scene,) = read_maps([write_map(tmp_path / "castle", count=4)])
        many = replace(
            scene,
            frames=scene.frames * 3,
            pairs=torch.tensor([[i, j] for i in range(12) for j in range(i + 1, 12)]),
            overlaps=torch.full((66,), 0.5, dtype=torch.float64),
        )
        recipe = PosedRecipe(map=(tmp_path,))
        rest, apart = recipe._split(many)
        assert not torch.isin(rest.pairs, torch.tensor([5, 11])).any()
        assert torch.isin(apart.pairs, torch.tensor([5, 11])).any(dim=1).all()
        assert (len(rest.pairs), len(apart.pairs)) == (45, 21)
        assert many.fingerprint == rest.fingerprint == apart.fingerprint
        assert recipe._split(scene) is None

    def test_nothing_to_train_on(self, tmp_path):
        with pytest.raises(ConfigError, match="Train on what"):
            PosedRecipe()._scenes()


class TestSharesOfTheMixture:
    """Homographies and a teacher's pairs beside those of scenes; made-up sources, since only their numbers count."""

    def mixed(self, monkeypatch, kind="corners", **options):
        from types import SimpleNamespace

        import photoglue.training.recipes.posed as module

        def source(*_, **__):
            cache = SimpleNamespace(kind=kind, path="other.h5")
            return type("Source", (), {"cache": cache, "__len__": lambda _: 50})()

        monkeypatch.setattr(module, "HomographyPairs", source)
        monkeypatch.setattr(module, "DistilledPairs", source)
        monkeypatch.setattr(module.FeatureCache, "open", lambda _: None)
        recipe = PosedRecipe(homographies=Path("h.h5"), distilled=Path("d"), **options)
        return recipe._mixed(source(), SimpleNamespace(kind="corners"))

    def test_scenes_have_what_the_others_leave(self, as_a_user, monkeypatch):
        mixture = self.mixed(monkeypatch, homography_share=0.2, distilled_share=0.5)
        assert mixture.counts == (45, 30, 75)  # scenes, homographies, the teacher's; of 150

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"homography_share": 0.5, "distilled_share": 0.5}, "leave nothing for the scenes"),
            ({"distilled_share": 0.0}, "share of pairs is 0; it must be between 0 and 1"),
            ({"kind": "other"}, "'other.h5' has other features; those of the scenes are corners"),
        ],
    )
    def test_what_cannot_be_mixed(self, as_a_user, monkeypatch, options, message):
        with pytest.raises(ConfigError, match=message):
            self.mixed(monkeypatch, **options)
