"""The recipe of the first stage: which photos are used, and what is said of the others."""

import shutil

import pytest
import torch

from photoglue.errors import ConfigError
from photoglue.training import Hooks


def built(recipe, folder):
    """What a run learns from, the messages, and the calls about extraction."""
    folder.mkdir(exist_ok=True)
    told, steps = [], []
    hooks = Hooks(on_message=told.append, on_extraction=lambda *step: steps.append(step))
    return recipe.data(folder, torch.device("cpu"), hooks), told, steps


def test_photos_are_told_apart(tiny_recipe, tmp_path):
    data, told, steps = built(tiny_recipe(), tmp_path / "run")
    assert any(line.startswith("skipped: tiny.png: 100 × 90 pixels") for line in told)
    assert any(line.startswith("skipped: text.jpg: unreadable") for line in told)
    assert any(line.startswith("skipped: broken.png: unreadable") for line in told)
    plan = "4 photos, 1 to validate with; 3 views each: corners features of 12 views, about 18 kB → "
    assert f"{plan}{tmp_path / 'run' / 'cache.h5'}" in told
    assert (4, 4) in steps
    assert (len(data.validation), data.example.kind) == (1, "corners")
    # Again: nothing is extracted.
    _, told, steps = built(tiny_recipe(), tmp_path / "run")
    assert f"4 photos, 1 to validate with; features (corners) from {tmp_path / 'run' / 'cache.h5'}" in told
    assert steps == []


def test_a_cache_for_several_runs(tiny_recipe, tmp_path):
    built(tiny_recipe(cache=tmp_path / "shared.h5"), tmp_path / "one")
    _, _, steps = built(tiny_recipe(cache=tmp_path / "shared.h5"), tmp_path / "two")
    assert (4, 4) not in steps  # only the photos to validate with
    with pytest.raises(ConfigError, match="views: 3 there, 4 now"):
        built(tiny_recipe(cache=tmp_path / "shared.h5", views=4), tmp_path / "three")


def test_the_list_of_many_skipped_photos_is_in_the_folder_of_the_run(tiny_recipe, place, tmp_path):
    photos, run = tmp_path / "photos", tmp_path / "run"
    photos.mkdir()
    shutil.copy(place / "photos" / "0.png", photos)
    shutil.copy(place / "photos" / "1.png", photos)
    for i in range(11):
        (photos / f"{i:02}.jpg").write_text("no photo")
    _, told, _ = built(tiny_recipe(images=photos), run)
    assert f"skipped: and 1 more photos; all 11 are listed in {run / 'images.skipped.txt'}" in told
    lines = (run / "images.skipped.txt").read_text().splitlines()
    assert [line.rpartition(": ")[0] for line in lines] == [f"{i:02}.jpg: unreadable" for i in range(11)]


def test_no_photos(tiny_recipe, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="There are no photos below"):
        built(tiny_recipe(images=tmp_path / "empty"), tmp_path / "run")
    with pytest.raises(ConfigError, match="does not exist"):
        built(tiny_recipe(images=tmp_path / "absent"), tmp_path / "run")


def test_one_photo(tiny_recipe, place, tmp_path):
    (tmp_path / "one").mkdir()
    shutil.copy(place / "photos" / "0.png", tmp_path / "one")
    with pytest.raises(ConfigError, match="has one photo that can be used"):
        built(tiny_recipe(images=tmp_path / "one"), tmp_path / "run")


def test_no_usable_photo_to_train_on(tiny_recipe, place, tmp_path):
    (tmp_path / "some").mkdir()
    shutil.copy(place / "photos" / "0.png", tmp_path / "some")  # the first one is kept out
    shutil.copy(place / "photos" / "broken.png", tmp_path / "some" / "a[b].png")
    with pytest.raises(ConfigError, match="No photo to train on gives enough points for two views"):
        built(tiny_recipe(images=tmp_path / "some"), tmp_path / "run")


def test_no_usable_photo_to_validate_with(tiny_recipe, place, tmp_path):
    (tmp_path / "list.txt").write_text("broken.png\n")
    others = {"val_images": place / "photos", "val_only": tmp_path / "list.txt"}
    with pytest.raises(ConfigError, match=r"No photo to validate with gives enough points.*--val-images"):
        built(tiny_recipe(**others), tmp_path / "run")
