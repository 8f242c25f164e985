"""The folder of keyframes: batch and map take it for their own."""

import pytest
from moving_picture import SIZE, frames, models

from photoglue.errors import ConfigError

pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("h5py", exc_type=ImportError)


@pytest.fixture
def folder(tmp_path):
    """A folder with three keyframes, with masks."""
    import numpy as np

    from photoglue.geometry.camera import PinholeCamera
    from photoglue.video import KeyframeFolder, Tracker, TrackerConfig

    extractor, matcher = models()
    written = KeyframeFolder(tmp_path / "k", extractor, matcher, "walk.mp4")
    mask = np.ones((SIZE[1], SIZE[0]), dtype=bool)
    mask[:, :20] = False
    config, camera = TrackerConfig(lag=0, keyframe_every=5, keyframe_share=0.0), PinholeCamera.parse("150", SIZE)
    with Tracker(extractor, matcher, config, camera=camera) as tracker:
        for image in frames(14):
            result = tracker.push(image, mask=mask)
            if result.finished is not None:
                written.add(result.finished)
            if tracker.finish() is not None:
                raise AssertionError("a lag of 0 leaves nothing behind")
    written.close()
    return tmp_path / "k"


@pytest.mark.slow
def test_the_list(folder):
    from photoglue.datasets.photos import pairs_in
    from photoglue.video import read_keyframes

    found = read_keyframes(folder)
    assert found.source == "walk.mp4"
    assert [entry.frame for entry in found.keyframes] == [0, 5, 10]
    assert [entry.name for entry in found.keyframes] == ["000000.png", "000005.png", "000010.png"]
    link = found.keyframes[1].links[0]
    assert (link.name, link.matches >= link.inliers > 12) == ("000000.png", True)
    assert sum(value**2 for value in link.translation) == pytest.approx(1)
    assert pairs_in(folder / "pairs.txt") == [("000000.png", "000005.png"), ("000005.png", "000010.png")]


@pytest.mark.slow
def test_nothing_is_extracted_or_matched_again(folder):
    from photoglue import batch

    extractor, matcher = models()
    summary = batch.extract(folder / "images", folder / "features.h5", extractor, masks=folder / "masks")
    assert (summary.done, summary.kept) == (0, 3)
    pairs = [("000000.png", "000005.png"), ("000005.png", "000010.png"), ("000000.png", "000010.png")]
    summary = batch.match(pairs, folder / "features.h5", folder / "matches.h5", matcher)
    assert (summary.done, summary.kept) == (1, 2)


@pytest.mark.slow
def test_features_are_those_of_the_files(folder):
    import torch

    from photoglue.store import FeatureStore

    with FeatureStore.open(folder / "features.h5") as store:
        stored = store["000005.png"]
    again = models()[0].extract(folder / "images" / "000005.png", folder / "masks" / "000005.png.png")
    assert torch.equal(stored.keypoints, again.keypoints)


@pytest.mark.slow
def test_a_folder_that_is_not_empty_or_none(folder, tmp_path):
    from photoglue.video import KeyframeFolder, read_keyframes

    with pytest.raises(ConfigError, match="not empty"):
        KeyframeFolder(folder, *models())
    with pytest.raises(ConfigError, match="no folder of keyframes"):
        read_keyframes(tmp_path)
    (folder / "keyframes.json").write_text('{"format": "x"}')
    with pytest.raises(ConfigError, match="'x'"):
        read_keyframes(folder)
