"""Installations are broken, and the check is read."""

import types

import pytest
import torch


def checks(*names):
    from photoglue.doctor import installation

    return {check.name: check for name in names for check in getattr(installation, name)()}


def test_two_opencvs(monkeypatch):
    from photoglue.doctor import installation

    there = {"opencv-python": "5.0", "opencv-python-headless": "4.9"}
    monkeypatch.setattr(installation, "_version", there.get)
    check = checks("_opencv")["OpenCV"]
    assert check.status == "fault"
    removed = "pip uninstall -y opencv-python opencv-python-headless"
    assert check.command == f"{removed} && pip install opencv-python-headless"
    del there["opencv-python"]
    assert checks("_opencv")["OpenCV"].status == "ok"


def test_corrupt_weights(monkeypatch, tmp_path):
    from photoglue.weights import FOLDER_VARIABLE

    (tmp_path / "aliked_lightglue.pth").write_bytes(b"cut off")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    from photoglue.doctor.installation import _weights

    fault = next(check for check in _weights() if check.status == "fault")
    assert "is not aliked-lightglue" in fault.found
    assert fault.command == f"rm '{tmp_path / 'aliked_lightglue.pth'}' && photoglue weights fetch aliked-lightglue"


def test_absent_weights(monkeypatch):
    from photoglue.doctor import installation

    monkeypatch.setattr(installation, "locate", lambda record: None)
    found = list(installation._weights())
    assert [check.status for check in found] == ["note", "note", "ok"]
    assert found[0].command == "photoglue weights fetch aliked-n16 aliked-lightglue"


def test_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert checks("_threads")["threads"].status == "note"
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    import os

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert checks("_threads")["threads"].status == "ok"


def test_torch_without_the_gpu(monkeypatch):
    from photoglue.doctor import installation

    monkeypatch.setattr(installation, "NVIDIA", installation.Path(__file__))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(installation, "_version", lambda package: None)
    for built, words in ((None, "is built without CUDA"), ("12.8", "does not reach the NVIDIA GPU")):
        monkeypatch.setattr(torch.version, "cuda", built)
        check = checks("_torch")["GPU"]
        assert check.status == "fault"
        assert words in check.found


def test_broken_and_absent_packages(monkeypatch, tmp_path):
    from photoglue.doctor import installation

    (tmp_path / "broken_module.py").write_text("raise OSError('libfoo.so is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    optional = {"broken_module": ("store", "stores"), "absent_module": ("sfm", "maps"), "json": ("viz", "pictures")}
    monkeypatch.setattr(installation, "OPTIONAL", optional)
    found = checks("_optional")
    assert [check.status for check in found.values()] == ["fault", "note", "ok"]
    assert "OSError: libfoo.so is missing" in found["broken_module"].found
    assert found["absent_module"].command == "pip install 'photoglue[sfm]'"


def test_broken_torchvision(monkeypatch):
    from photoglue.doctor import installation

    monkeypatch.setattr(installation, "_version", lambda package: "0.1")
    monkeypatch.setattr(installation, "_import_error", lambda module: "RuntimeError: operator nms does not exist")
    assert checks("_torch")["torchvision"].status == "note"


def test_native_library(monkeypatch):
    from photoglue.doctor import installation

    absent = types.SimpleNamespace(status=lambda: "was not built", absence=lambda: "was not built")
    monkeypatch.setattr(installation, "library", absent)
    assert checks("_native")["native library"].command == "python -m photoglue.native.build"


def test_cache_that_cannot_be_written_to(monkeypatch, tmp_path):
    from photoglue.doctor import installation

    monkeypatch.setattr(installation.os, "access", lambda *_: False)
    monkeypatch.setenv("PHOTOGLUE_CACHE", str(tmp_path / "cache"))
    assert checks("_cache")["cache"].status == "fault"


@pytest.mark.slow
def test_all_checks():
    from photoglue.doctor import check_installation

    found = check_installation()
    assert {"versions", "GPU", "native library", "threads", "weights", "matching", "cv2"} <= {
        check.name for check in found
    }
    assert all((check.command is None) == (check.status == "ok") for check in found)
