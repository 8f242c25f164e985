import pickle

import numpy as np
import pytest
import torch
from exported_files import recertified, small_aliked, untyped

from photoglue import create_extractor
from photoglue.errors import ConfigError, LicenceError, WeightsError
from photoglue.extractors.onnx import OnnxExtractor, network_input


@pytest.fixture
def extractor(extractor_file):
    return create_extractor(str(extractor_file), backend="onnx")


@pytest.mark.slow
def test_finds_what_pytorch_finds(extractor, photo_file):
    expected, found = small_aliked().extract(photo_file), extractor.extract(photo_file)
    assert len(found) == len(expected) > 10 and found.kind == "aliked-t16"
    assert found.image_size == expected.image_size
    order = [features.keypoints[:, 0].argsort() for features in (expected, found)]
    assert torch.allclose(expected.keypoints[order[0]], found.keypoints[order[1]], atol=1e-3)
    assert torch.allclose(expected.descriptors[order[0]], found.descriptors[order[1]], atol=1e-3)


@pytest.mark.slow
def test_fewer_points_masks_and_photos_without_any(extractor_file, photo_file):
    few = OnnxExtractor.from_file(extractor_file, max_keypoints=7, resize=None)
    assert len(few.extract(photo_file)) == 7
    mask = np.zeros((90, 120), np.uint8)
    mask[:, :60] = 255
    whole = OnnxExtractor.from_file(extractor_file)
    kept = whole.extract_many([photo_file], [mask])[0]
    assert 0 < len(kept) < len(whole.extract(photo_file)) and kept.keypoints[:, 0].max() < 61
    assert len(whole.extract(np.full((40, 30, 3), 90, np.uint8))) == 0


@pytest.mark.slow
def test_options_that_are_fixed(extractor_file):
    with pytest.raises(ConfigError, match=r"nms_radius is 2 in .*, not 5; export it anew"):
        OnnxExtractor.from_file(extractor_file, nms_radius=5)
    with pytest.raises(ConfigError, match="no such option"):
        OnnxExtractor.from_file(extractor_file, sharpness=5)


@pytest.mark.slow
def test_other_files_are_refused(matcher_file, extractor_file, tmp_path):
    with pytest.raises(WeightsError, match="role 'matcher'; 'extractor' was wanted"):
        create_extractor(str(matcher_file), backend="onnx")
    path = recertified(extractor_file, tmp_path / "gated.onnx", commercial=False)
    with pytest.raises(LicenceError):
        create_extractor(str(path), backend="onnx")


@pytest.mark.slow
def test_goes_to_other_processes_and_is_known_by_its_file(extractor, photo_file):
    again = pickle.loads(pickle.dumps(extractor))
    assert (again.extract(photo_file).keypoints == extractor.extract(photo_file).keypoints).all()
    assert (again.state_dict()["sha256"] == extractor.state_dict()["sha256"]).all()


def test_names():
    with pytest.raises(ConfigError, match=r"takes an exported file, and 'aliked' is none.*photoglue export"):
        create_extractor("aliked", backend="onnx")
    with pytest.raises(ConfigError, match='Exported files need backend="onnx"'):
        create_extractor("aliked.onnx")
    with untyped(), pytest.raises(ConfigError, match="must be torch or onnx"):
        create_extractor("aliked", backend="jax")


def test_input_is_cut_to_whole_cells_and_gray():
    image = torch.rand(3, 21, 34)
    assert network_input(image, 1, 8).shape == (1, 16, 32)
    assert (network_input(image, 3, 1) == image).all()
