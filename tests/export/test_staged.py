import shutil

import numpy as np
import pytest
from exported_files import small_lightglue

from photoglue.errors import ConfigError, OutputError, WeightsError
from photoglue.export import export_staged, verify
from photoglue.export.cases import cases_to_bytes, read_cases
from photoglue.export.staged import CASES, staged_cases

pytest.importorskip("onnxscript", exc_type=ImportError)


@pytest.fixture
def copied(staged_folder, tmp_path):
    return shutil.copytree(staged_folder, tmp_path / "copy")


def test_certificate_has_exit_layers(staged_folder):
    certificate = verify(staged_folder)
    assert certificate.role == "staged" and certificate.faults == []
    assert all(check.exit_layer == check.expected_exit is not None for check in certificate.checks)
    names = {f"{kind}{number}.onnx" for kind in ("layer", "head") for number in range(3)}
    assert {path.name for path in staged_folder.iterdir()} == names | {"embed.onnx", "staged.json", "staged.npz"}


def test_changed_and_missing_files(copied):
    (copied / "head1.onnx").write_bytes((copied / "head0.onnx").read_bytes())
    with pytest.raises(WeightsError, match="was changed after it was certified"):
        verify(copied)
    (copied / "layer1.onnx").unlink()
    with pytest.raises(WeightsError, match=r"layer1.onnx' is missing; export again"):
        verify(copied)
    (copied / "staged.json").write_text("{}")
    with pytest.raises(WeightsError, match="is no staged matcher"):
        verify(copied)


def test_another_exit_is_told(copied):
    cases = read_cases(copied / CASES)
    cases[-1].expected["stop"] = np.array(9)
    (copied / CASES).write_bytes(cases_to_bytes(cases))
    assert any("exit after layer" in fault and "not 9" in fault for fault in verify(copied).faults)


def test_what_cannot_be_had(tmp_path):
    with pytest.raises(ConfigError, match="at least 2 layers"):
        export_staged(tmp_path / "one", small_lightglue(), n_layers=1)
    with pytest.raises(ConfigError, match="opset is 17"):
        export_staged(tmp_path / "old", small_lightglue(), opset=17)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        export_staged(tmp_path / "file", small_lightglue())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_cases_know_the_exit():
    cases = staged_cases(small_lightglue(n_layers=2), [])
    assert {int(case.expected["stop"]) for case in cases} <= {1, 2} and len(cases) >= 5
