import pytest
import torch

pytestmark = [pytest.mark.weights, pytest.mark.usefixtures("not_enlarged")]


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
    from photoglue import Pipeline, create_extractor
    from photoglue.errors import ConfigError
    from photoglue.matchers.nearest import NearestNeighbor

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
    from photoglue import Pipeline, create_extractor
    from photoglue.errors import ConfigError

    with pytest.raises(ConfigError, match=r"There are no features 'alked'\. There are: aliked, "):
        Pipeline.pretrained("alked")
    with pytest.raises(ConfigError, match=r"disk has no option edge_threshold\. It has: max_keypoints, "):
        create_extractor("disk", edge_threshold=3)


def test_options_of_the_extractor():
    from photoglue import Pipeline

    config = Pipeline.pretrained(detection_threshold=0.5, max_keypoints=None, resize=None).extractor.config
    assert (config.detection_threshold, config.max_keypoints, config.resize) == (0.5, None, None)


def test_a_matcher_has_its_own_options():
    from photoglue import LightGlueConfig, NearestNeighbor, Pipeline
    from photoglue.errors import ConfigError

    with pytest.raises(ConfigError, match="config and weights are LightGlue's"):
        Pipeline.pretrained(matcher=NearestNeighbor(), config=LightGlueConfig())


def test_weights_by_the_name_of_a_released_model(tmp_path, monkeypatch):
    from photoglue.errors import WeightsError
    from photoglue.pipeline import create_matcher

    monkeypatch.chdir(tmp_path)
    ours = create_matcher("sift", precision="float32")
    named = create_matcher("anything", weights="sift-photoglue", precision="float32")
    assert named.shape == ours.shape
    assert named.verdict == ours.verdict
    with pytest.raises(WeightsError, match=r"A released model is called 'sift-official'"):
        create_matcher("sift", weights="sift-offical")
    (tmp_path / "sift-photoglue").write_text("no weights")  # a file of that name goes first
    with pytest.raises(WeightsError):
        create_matcher("sift", weights="sift-photoglue")
