"""The programs in examples/ work as they stand."""

import importlib
import pickle
import shutil
import sys
from pathlib import Path

import PIL.Image
import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def orb(monkeypatch):
    pytest.importorskip("cv2", exc_type=ImportError)
    monkeypatch.setattr(sys, "path", [*sys.path, str(EXAMPLES)])
    monkeypatch.delitem(sys.modules, "custom_extractor", raising=False)
    return importlib.import_module("custom_extractor").ORB()


class TestCustomExtractor:
    def test_features_of_a_photo(self, orb, astronaut):
        features = orb.extract(astronaut)
        assert len(features) == 1024
        assert features.image_size == (512, 512)
        assert features.kind == "orb-opencv"
        assert features.descriptors.shape == (1024, orb.descriptor_dim)
        assert torch.allclose(features.descriptors.norm(dim=1), torch.ones(1024))
        assert features.scales.min() > 0.3
        assert (features.scores.diff() <= 0).all()

    def test_no_two_points_at_one_place(self, orb, astronaut):
        import photoglue

        [features] = orb.detect(photoglue.load_image(astronaut)[None])
        assert len((features.keypoints // 3).unique(dim=0)) == len(features) > 500

    def test_the_dot_product_is_the_hamming_distance(self, orb, astronaut):
        """Against OpenCV's own count of the bits that differ."""
        import cv2
        import numpy as np

        features = orb.extract(astronaut)[torch.arange(40)]
        bits = np.packbits((features.descriptors > 0).numpy(), axis=1)
        for i, j in ((0, 1), (3, 17), (20, 39)):
            distance = cv2.norm(bits[i], bits[j], cv2.NORM_HAMMING)
            product = float(features.descriptors[i] @ features.descriptors[j])
            assert product == pytest.approx(1 - distance / 128, abs=1e-5)

    def test_a_mask(self, orb, astronaut):
        mask = torch.zeros(512, 512, dtype=torch.bool)
        mask[:, 256:] = True
        features = orb.extract(astronaut, mask.numpy())
        assert len(features) > 100
        assert (features.keypoints[:, 0] > 250).all()

    def test_a_photo_with_nothing_on_it(self, orb):
        features = orb.extract(torch.full((3, 120, 160), 0.5))
        assert (len(features), features.descriptors.shape) == (0, (0, 256))

    @pytest.mark.slow
    def test_nearest_neighbours_of_a_turned_photo_are_right(self, orb, astronaut):
        """Turned by a quarter: (x, y) comes to (511 - y, x), and orientations by 90 degrees."""
        import photoglue

        with PIL.Image.open(astronaut) as picture:
            photo = picture.convert("RGB")
        features0, features1 = orb.extract(photo), orb.extract(photo.transpose(PIL.Image.Transpose.ROTATE_270))
        matches = photoglue.NearestNeighbor(0.8).match(features0, features1)
        x, y = matches.points0.T
        right = (matches.points1 - torch.stack([511 - y, x], dim=1)).norm(dim=1) < 3
        assert len(matches) > 200
        assert right.float().mean() > 0.9

    def test_it_goes_to_other_processes(self, orb, astronaut):
        again = pickle.loads(pickle.dumps(orb))
        assert torch.equal(again.extract(astronaut).keypoints, orb.extract(astronaut).keypoints)

    @pytest.mark.slow
    def test_training_it(self, orb, astronaut, tmp_path, capsys, monkeypatch):
        pytest.importorskip("h5py", exc_type=ImportError)
        import photoglue
        from photoglue.cli import main

        monkeypatch.chdir(EXAMPLES.parent)
        photos = tmp_path / "photos"
        photos.mkdir()
        for name in ("a.png", "b.png"):
            shutil.copy(astronaut, photos / name)
        words = (
            "train homography --features examples/custom_extractor.py:ORB --model edge --pairs 4 --batch-size 4 "
            "--views 2 --patch-size 240 200 --keypoints 64 --warmup-steps 1 --workers 0 --build-workers 0 "
            f"--device cpu --images {photos} --out {tmp_path / 'run'}"
        )
        assert main(words.split()) == 0, capsys.readouterr().err
        assert "1 photos, 1 to validate with" in capsys.readouterr().out
        matcher = photoglue.LightGlue.from_checkpoint(tmp_path / "run" / "model.safetensors")
        assert matcher.shape.kinds == ("orb-opencv",)
        assert matcher.shape.add_scale_ori
        features = orb.extract(astronaut)[torch.arange(64)]
        assert matcher.match(features, features).matches0.shape == (64,)


@pytest.mark.slow
@pytest.mark.data
def test_draw_labels(tmp_path, shared_data, monkeypatch):
    """Draws a picture, with as many matches as the truth has."""
    pytest.importorskip("cv2", exc_type=ImportError)
    pytest.importorskip("matplotlib", exc_type=ImportError)
    monkeypatch.setattr(sys, "path", [*sys.path, str(EXAMPLES)])
    module = importlib.import_module("draw_labels")
    truths = []
    monkeypatch.setattr(module, "PAIRS", 2)
    monkeypatch.setattr(module, "label", lambda *pair: truths.append(label(*pair)) or truths[-1])
    label = importlib.import_module("photoglue.training.ground_truth").label
    module.main([str(shared_data / "depth_scenes" / "cyprus"), str(tmp_path / "labels.png")])
    assert int((truths[0].matches0 >= 0).sum()) > 20
    with PIL.Image.open(tmp_path / "labels.png") as picture:
        assert picture.width > 1000
        green = [pixel for pixel in picture.convert("RGB").getdata() if pixel == (0x3D, 0xDC, 0x5B)]
    assert len(green) > 100
    assert (tmp_path / "labels-errors.png").is_file()
    photo = next((shared_data / "depth_scenes" / "cyprus" / "images").iterdir())
    module.main([str(photo), str(tmp_path / "photo.png"), "--unwarped", "--full-circle", "--scale-octaves", "0.5"])
    assert (tmp_path / "photo-errors.png").is_file()
    assert int((truths[-1].matches0 >= 0).sum()) > 20
