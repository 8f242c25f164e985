"""The folder of a map: of which photos it is, and what changed since."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from photoglue.datasets.photos import PhotoFolder, pairs_in
from photoglue.errors import ConfigError, OutputError
from photoglue.files import from_json, to_json, write_whole

FORMAT = "photoglue-map"
KEYFRAMES = "keyframes.json"
"""What is in a folder of `photoglue track --keyframes`."""
NAMES_TOLD = 5
"""Names that a sentence lists."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What run.json says of a folder with a map."""

    format: str
    """``FORMAT``."""
    photos: str
    """The folder that names of photos are relative to."""
    names: tuple[str, ...]
    """All photos."""
    settings: dict[str, Any]
    """Options of the map."""
    version: str
    """Version of PhotoGlue."""
    unplaced: Mapping[str, str] = field(default_factory=dict)
    """Photos without a place → why; empty until all is done."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each stage; empty until all is done."""
    turns: Mapping[str, int] = field(default_factory=dict)
    """Photos that are turned before the extractor sees them → by how many quarters, counterclockwise."""
    asked: str = ""
    """A digest of all that the turns depend on; empty if they were not looked for."""


def beside(out: Path, found: PhotoFolder) -> PhotoFolder:
    """The photos without those that an older run left in its folder, which may be among them, such as undistorted ones.

    Raises:
        ConfigError: If the folder holds something else.
    """
    place = out.resolve()
    if not place.is_relative_to(found.root.resolve()) or not (out / "run.json").exists() or _record_in(out) is None:
        return found
    names = [name for name in found.names if not (found.root / name).resolve().is_relative_to(place)]
    return replace(found, names=tuple(names)) if names else found


def prepare(out: Path, found: PhotoFolder, record: RunRecord) -> list[str]:
    """Makes the folder, or makes sure that what is there is of these photos; says what changed since.

    Raises:
        ConfigError: If it holds something else.
        OutputError: If it cannot be made or written.
    """
    root = found.root.resolve()
    if out.resolve().is_relative_to(root) and out.exists():
        inside = [name for name in found.names if found.root.joinpath(name).resolve().is_relative_to(out.resolve())]
        if inside:
            raise ConfigError(f"{str(out)!r} has photos itself, such as {inside[0]!r}; choose a folder beside them.")
    if out.is_file():
        raise ConfigError(f"{str(out)!r} is a file; a folder for the map was wanted. Choose another name.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {str(out)!r} cannot be made: {error.strerror}.") from error
    before = _record_in(out)
    if before is None:
        write_record(out, record)
        return []
    gone, new = set(before.names) - set(found.names), set(found.names) - set(before.names)
    if before.photos != str(root) and (gone or new):
        raise ConfigError(
            f"{str(out)!r} holds the map of other photos, those in {before.photos!r}. Choose another folder."
        )
    return [
        f"{len(names)} photo{'s' * (len(names) != 1)} {what} since the last run: {', '.join(sorted(names)[:3])}"
        f"{', …' * (len(names) > 3)}"
        for names, what in ((new, "added"), (gone, "removed"))
        if names
    ]


def turns_in(out: Path, names: Iterable[str]) -> tuple[dict[str, int], str]:
    """The turns of photos that an older run found, those of others left out; and of what they are, as ``asked`` says.

    Raises:
        OutputError: If run.json cannot be read.
    """
    before = _record_in(out)
    known = set(names)
    return ({}, "") if before is None else ({n: t for n, t in before.turns.items() if n in known}, before.asked)


def _record_in(out: Path) -> RunRecord | None:
    """What run.json says; None if the folder is empty."""
    path = out / "run.json"
    try:
        if path.exists():
            run = from_json(RunRecord, path.read_bytes(), origin=str(path))
            if run.format != FORMAT:
                raise ConfigError(f"{str(path)!r} is of {run.format!r}, not of {FORMAT!r}.")
            return run
        others = [entry.name for entry in out.iterdir() if not entry.name.endswith(".partial")]
    except OSError as error:
        raise OutputError(f"{str(out)!r} cannot be read: {error.strerror}.") from error
    if others and KEYFRAMES not in others:  # a folder of keyframes has its features and matches already
        raise ConfigError(
            f"{str(out)!r} is not empty, and not the folder of a map (it has {others[0]!r} and no run.json). Choose "
            "another."
        )
    return None


def write_record(out: Path, record: RunRecord) -> None:
    """Writes run.json, whole or not at all."""
    write_whole(out / "run.json", to_json(record, indent=1).encode())


def names_unknown(path: Path | None, names: set[str]) -> list[str]:
    """A sentence about names in a list of pairs that are no photos; none if all are, or there is no list.

    Raises:
        ConfigError: If the list cannot be read.
    """
    pairs = [] if path is None else pairs_in(path)
    unknown = sorted({name for pair in pairs for name in pair} - names)
    count = sum(not names >= set(pair) for pair in pairs)
    listed = ", ".join(unknown[:NAMES_TOLD]) + ", …" * (len(unknown) > NAMES_TOLD)
    where = f"{path.name if path else ''} names photos that are not there, in {count} of its {len(pairs)} pairs"
    return [f"{where}: {listed}"] if unknown else []
