"""The library is loaded where it is, and its absence has a reason."""

import pytest

from photoglue.native import library as module


@pytest.fixture
def fresh(monkeypatch):
    """Nothing is remembered of other tests, nor afterwards of this one."""
    for function in (module.library, module.absence, module._load):
        function.cache_clear()
    yield monkeypatch
    for function in (module.library, module.absence, module._load):
        function.cache_clear()


def test_loaded():
    if module.library() is None:
        pytest.skip(module.absence())
    assert module.absence() is None
    assert module.instruction_set() in (None, *module.INT16_SETS)
    assert module.available() == (module.instruction_set() is not None)


def test_absent(fresh, tmp_path):
    fresh.setenv(module.VARIABLE, str(tmp_path / "none.so"))
    assert module.library() is None
    assert "was not built" in module.absence()
    assert not module.available()
    assert not module.int16_supported()


def test_no_library(fresh, tmp_path):
    (tmp_path / "lib.so").write_bytes(b"text")
    fresh.setenv(module.VARIABLE, str(tmp_path / "lib.so"))
    assert module.library() is None
    assert "cannot be loaded" in module.absence()


def test_another_version(fresh):
    if module.library() is None:
        pytest.skip(module.absence())
    module._load.cache_clear()
    module.library.cache_clear()
    fresh.setattr(module, "ABI", -1)
    assert module.library() is None
    assert "build it again" in module.absence()
