import json
import shutil

import numpy as np
import pytest
from exported_files import recertified

from photoglue.errors import ConfigError, LicenceError, WeightsError
from photoglue.export import verify
from photoglue.export.cases import Case, read_cases
from photoglue.export.verify import compared, run_checks
from photoglue.exported import OnnxFile, cases_path, certificate_path

onnx = pytest.importorskip("onnx", exc_type=ImportError)


@pytest.fixture
def copied(matcher_file, tmp_path):
    path = tmp_path / "copy.onnx"
    for of in (lambda each: each, cases_path, certificate_path):
        shutil.copy(of(matcher_file), of(path))
    return path


@pytest.mark.slow
def test_a_file_as_it_was_written(matcher_file):
    certificate = verify(matcher_file)
    assert certificate.faults == [] and certificate.providers[-1] == "CPUExecutionProvider"
    assert {check.sizes for check in certificate.checks} >= {(0, 0), (1, 1), (2, 2), (300, 200), (512, 512)}
    assert json.loads(certificate_path(matcher_file).read_text())["file_sha256"] == certificate.file_sha256


@pytest.mark.slow
def test_changed_weights(copied):
    model = onnx.load(str(copied))
    largest = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    largest.raw_data = bytes(len(largest.raw_data))
    onnx.save(model, str(copied))
    with pytest.raises(WeightsError, match="was changed after it was certified"):
        verify(copied)


@pytest.mark.slow
def test_changed_certificates(copied):
    beside = certificate_path(copied)
    beside.write_text(beside.read_text().replace('"licence": "unknown"', '"licence": "MIT"'))
    with pytest.raises(WeightsError, match="is not the certificate of"):
        verify(copied)
    recertified(copied, copied, licence="MIT")  # in the file, but not beside it
    beside.write_text(beside.read_text().replace('"licence": "MIT"', '"licence": "BSD"'))
    with pytest.raises(WeightsError, match="is not the certificate of"):
        verify(copied)


@pytest.mark.slow
def test_other_answers_are_told(matcher_file):
    case = read_cases(cases_path(matcher_file))[5]
    wrong = {**case.expected, "matches0": np.roll(case.expected["matches0"], 1)}
    file = OnnxFile(matcher_file, threads=1)
    faults = run_checks(file, [Case(name="rolled", real=False, inputs=case.inputs, expected=wrong)]).faults
    assert len(faults) == 1 and faults[0].startswith("rolled: ")


@pytest.mark.slow
def test_extractor_and_its_gate(extractor_file, tmp_path):
    certificate = verify(extractor_file)
    assert certificate.faults == [] and certificate.checks[0].count > 10
    path = recertified(extractor_file, tmp_path / "gated.onnx", commercial=False)
    with pytest.raises(LicenceError):
        verify(path)
    with pytest.raises(ConfigError, match=r"There is no .*gated.onnx.npz"):
        verify(path, allow_noncommercial=True)


def test_compared():
    expected = {"matches0": np.array([1, -1]), "mscores0": np.array([0.9, 0.0])}
    case = Case(name="a", real=True, inputs={}, expected=expected)
    check = compared(case, np.array([1, 0]), np.array([0.8, 0.0]), (2, 2))
    assert (check.count, check.equal, check.max_error) == (1, 0.5, pytest.approx(0.1))
    none = {"matches0": np.zeros(0, int), "mscores0": np.zeros(0)}
    assert compared(Case(name="b", real=True, inputs={}, expected=none), *none.values(), (0, 2)).equal == 1.0
