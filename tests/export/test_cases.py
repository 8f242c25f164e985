import numpy as np
import pytest
import torch
from exported_files import small_aliked, small_lightglue

from photoglue.errors import ConfigError, WeightsError
from photoglue.export.cases import (
    cases_to_bytes,
    made_up,
    matcher_cases,
    plain_reference,
    read_cases,
    real_pairs,
    single_photos,
)


def test_written_and_read(tmp_path):
    model = small_lightglue(n_layers=1)
    cases = matcher_cases(model, [], [(5, 3), (0, 2)])
    path = tmp_path / "cases.npz"
    path.write_bytes(cases_to_bytes(cases))
    again = read_cases(path)
    assert [case.name for case in again] == ["5 × 3 points", "0 × 2 points"]
    for before, after in zip(cases, again, strict=True):
        for part in ("inputs", "expected"):
            one, other = getattr(before, part), getattr(after, part)
            assert one.keys() == other.keys()
            for name, array in one.items():
                assert array.dtype == other[name].dtype and (array == other[name]).all(), name


def test_files_that_are_none(tmp_path):
    with pytest.raises(ConfigError, match="There is no"):
        read_cases(tmp_path / "absent.npz")
    path = tmp_path / "cut.npz"
    path.write_bytes(cases_to_bytes(matcher_cases(small_lightglue(n_layers=1), [], [(5, 3)]))[:-90])
    with pytest.raises(WeightsError, match=r"cannot be read: .*export again"):
        read_cases(path)


def test_made_up_features_match():
    model = small_lightglue()
    features0, features1 = made_up(model, 40, 30)
    assert (len(features0), len(features1)) == (40, 30)
    matches = plain_reference(model).match(features0, features1)
    right = matches.matches0[matches.matches0 >= 0] == torch.arange(40)[matches.matches0 >= 0]
    assert len(right) > 5 and right.float().mean() > 0.8


def test_real_pairs_are_each_photo_and_the_next(photo_file):
    pairs = real_pairs(small_aliked(), [photo_file] * 3, 9)
    assert [(name, len(a), len(b)) for name, a, b in pairs] == [("part.png part.png", 9, 9)] * 2
    assert (pairs[0][1].descriptors.half().float() == pairs[0][1].descriptors).all()
    assert [name for name, _ in single_photos([photo_file])] == ["part.png"]
    with pytest.raises(ConfigError, match="One photo makes no pair"):
        real_pairs(small_aliked(), [photo_file], 9)


def test_photos_that_come_with_scikit_image():
    pytest.importorskip("skimage", exc_type=ImportError)
    photos = single_photos([])
    assert len(photos) == 5 and len({name for name, _ in photos}) == 5
    assert all(0 <= float(image.min()) < float(image.max()) <= 1 + 1e-6 for _, image in photos)


def test_images_are_kept_in_shades(tmp_path):
    from photoglue.export.cases import Case

    image = (np.arange(12, dtype=np.float32) * 20 / 255).reshape(1, 1, 3, 4)
    path = tmp_path / "image.npz"
    path.write_bytes(cases_to_bytes([Case(name="a", real=True, inputs={"image": image}, expected={})]))
    assert np.allclose(read_cases(path)[0].inputs["image"], image, atol=1e-7)
