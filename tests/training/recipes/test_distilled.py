"""The recipe whose labels are a teacher's: its photos, what is kept out, and a whole run."""

import numpy as np
import PIL.Image
import pytest
import torch

from photoglue.errors import ConfigError
from photoglue.training import DistilledRecipe, Hooks, TrainingConfig, train
from photoglue.training.ground_truth import EXACT_RULES
from photoglue.training.pairs.distilled import Seen
from photoglue.training.recipes.distilled import _held_out

LOOP = TrainingConfig(pairs=8, batch_size=4, precision="float32", workers=0, validate_every=100)


@pytest.fixture(scope="module")
def photos(tmp_path_factory, astronaut):
    """Two folders with four overlapping parts of one photo each, twice as large in the second."""
    root = tmp_path_factory.mktemp("photos")
    with PIL.Image.open(astronaut) as whole:
        for i in range(4):
            part = whole.crop((30 * i, 20 * i, 30 * i + 280, 20 * i + 240))
            (root / "far").mkdir(exist_ok=True)
            (root / "near").mkdir(exist_ok=True)
            part.save(root / "far" / f"{i}.png")
            part.resize((420, 360)).save(root / "near" / f"{i}.png")
    return root


def recipe(photos, **changes):
    options = {
        "images": (photos / "far", photos / "near"), "features": "sift", "teacher": "sift", "teacher_keypoints": 128,
        "keypoints": 100, "min_seen": 20, "neighbors": 2, "build_workers": 0, "model": "edge", "device": "cpu",
        "config": LOOP,
    }  # fmt: skip
    return DistilledRecipe(**options | changes)


@pytest.mark.slow
def test_from_photos_of_folders_to_weights(photos, tmp_path):
    pytest.importorskip("cv2", exc_type=ImportError)
    pytest.importorskip("h5py", exc_type=ImportError)
    told = []
    outcome = train(recipe(photos, cache=tmp_path / "cache"), out=tmp_path / "run", hooks=Hooks(on_message=told.append))
    assert outcome.finished
    assert told[0].startswith("8 photos, sift as the teacher, sift-opencv features")
    assert "pairs of photos in which sift + LightGlue found 20 or more" in (tmp_path / "run/model_card.md").read_text()
    again = recipe(photos, cache=tmp_path / "cache", turned=0.5)
    data = again.data(tmp_path / "run", torch.device("cpu"), Hooks())
    assert again.labels == EXACT_RULES
    assert len(data.source) + len(data.validation) == len(Seen.read(tmp_path / "cache" / "seen.npz"))
    assert len(data.validation) >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [({"images": ()}, "folders of photos as --images"), ({"turned": 2.0}, "--turned is 2; it must be a share")],
)
def test_what_cannot_be(as_a_user, photos, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        train(recipe(photos, **changes), out=tmp_path / "run")


def test_only_some_photos_and_those_must_be_there(as_a_user, photos, tmp_path):
    wanted = tmp_path / "wanted.txt"
    wanted.write_text("far/1.png\nnear/2.png\n")
    assert sorted(recipe(photos, only=wanted)._photos()) == ["far/1.png", "near/2.png"]
    wanted.write_text("far/9.png\n")
    with pytest.raises(ConfigError, match=r"names 'far/9.png', which is not below"):
        recipe(photos, only=wanted)._photos()


def test_no_pair_of_training_has_a_photo_that_is_kept_out(as_a_user):
    photos = np.array([(i, j) for i in range(20) for j in range(i + 1, 20)])
    seen = Seen(photos=photos, ends=np.arange(len(photos)), points=np.zeros((0, 4), np.float32))
    rows, apart = _held_out(seen)
    assert not set(photos[rows].flatten()) & {7, 15}
    assert all({7, 15} & set(pair) for pair in photos[apart].tolist())
    assert len(rows) + len(apart) == len(photos)
    with pytest.raises(ConfigError, match="in 1 pairs of 2 photos: too few"):
        _held_out(Seen(photos=photos[:1], ends=np.arange(1), points=np.zeros((0, 4), np.float32)))
