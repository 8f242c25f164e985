import shutil

import pytest
from exported_files import recertified

from photoglue.export.staged_matcher import read_staged
from photoglue.exported import OnnxFile, cases_path, certificate_path

pytest.importorskip("onnxscript", exc_type=ImportError)


@pytest.mark.slow
def test_verify(cli, matcher_file, staged_folder, extractor_file):
    code, out, err = cli("export", "verify", matcher_file)
    assert (code, err) == (0, "")
    assert "300 × 200 points (made up)" in out and "100.00%" in out
    assert f"file        {matcher_file} (opset 18, float32, photoglue)" in out
    assert f"certificate {certificate_path(matcher_file)}" in out
    code, out, _ = cli("export", "verify", staged_folder)
    assert code == 0 and f"certificate {staged_folder / 'staged.json'}" in out
    code, out, _ = cli("export", "verify", extractor_file)
    assert code == 0 and "max. Δ px" in out


@pytest.mark.slow
def test_verify_says_what_differs(cli, matcher_file, tmp_path):
    path = recertified(matcher_file, tmp_path / "a.onnx", graph_sha256="0")
    code, _, err = cli("export", "verify", path)
    assert code == 1 and "was changed after it was certified" in err
    path = recertified(matcher_file, tmp_path / "b.onnx")
    shutil.copy(cases_path(matcher_file), cases_path(path))
    code, _, err = cli("export", "verify", path, "--provider", "NoneSuch")
    assert code == 1 and "There are:" in err


@pytest.mark.slow
def test_options_reach_the_export(cli, matcher_file, staged_folder, monkeypatch, tmp_path):
    asked = {}

    def instead(certificate):
        def export(out, features, **options):
            asked.update(options, features=features)
            return certificate

        return export

    matcher, staged = OnnxFile(matcher_file).certificate, read_staged(staged_folder)
    monkeypatch.setattr("photoglue.cli.export.export_matcher", instead(matcher))
    monkeypatch.setattr("photoglue.cli.export.export_staged", instead(staged))
    options = ("--features", "own.safetensors", "--layers", 7, "--opset", 20)
    code, text, err = cli("export", "matcher", *options, "--dtype", "float16", "--out", tmp_path / "a.onnx")
    assert (code, err) == (0, "") and "a model of your own (unknown)" in text
    assert (asked["features"], asked["n_layers"], asked["opset"]) == ("own.safetensors", 7, 20)
    assert asked["dtype"] == "float16" and asked["flavour"] == "photoglue"
    asked.clear()
    code, text, _ = cli("export", "matcher", *options, "--staged", "--out", tmp_path / "staged")
    assert code == 0 and asked["n_layers"] == 7 and "dtype" not in asked


def test_what_does_not_go_together(cli, tmp_path):
    code, _, err = cli("export", "matcher", "--out", tmp_path / "a", "--staged", "--flavour", "colmap")
    assert code == 1 and "--staged is for --flavour photoglue" in err
    code, _, err = cli("export", "matcher", "--out", tmp_path / "a.onnx", "--opset", "12")
    assert code == 1 and "opset is 12" in err
    code, _, err = cli("export", "extractor", "--out", tmp_path / "a.onnx", "--features", "superpoint")
    assert code == 1 and "--allow-noncommercial" in err
    code, _, err = cli("export", "bundle", "--out", tmp_path / "b", "--features", "sift")
    assert code == 1 and "no network to export" in err
