"""Many photos: their answers in files, and only what changed is asked for again."""

import json

import numpy as np
import PIL.Image
import pytest
import torch
from mapped_scene import FOCAL, SIZE, write
from placed_scene import TOOLS, error

from photoglue.errors import ConfigError
from photoglue.geometry.pose import rotation_from_quaternion
from photoglue.sfm import LocalizeOptions, Localizer, localize_photos, read_model, read_queries
from photoglue.sfm.locating import many
from photoglue.sfm.locating.writing import LocalisationRecord


@pytest.fixture
def localizer(placed):
    with Localizer(placed / "map", LocalizeOptions(turn=False), **TOOLS) as opened:
        yield opened


def test_all_formats(placed, localizer, tmp_path):
    photos = write(tmp_path / "photos", 3, 8, exif={3: {0x0112: 6}})
    told = []
    answers = localize_photos(photos, localizer, tmp_path / "out", progress=lambda *state: told.append(state))
    assert [answer.localised for answer in answers] == [True, False] and told == [(1, 2), (2, 2)]
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["frames"][0].startswith("upright: ") and content["frames"][1].startswith("stored: ")
    first, second = content["photos"]
    assert first["upright"]["camera"]["image_size"] == [320, 240]
    assert first["stored"]["camera"]["image_size"] == [240, 320]
    assert first["upright"]["cam_from_world"] == answers[0].cam_from_world.tolist()
    assert (second["upright"], second["reason"]) == (None, answers[1].reason)
    name, *numbers = (tmp_path / "out" / "results.txt").read_text().split()
    values = torch.tensor([float(number) for number in numbers], dtype=torch.float64)
    assert (name, len(values)) == ("003.png", 7)
    stored = answers[0].stored_cam_from_world
    torch.testing.assert_close(rotation_from_quaternion(values[:4]), stored[:3, :3])
    torch.testing.assert_close(values[4:], stored[:3, 3])
    comment, line = (tmp_path / "out" / "trajectory_tum.txt").read_text().splitlines()
    number, *values = map(float, line.split())
    assert (comment, number) == ("# 0 003.png", 0)
    np.testing.assert_allclose(values[:3], answers[0].centre.numpy())
    x, y, z, w = values[3:]
    turned = rotation_from_quaternion(torch.tensor([w, x, y, z], dtype=torch.float64))
    torch.testing.assert_close(turned.T, answers[0].cam_from_world[:3, :3])
    view = read_model(tmp_path / "out" / "sparse")
    torch.testing.assert_close(view.images[0].cam_from_world, stored)
    assert view.cameras[1].image_size == (240, 320)


@pytest.mark.slow
def test_it_goes_on_where_it_was(placed, localizer, tmp_path, monkeypatch):
    photos, out = write(tmp_path / "photos", 3, 8), tmp_path / "out"
    first = localize_photos(photos, localizer, out)
    asked = []
    real = Localizer.localize

    def localize(self, photo, **how):
        asked.append(how["name"])
        return real(self, photo, **how)

    monkeypatch.setattr(Localizer, "localize", localize)
    journal = out / "localised.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])  # killed while it wrote the second
    again = localize_photos(photos, localizer, out)
    assert asked == ["008.png"]
    for one, two in zip(first, again, strict=True):
        assert LocalisationRecord.of(one).upright_cam_from_world == LocalisationRecord.of(two).upright_cam_from_world
        assert (one.points is None) == (two.points is None)
    asked.clear()
    PIL.Image.new("L", SIZE, 4).save(photos / "003.png")
    localize_photos(photos, localizer, out, cameras=str(FOCAL))
    assert asked == ["003.png", "008.png"]  # another photo, and another camera
    asked.clear()
    localize_photos(photos, localizer)
    assert len(asked) == 2  # without a folder nothing is kept


def test_a_photo_that_cannot_be_read(localizer, tmp_path):
    photos = write(tmp_path / "photos", 3)
    (photos / "a.png").write_bytes(b"no photo")
    (photos / "b.jpg").write_bytes(b"\xff\xd8\xff no photo")
    answers = localize_photos({"b.jpg": photos / "b.jpg", "003.png": photos / "003.png"}, localizer, tmp_path / "out")
    assert [answer.localised for answer in answers] == [False, True]
    assert "cannot be read" in answers[0].reason or "b.jpg" in answers[0].reason


def test_a_sequence(localizer, tmp_path, monkeypatch):
    photos, priors = write(tmp_path / "photos", 3, 4, 8, 9), []
    real = Localizer.localize

    def localize(self, photo, *, prior, **how):
        priors.append(prior)
        return real(self, photo, prior=prior, **how)

    monkeypatch.setattr(Localizer, "localize", localize)
    answers = localize_photos(photos, localizer, sequence=True)
    assert [answer.localised for answer in answers] == [True, True, False, False]
    assert priors == [None, answers[0], answers[1], None]
    assert error(answers[1], 4) < 0.02


def test_queries_with_intrinsics(localizer, tmp_path):
    photos = write(tmp_path / "photos", 3, 8)
    queries = tmp_path / "queries_with_intrinsics.txt"
    queries.write_text(f"003.png SIMPLE_RADIAL 320 240 {FOCAL} 160 120 0\n")
    assert read_queries(queries)["003.png"].params == (FOCAL, 160.0, 120.0, 0.0)
    (answer,) = localize_photos(photos, localizer, cameras=queries)
    assert (answer.name, answer.focal_source) == ("003.png", "given")
    queries.write_text("other.png SIMPLE_PINHOLE 320 240 280 160 120\n")
    with pytest.raises(ConfigError, match=r"names 'other\.png', which is not among the photos"):
        localize_photos(photos, localizer, cameras=queries)
    for bad in ("003.png SIMPLE_PINHOLE 320 240 280 160", "003.png MADE_UP 3 2 1", "003.png", "a PINHOLE 1 1 0 0 0 0"):
        queries.write_text(bad)
        with pytest.raises(ConfigError, match=r"Line 1 of .* name, model, width, height and the model's parameters"):
            read_queries(queries)
    queries.write_text("# nothing\n")
    with pytest.raises(ConfigError, match="names no photo"):
        read_queries(queries)
    with pytest.raises(ConfigError, match=r"There is no file 'none\.txt'"):
        localize_photos(photos, localizer, cameras="none.txt")
    with pytest.raises(ConfigError, match="There are no photos to place"):
        localize_photos({}, localizer)


def test_masks_of_a_folder(localizer, tmp_path, monkeypatch):
    photos, masks = write(tmp_path / "photos", 3, 8), []
    (tmp_path / "masks").mkdir()
    PIL.Image.new("L", SIZE, 255).save(tmp_path / "masks" / "003.png")
    real = many.Localizer.localize

    def localize(self, photo, *, mask, **how):
        masks.append(mask and mask.name)
        return real(self, photo, mask=mask, **how)

    monkeypatch.setattr(Localizer, "localize", localize)
    localize_photos(photos, localizer, masks=tmp_path / "masks")
    assert masks == ["003.png", None]
