import pytest

from photoglue.errors import ConfigError, WeightsError
from photoglue.export import OnnxMatcher, StagedLightGlue
from photoglue.export.load import certified_file, is_exported_matcher, load_extractor, load_matcher, named_matcher
from photoglue.matchers.nearest import NearestNeighbor


@pytest.mark.slow
def test_files_and_folders(matcher_file, staged_folder, extractor_file):
    assert isinstance(load_matcher(matcher_file), OnnxMatcher)
    assert isinstance(named_matcher(str(staged_folder)), StagedLightGlue)
    assert load_extractor(extractor_file, max_keypoints=9).config.max_keypoints == 9
    assert is_exported_matcher(matcher_file) and is_exported_matcher(staged_folder)
    assert certified_file(staged_folder).name == "staged.json" and certified_file(matcher_file) == matcher_file


def test_names(tmp_path):
    assert named_matcher("lightglue") is None
    assert isinstance(named_matcher("nearest"), NearestNeighbor)
    with pytest.raises(ConfigError, match=r"no matcher 'lightglu'. There are: lightglue, nearest, and files"):
        named_matcher("lightglu")
    with pytest.raises(WeightsError, match="is no staged matcher"):
        load_matcher(tmp_path)
    assert not is_exported_matcher(tmp_path) and not is_exported_matcher(tmp_path / "absent.onnx")
