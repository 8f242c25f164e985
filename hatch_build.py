"""Compiles the C++ part into wheels and editable installs; where nothing compiles, the package is pure Python.

The compiler is the system's; without one, the `ziglang` of PyPI is asked for, 80 MB, on the systems that it exists for.
``PHOTOGLUE_BUILD`` chooses otherwise: "none" compiles nothing, "zig" uses `ziglang` in any case, and a name of TARGETS
makes the wheel of another system with it: ``PHOTOGLUE_BUILD=linux-aarch64 python -m build --wheel``.
"""

import importlib
import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
import types
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ZIG = (sys.executable, "-m", "ziglang", "c++", "-s", "-mcpu=baseline")
"""Without debug information, and for all processors of a kind, as other compilers do by themselves."""
TARGETS = {
    "linux-x86_64": ("x86_64-linux-gnu.2.17", "linux", "manylinux_2_17_x86_64"),
    "linux-aarch64": ("aarch64-linux-gnu.2.17", "linux", "manylinux_2_17_aarch64"),
    "macos-x86_64": ("x86_64-macos.10.15", "darwin", "macosx_10_15_x86_64"),
    "macos-arm64": ("aarch64-macos.11.0", "darwin", "macosx_11_0_arm64"),
    "windows-x86_64": ("x86_64-windows-gnu", "win32", "win_amd64"),
}
"""What wheels are made for: zig's name of it, Python's name of the system, and the tag of the wheel."""


class NativeBuildHook(BuildHookInterface):
    """Puts the library beside its sources: in the wheel, or in the checkout of an editable install."""

    folder: str | None = None
    """Holds the library until it is in the wheel."""

    def dependencies(self) -> list[str]:
        """A compiler, if there is none here and PyPI has one."""
        wanted = os.environ.get("PHOTOGLUE_BUILD", "")
        if self.target_name != "wheel" or wanted == "none":
            return []
        known = sys.platform in ("linux", "darwin", "win32") and platform.machine().lower() in (
            "x86_64", "amd64", "aarch64", "arm64",
        )  # fmt: skip
        return ["ziglang>=0.13"] if wanted or (known and not _modules(self.root).compiler_here()) else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say in the wheel's name what it runs on."""
        wanted = os.environ.get("PHOTOGLUE_BUILD", "")
        if self.target_name != "wheel" or wanted == "none":
            return
        if wanted not in ("", "zig", *TARGETS):
            raise ValueError(f"PHOTOGLUE_BUILD is {wanted!r}; it can be none, zig, {', '.join(TARGETS)}.")
        build = _modules(self.root)
        target, system, tag = TARGETS.get(wanted, (None, sys.platform, _tag()))
        name = build.library_name(system)
        editable = version == "editable"
        if editable and not wanted and build.up_to_date(build.FOLDER / name):
            return
        self.folder = None if editable else tempfile.mkdtemp(prefix="photoglue-wheel-")
        out = Path(self.folder or build.FOLDER) / name
        if not self._compiled(build, out, wanted, target) or editable:
            return
        build_data["force_include"][str(out)] = f"photoglue/native/{name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{tag}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what is in the wheel now."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _compiled(self, build: Any, out: Path, wanted: str, target: str | None) -> bool:
        """Whether some compiler made the library; what kept the others from it is told."""
        zig = (*ZIG, "-target", target) if target else ZIG
        commands = [None] if not wanted and build.compiler_here() else []
        if importlib.util.find_spec("ziglang"):
            commands.append(zig)
        why = ["There is no C++ compiler."]
        for command in commands:
            try:
                build.build(out, compiler=command)
            except (build.PhotoGlueError, OSError) as error:
                why.append(str(error))
            else:
                return True
        if wanted:  # whoever names a compiler wants no wheel without what it compiles
            raise RuntimeError(why[-1])
        self.app.display_warning(f"The native library is left out, and all runs in torch. {why[-1]}")
        return False


def _tag() -> str:
    """The platform of this Python, in the words of wheels."""
    name = sysconfig.get_platform().replace("universal2", platform.machine())
    return name.replace("-", "_").replace(".", "_")


def _modules(root: str) -> types.ModuleType:
    """photoglue.native.build without the rest of the package, which needs torch."""
    package = types.ModuleType("photoglue")
    package.__path__ = [str(Path(root, "src", "photoglue"))]
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "photoglue"}
    sys.modules["photoglue"] = package
    try:
        return importlib.import_module("photoglue.native.build")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "photoglue"]:
            del sys.modules[name]
        sys.modules.update(before)
