"""A network, pairs, photos and a recipe so small that a step takes milliseconds."""

import sys

import pytest
import tiny_training
import torch


@pytest.fixture(autouse=True)
def _own_imports(monkeypatch):
    """Each test finds the modules of the tests before it gone."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "corners", raising=False)


@pytest.fixture(scope="session")
def place(tmp_path_factory, astronaut):
    """A folder with photos, good and bad, and a class that finds features in them."""
    pytest.importorskip("cv2", exc_type=ImportError)
    pytest.importorskip("h5py", exc_type=ImportError)
    return tiny_training.write_photos(tmp_path_factory.mktemp("place"), astronaut)


@pytest.fixture
def tiny_recipe(place):
    """Makes recipes of four steps of an edge network; fields of the loop may be among the changes."""
    from dataclasses import fields

    from photoglue.training import HomographyRecipe, TrainingConfig

    loop = {field.name for field in fields(TrainingConfig)}

    def make(kind=HomographyRecipe, **changes):
        config = {
            "pairs": 16, "batch_size": 4, "warmup_steps": 2, "precision": "float32", "workers": 0, "save_every": 8,
            "validate_every": 8,
        }  # fmt: skip
        recipe = {
            "images": place / "photos", "features": f"{place / 'corners.py'}:Corners", "model": "edge", "views": 3,
            "patch_size": (160, 120), "keypoints": 40, "build_workers": 0, "device": "cpu",
        }  # fmt: skip
        config |= {name: value for name, value in changes.items() if name in loop}
        recipe |= {name: value for name, value in changes.items() if name not in loop}
        return kind(**recipe, config=TrainingConfig(**config))

    return make


class TinyPairs:
    """Pairs of 20 points that a homography moves; each (epoch, index) gives its own."""

    def __init__(self, length=12, width=16, points=20, broken=()):
        self.length, self.width, self.points, self.broken = length, width, points, broken

    def __len__(self):
        return self.length

    def pair(self, epoch, index):
        from photoglue.structs import Features
        from photoglue.training.pairs.base import HomographyPair

        chance = torch.Generator().manual_seed(1000 * epoch + index)
        homography = torch.eye(3, dtype=torch.float64)
        homography[:2, 2] = torch.rand(2, generator=chance) * 40
        descriptors = torch.nn.functional.normalize(torch.randn(self.points, self.width, generator=chance), dim=1)
        points = torch.rand(self.points, 2, generator=chance) * 200
        if (epoch, index) in self.broken:
            descriptors = descriptors * float("nan")
        images = [
            Features(
                keypoints=each,
                descriptors=descriptors + 0.05 * torch.randn(descriptors.shape, generator=chance),
                scores=torch.ones(self.points),
                image_size=(320, 240),
                kind="tiny",
            )
            for each in (points, points + homography[:2, 2].float())
        ]
        return HomographyPair(features0=images[0], features1=images[1], image1_from_image0=homography)


@pytest.fixture
def tiny_pairs():
    """Makes sources of pairs; registered as PairSource, which the test's class cannot inherit before the hook."""
    from photoglue.training.pairs.base import PairSource

    PairSource.register(TinyPairs)
    return TinyPairs


@pytest.fixture
def tiny_model():
    """Makes networks of 2 layers and width 32; the same seed, the same weights."""
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, LightGlueShape

    def make(seed=0, **changes):
        torch.manual_seed(seed)
        shape = {"input_dim": 16, "descriptor_dim": 32, "n_layers": 2, "num_heads": 2, "kinds": ("tiny",)}
        options = {name: changes.pop(name) for name in changes.keys() & {"filter_threshold", "depth_confidence"}}
        return LightGlue(LightGlueConfig(**options), shape=LightGlueShape(**{**shape, **changes}))

    return make


@pytest.fixture
def plain_objective():
    """A loss in a few lines: points with the same number match. The real one has its own tests."""
    return PlainObjective()


class PlainObjective:
    def prepare(self, pair, number):
        return pair

    def __call__(self, model, pairs, *, checkpointed=False):
        from photoglue.training.losses import LossTerms

        found = model.all_layers([(pair.features0, pair.features1) for pair in pairs], checkpointed=checkpointed)
        rows = found.segments.slices()
        nll, confidence = [], torch.zeros(())
        for layer in found.layers:
            similarity = [
                layer.descriptors[rows[2 * i]] @ layer.descriptors[rows[2 * i + 1]].T for i in range(len(pairs))
            ]
            nll.append(torch.stack([-s.log_softmax(dim=1).diagonal().mean() for s in similarity]).mean())
            nll[-1] = nll[-1] - torch.nn.functional.logsigmoid(layer.matchability).mean()
            if layer.confidence is not None:
                confidence = confidence - torch.nn.functional.logsigmoid(layer.confidence).mean()
        return LossTerms(
            total=torch.stack(nll).mean() + confidence,
            nll=torch.stack(nll).detach(),
            positive=nll[-1].detach(),
            negative=torch.zeros(()),
            confidence=confidence.detach(),
            matchable=torch.tensor(float(rows[0].stop)),
            unmatchable=torch.tensor(0.0),
            pairs=len(pairs),
        )
