"""One call does what the command does."""

from dataclasses import replace

import pytest

from photoglue.datasets.layouts import load_dataset
from photoglue.errors import ConfigError
from photoglue.evaluation import Settings, evaluate
from photoglue.evaluation.results import read_result

SETTINGS = Settings(workers=0, device="cpu")


@pytest.mark.slow
def test_results_and_a_report_that_earlier_results_join(planes, tmp_path):
    seen = []
    first = evaluate([planes], ["sift+nn"], tmp_path, SETTINGS, progress=lambda *told: seen.append(told))
    (result,) = first.results
    assert read_result(tmp_path / "planes.sift+nn.json") == result
    assert seen[-1] == ("planes: sift+nn", 4, 4)
    second = evaluate([load_dataset(planes, max_pairs=4)], ["sift+ratio"], tmp_path, SETTINGS)
    assert [each.method for each in second.results] == ["sift+ratio"]
    page = second.report.read_text(encoding="utf-8")
    assert "sift+<wbr>nn" in page
    assert "sift+<wbr>ratio" in page
    other = replace(SETTINGS, threshold_px=1.0)
    with pytest.raises(ConfigError, match=r"has a result of sift\+\w+ on planes under another protocol \(threshold_px"):
        evaluate([planes], ["sift+lightglue"], tmp_path, other)
    assert not (tmp_path / "planes.sift+lightglue.json").exists()
