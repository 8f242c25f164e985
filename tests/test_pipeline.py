import pytest
import torch

pytestmark = pytest.mark.weights


@pytest.mark.slow
def test_two_photos(motorcycle):
    import photoglue

    matches = photoglue.match_images(*motorcycle, max_keypoints=512)
    assert len(matches) > 200
    assert ((matches.points0 - matches.points1)[:, 1].abs() < 2).float().mean() > 0.9  # rectified: rows agree
    again = photoglue.match_images(*motorcycle, max_keypoints=512)
    assert torch.equal(again.matches0, matches.matches0)


@pytest.mark.slow
def test_many_pairs_read_each_image_once(motorcycle, monkeypatch):
    from photoglue.pipeline import Pipeline

    pipeline = Pipeline.pretrained(max_keypoints=200, precision="float32")
    found = pipeline.match_many(motorcycle, [(0, 1), (1, 0), (0, 0)])
    alone = pipeline.match(*motorcycle)
    assert torch.equal(found[0].matches0, alone.matches0)
    assert torch.equal(found[1].matches1, alone.matches0)
    same = found[2].matches0 == torch.arange(len(found[2].matches0))
    assert same.float().mean() > 0.95


@pytest.mark.parametrize("pair", [(0, 2), (-1, 0)])
def test_numbers_that_are_no_images(motorcycle, pair):
    """Said before any image is extracted."""
    from photoglue.errors import ConfigError
    from photoglue.matchers.nearest import NearestNeighbor
    from photoglue.pipeline import Pipeline, create_extractor

    pipeline = Pipeline(create_extractor("aliked-t16"), NearestNeighbor())
    with pytest.raises(ConfigError, match=r"is not among the 2 images; they count from 0"):
        pipeline.match_many(["absent.jpg", "absent.jpg"], [(0, 1), pair])


@pytest.mark.slow
def test_masks(motorcycle, tmp_path):
    import numpy as np

    from photoglue.pipeline import Pipeline

    mask = np.zeros((500, 741), bool)
    mask[250:] = True
    pipeline = Pipeline.pretrained(max_keypoints=300)
    matches = pipeline.match(*motorcycle, mask0=mask)
    assert matches.keypoints0[:, 1].min() > 248
    assert matches.keypoints1[:, 1].min() < 248


def test_unknown_features():
    from photoglue.errors import ConfigError
    from photoglue.pipeline import Pipeline, create_extractor

    with pytest.raises(ConfigError, match=r"There are no features 'alked'\. There are: aliked, "):
        Pipeline.pretrained("alked")
    with pytest.raises(ConfigError, match=r"disk has no option edge_threshold\. It has: max_keypoints, "):
        create_extractor("disk", edge_threshold=3)
