"""Wheels have the compiled library where a compiler is, and are pure Python where none is."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "photoglue_native.so"
pytest.importorskip("hatchling", exc_type=ImportError)


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """As much of the project as its build reads, with one small source instead of all."""
    root = tmp_path / "checkout"
    package = root / "src" / "photoglue"
    (package / "native").mkdir(parents=True)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, root)
    for module in ("__init__", "errors", "version", "native/__init__", "native/build", "native/library"):
        shutil.copy(ROOT / "src" / "photoglue" / f"{module}.py", package / f"{module}.py")
    source = 'extern "C" const char* photoglue_sources() { return PHOTOGLUE_SOURCES; }'
    (package / "native" / "api.cpp").write_text(source)
    for variable in ("PHOTOGLUE_BUILD", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    return root


@pytest.fixture
def compiler():
    if sys.platform != "linux" or not shutil.which("c++"):
        pytest.skip("no C++ compiler")


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ziglang", None)


def wheel_of(root: Path, version: str = "standard") -> Path:
    from hatchling.builders.wheel import WheelBuilder

    return Path(next(WheelBuilder(str(root)).build(directory=str(root / "dist"), versions=[version])))


def requirements(root: Path) -> list[str]:
    from hatchling.builders.wheel import WheelBuilder

    return WheelBuilder(str(root)).config.dependencies


@pytest.mark.slow
def test_a_wheel_has_the_library(checkout, compiler):
    (checkout / "src" / "photoglue" / "native" / LIBRARY).write_bytes(b"of somebody's checkout")
    assert requirements(checkout) == []
    wheel = wheel_of(checkout)
    assert wheel.name.endswith(f"-py3-none-linux_{__import__('platform').machine()}.whl")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        assert file.read(f"photoglue/native/{LIBRARY}")[:4] == b"\x7fELF"
    assert names.count(f"photoglue/native/{LIBRARY}") == 1
    assert "photoglue/native/api.cpp" in names, "who has a compiler later can build it"
    assert [name for name in names if "licenses/" in name] == [next(n for n in names if n.endswith("/LICENSE"))]
    assert [path.name for path in wheel.parent.iterdir()] == [wheel.name]


def test_without_a_compiler_all_is_python(checkout, no_compiler, capsys):
    assert requirements(checkout) == ["ziglang>=0.13"]
    wheel = wheel_of(checkout)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not any(LIBRARY in name for name in zipfile.ZipFile(wheel).namelist())
    printed = capsys.readouterr()
    assert "all runs in torch. There is no C++ compiler." in printed.out + printed.err


def test_what_does_not_compile_is_left_out(checkout, compiler, monkeypatch):
    (checkout / "src" / "photoglue" / "native" / "api.cpp").write_text("no C++")
    assert wheel_of(checkout).name.endswith("-py3-none-any.whl")


def test_chosen(checkout, no_compiler, monkeypatch):
    monkeypatch.setenv("PHOTOGLUE_BUILD", "none")
    assert requirements(checkout) == []
    assert wheel_of(checkout).name.endswith("-py3-none-any.whl")
    monkeypatch.setenv("PHOTOGLUE_BUILD", "zig")
    with pytest.raises(RuntimeError, match=r"There is no C\+\+ compiler"):
        wheel_of(checkout)
    monkeypatch.setenv("PHOTOGLUE_BUILD", "beos")
    with pytest.raises(ValueError, match="PHOTOGLUE_BUILD is 'beos'; it can be none, zig, linux-x86_64"):
        wheel_of(checkout)


@pytest.mark.rare
def test_an_editable_install_follows_the_sources(checkout, compiler):
    native = checkout / "src" / "photoglue" / "native"
    wheel_of(checkout, "editable")
    first = (native / LIBRARY).stat().st_mtime_ns
    wheel_of(checkout, "editable")
    assert (native / LIBRARY).stat().st_mtime_ns == first
    (native / "api.cpp").write_text((native / "api.cpp").read_text() + "\n")
    wheel_of(checkout, "editable")
    assert (native / LIBRARY).stat().st_mtime_ns > first


def test_the_source_distribution_can_be_built_from(checkout, compiler, tmp_path):
    from hatchling.builders.sdist import SdistBuilder

    (checkout / "src" / "photoglue" / "native" / LIBRARY).write_bytes(b"of somebody's checkout")
    packed = next(SdistBuilder(str(checkout)).build(directory=str(tmp_path / "dist"), versions=["standard"]))
    shutil.unpack_archive(packed, tmp_path / "unpacked")
    (root,) = (tmp_path / "unpacked").iterdir()
    assert {"hatch_build.py", "LICENSE"} <= {path.name for path in root.iterdir()}
    assert not list(root.rglob(LIBRARY))
    assert "linux" in wheel_of(root).name


@pytest.mark.rare
@pytest.mark.parametrize("target", ["linux-aarch64", "macos-x86_64", "macos-arm64", "windows-x86_64"])
def test_other_systems(target, tmp_path):
    """All sources compile for them. Zig's own C++ library is compiled first, which takes a minute a system, once."""
    pytest.importorskip("ziglang", exc_type=ImportError)
    code = (
        "import pathlib, sys; sys.path[:0] = ['.', 'src']; import hatch_build as hook; "
        "build = hook._modules('.'); zig, system, _ = hook.TARGETS[sys.argv[1]]; "
        "out = pathlib.Path(sys.argv[2]) / build.library_name(system); "
        "build.build(out, compiler=(*hook.ZIG, '-target', zig))"
    )
    command = [sys.executable, "-c", code, target, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.iterdir()
    magic = {"linux": b"\x7fELF", "macos": b"\xcf\xfa\xed\xfe", "windows": b"MZ"}[target.partition("-")[0]]
    assert made.read_bytes().startswith(magic)
