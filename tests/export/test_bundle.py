import json
import shutil

import pytest

from photoglue.errors import FeatureKindError, OutputError
from photoglue.export import bundle
from photoglue.exported import OnnxFile


@pytest.fixture
def exporters(monkeypatch, matcher_file, extractor_file):
    """Instead of exporting: copies of files that are there; gives what was asked for."""
    asked = {}

    def copy(source, role):
        def export(out, features, **options):
            asked[role] = (features, options)
            shutil.copy(source, out)
            return OnnxFile(source, threads=1).certificate

        return export

    monkeypatch.setattr(bundle, "export_extractor", copy(extractor_file, "extractor"))
    monkeypatch.setattr(bundle, "export_matcher", copy(matcher_file, "matcher"))
    return asked


@pytest.mark.slow
def test_two_files_and_how_they_follow(exporters, tmp_path, monkeypatch):
    with pytest.raises(FeatureKindError, match="gives 'aliked-t16'; the matcher is for made-up"):
        bundle.export_bundle(tmp_path / "odd")
    monkeypatch.setattr(bundle, "_fits", lambda extractor, matcher: None)
    made = bundle.export_bundle(tmp_path / "both", "aliked", n_layers=5, max_keypoints=300, deform="portable")
    assert made.faults == []
    assert exporters["extractor"][1]["max_keypoints"] == 300 and exporters["extractor"][1]["deform"] == "portable"
    assert exporters["matcher"][1]["n_layers"] == 5 and "deform" not in exporters["matcher"][1]
    manifest = json.loads((tmp_path / "both" / "manifest.json").read_text())
    assert manifest["format"] == "photoglue-bundle"
    assert manifest["files"]["matcher.onnx"]["inputs"][0]["name"] == "kpts0"
    assert manifest["files"]["extractor.onnx"]["features"] == "aliked-t16"


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        bundle.export_bundle(tmp_path / "file")
