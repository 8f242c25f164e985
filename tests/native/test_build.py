"""The C++ part compiles, and says what is wrong where it does not."""

import ctypes
import shutil
import sys

import pytest

from photoglue.errors import PhotoGlueError
from photoglue.native.build import build, library_name, sources


def test_sources():
    assert "api.cpp" in {source.name for source in sources()}


def test_names():
    assert [library_name(system) for system in ("linux", "darwin", "win32")] == [
        "photoglue_native.so", "photoglue_native.dylib", "photoglue_native.dll",
    ]  # fmt: skip


def test_build(tmp_path, monkeypatch):
    """With one source only: all of them take a minute. Flags that a compiler does not know are left out."""
    from photoglue.native import build as module

    if not any(map(shutil.which, module.COMPILERS)):
        pytest.skip("no C++ compiler")
    monkeypatch.delenv("CXX", raising=False)
    (tmp_path / "one.cpp").write_text('extern "C" int answer() { return 42; }')
    monkeypatch.setattr(module, "OPTIONS", ("-fPIC",))
    monkeypatch.setattr(module, "sources", lambda: [tmp_path / "one.cpp"])
    monkeypatch.setitem(module.X86_FLAGS, "one.cpp", ("-mavx2", "-mtiles-of-another-century"))
    out = build(tmp_path / "new" / "one.so")
    assert ctypes.CDLL(str(out)).answer() == 42
    assert [path.name for path in out.parent.iterdir()] == ["one.so"]


def test_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(PhotoGlueError, match=r"no C\+\+ compiler on the path .* Install one"):
        build(tmp_path / "lib.so")
    with pytest.raises(PhotoGlueError, match="cannot be run"):
        build(tmp_path / "lib.so", compiler=("nothing-of-the-kind",))


def test_a_compiler_that_fails(tmp_path):
    failing = (sys.executable, "-c", "import sys; sys.exit('no such register')")
    with pytest.raises(PhotoGlueError, match="no such register"):
        build(tmp_path / "lib.so", compiler=failing)
    assert not list(tmp_path.iterdir())
