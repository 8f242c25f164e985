"""Compiles the C++ sources of this folder into one shared library.

    python -m photoglue.native.build            # beside this file, where it is found
    python -m photoglue.native.build lib.so     # elsewhere
    python -m photoglue.native.build --if-needed

Any compiler that takes the options of GCC or Clang will do, one for another system included: what it compiles for is
asked of the compiler. The files of kernels are compiled for instruction sets that the machine may lack; which of them
run is decided when the library is loaded.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from photoglue.errors import PhotoGlueError
from photoglue.native.library import FOLDER, library_name

COMPILERS = ("c++", "g++", "clang++")
"""Tried in this order, after the one in the variable CXX."""
X86_FLAGS: dict[str, tuple[str, ...]] = {
    "extract_avx2.cpp": ("-mavx2", "-mfma"),
    "extract_avx512.cpp": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"),
    "kernels_avx2.cpp": ("-mavx2", "-mfma"),
    "kernels_avxvnni.cpp": ("-mavx2", "-mfma", "-mavxvnni"),
    "kernels_avx512vnni.cpp": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mfma"),
    "kernels_amx.cpp": (
        *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mavx512vbmi", "-mfma"),
        *("-mamx-tile", "-mamx-int8"),
    ),
}
"""What files are compiled with for x86-64, besides what all files are.

Elsewhere, and by compilers too old to know the flags, they are compiled to nothing."""
OPTIONS = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math")
WARNINGS = ("-Wall", "-Wextra", "-Wno-maybe-uninitialized")  # which GCC 12 finds in its own headers
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g", "-O1")


def sources() -> list[Path]:
    """All files that are compiled."""
    return sorted(FOLDER.glob("*.cpp"))


def digest() -> str:
    """A name of 16 letters and digits for the sources as they are; a library knows that of those it was built from."""
    files = sorted(path for pattern in ("*.cpp", "*.hpp", "build.py") for path in FOLDER.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes().replace(b"\r\n", b"\n") for path in files)).hexdigest()[:16]


def up_to_date(library: Path) -> bool:
    """Whether a library was built from the sources as they are."""
    return library.is_file() and digest().encode() in library.read_bytes()


def compiler_here() -> bool:
    """Whether there is a compiler to try: the variable CXX, or one on the path."""
    return bool(os.environ.get("CXX", "").strip() or any(map(shutil.which, COMPILERS)))


def build(out: Path, *, compiler: Sequence[str] | None = None, sanitize: bool = False) -> Path:
    """Compile and link the library; returns ``out``.

    Args:
        out: The file to write.
        compiler: The command that compiles C++, such as ("g++",); None: the variable CXX, or what is on the path.
        sanitize: Whether to have AddressSanitizer and UndefinedBehaviorSanitizer watch; a program has to load the
            first before anything else.

    Raises:
        PhotoGlueError: If there is no compiler, or it fails; the message has what it said.
    """
    command = tuple(compiler) if compiler is not None else _compiler()
    macros = _run([*command, *["-x", "c++", "-E", "-dM"], os.devnull])
    options = [*OPTIONS, *WARNINGS, f'-DPHOTOGLUE_SOURCES="{digest()}"', *(SANITIZE if sanitize else ())]
    if " _WIN32 " in macros:
        options.remove("-fPIC")
    flags = X86_FLAGS if " __x86_64__ " in macros else {}
    with tempfile.TemporaryDirectory(prefix="photoglue-build-") as folder:

        def compiled(source: Path) -> str:
            made = str(Path(folder) / f"{source.stem}.o")
            known = _known(command, flags.get(source.name, ()))
            _run([*command, *options, *known, "-c", str(source), "-o", made])
            return made

        with ThreadPoolExecutor(os.cpu_count()) as threads:  # each waits for a compiler
            objects = list(threads.map(compiled, sources()))
        library = Path(folder) / out.name
        posix = () if " _WIN32 " in macros or " __APPLE__ " in macros else ("-pthread",)
        _run([*command, *options, "-shared", *objects, *posix, "-o", str(library)])
        # Whole or not at all, and never over a library that some process has loaded: its pages are of that file.
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = out.with_name(f".{out.name}.{os.getpid()}")
        shutil.copy(library, beside)
        beside.replace(out)
    return out


def _compiler() -> tuple[str, ...]:
    if chosen := os.environ.get("CXX", "").split():
        return tuple(chosen)
    for name in COMPILERS:
        if path := shutil.which(name):
            return (path,)
    raise PhotoGlueError(
        f"There is no C++ compiler on the path ({', '.join(COMPILERS)}). Install one, such as the package g++, or name "
        "it in the variable CXX. Without it everything works in torch."
    )


def _known(command: Sequence[str], flags: tuple[str, ...]) -> tuple[str, ...]:
    """The flags, or none if the compiler refuses one of them."""
    asked = [*command, *flags, *["-x", "c++", "-E"], os.devnull]
    return flags if not flags or subprocess.run(asked, capture_output=True, check=False).returncode == 0 else ()


def _run(command: Sequence[str]) -> str:
    """The output of a compiler that succeeded."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PhotoGlueError(f"The compiler {command[0]!r} cannot be run: {error}.") from error
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[:20])
        raise PhotoGlueError(f"The compiler failed: {' '.join(command)}\n{said}")
    return done.stdout


def main(arguments: Sequence[str]) -> int:
    """Build the library into the file that is named, or beside the sources; --if-needed: only if they have changed."""
    names = [argument for argument in arguments if argument != "--if-needed"]
    out = Path(names[0]) if names else FOLDER / library_name()
    if "--if-needed" in arguments and (up_to_date(out) or not compiler_here()):
        return 0
    sys.stdout.write(f"{build(out)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
