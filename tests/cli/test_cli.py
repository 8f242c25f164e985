"""`photoglue extract`: what it prints, writes and returns."""

import numpy as np
import PIL.Image
import pytest


def save(path, array):
    PIL.Image.fromarray(array).save(path)
    return path


@pytest.mark.weights
class TestExtract:
    def test_store_and_resume(self, cli, small, tmp_path):
        from photoglue.store import FeatureStore

        folder = tmp_path / "photos"
        (folder / "sub").mkdir(parents=True)
        small[0].rename(folder / "a.png")
        small[1].rename(folder / "sub" / "b.png")
        store = tmp_path / "feats.h5"
        code, printed, err = cli("extract", folder, "--store", store, "--max-keypoints", 200)
        assert (code, err) == (0, "")
        assert "2 photos" in printed
        with FeatureStore.open(store, "r") as opened:
            assert sorted(opened.names()) == ["a.png", "sub/b.png"]
            assert opened["sub/b.png"].kind == "aliked-n16"
            assert len(opened["a.png"]) == 200
        save(folder / "c.png", np.zeros((50, 50, 3), np.uint8))
        code, printed, _ = cli("extract", folder, "--store", store, "--max-keypoints", 200)
        assert code == 0
        assert "2 photos were there already" in printed
        code, _, err = cli("extract", folder, "--store", store, "--max-keypoints", 300)
        assert code == 1
        assert "max_keypoints" in err

    def test_unreadable_photos_are_listed(self, cli, small, tmp_path):
        (tmp_path / "bad.jpg").write_text("hello")
        code, printed, _ = cli("extract", small[0], tmp_path / "bad.jpg", "--store", tmp_path / "f.h5")
        assert code == 1
        assert "1 photos" in printed
        assert "skipped:" in printed
        assert "bad.jpg" in printed

    def test_nothing_there(self, cli, tmp_path):
        code, _, err = cli("extract", tmp_path / "absent", "--store", tmp_path / "f.h5")
        assert code == 1
        assert "There is no file or folder" in err
        code, _, err = cli("extract", tmp_path, "--store", tmp_path / "f.h5")
        assert code == 1
        assert "There are no photos in" in err
        assert not (tmp_path / "f.h5").exists()
