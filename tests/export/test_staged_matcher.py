import pickle

import pytest
from exported_files import small_lightglue

from photoglue import LightGlueConfig
from photoglue.errors import WeightsError
from photoglue.export import StagedLightGlue
from photoglue.export.cases import made_up


def test_is_an_ordinary_matcher(staged_folder):
    model = small_lightglue().prepare(None)
    pairs = [made_up(model, 30, 40), made_up(model, 0, 4), made_up(model, 1, 1)]
    config = LightGlueConfig(depth_confidence=0.98, width_confidence=0.3, pruning_min_keypoints=10)
    model.config = config
    matcher = pickle.loads(pickle.dumps(StagedLightGlue(staged_folder, config)))
    for found, expected in zip(matcher.match_many(pairs), model.match_many(pairs), strict=True):
        assert (found.matches0 == expected.matches0).all() and (found.matches1 == expected.matches1).all()
        assert found.stop == expected.stop and (found.prune0 == expected.prune0).all()
        assert found.precision == "onnx-float32"


def test_other_folders(tmp_path):
    with pytest.raises(WeightsError, match="is no staged matcher of `photoglue export`"):
        StagedLightGlue(tmp_path)
