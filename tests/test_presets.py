import pytest


def test_presets_are_ordered_from_careful_to_fast():
    from photoglue.presets import PRESETS

    confidences = [preset.depth_confidence or 1.0 for preset in PRESETS.values()]
    assert confidences == sorted(confidences, reverse=True)
    assert list(PRESETS) == ["best", "accurate", "sfm", "default", "slam", "realtime", "edge"]
    assert PRESETS["sfm"] == PRESETS["accurate"]
    assert PRESETS["slam"] == PRESETS["default"]


@pytest.mark.slow
@pytest.mark.weights
def test_the_edge_preset_is_the_released_network_in_five_layers(motorcycle):
    from photoglue import LightGlueConfig, Pipeline, match_images, preset
    from photoglue.errors import ConfigError

    pipeline = Pipeline.pretrained(**preset("edge"), precision="float32")
    assert (pipeline.extractor.config.max_keypoints, pipeline.extractor.config.resize) == (512, 640)
    matches = pipeline.match(*motorcycle)
    assert len(matches) > 200
    assert matches.stop <= matches.n_layers == 5
    assert match_images(*motorcycle, **preset("edge"), precision="float32").indices.equal(matches.indices)
    assert preset("slam") == {"config": LightGlueConfig()}
    with pytest.raises(ConfigError, match="preset is 'fast'; it must be one of best, accurate, sfm, default"):
        preset("fast")


def test_the_best_preset_brings_points_pixels_refinement_and_disk():
    from photoglue import LightGlueConfig, preset

    options = {"max_keypoints": 4096, "resize": 1600, "refine": "subpixel", "also": "disk,crop"}
    assert preset("best") == {"config": LightGlueConfig.accurate(), **options}
    assert "also" not in preset("best", "sift") and preset("best", "disk") == preset("best")
