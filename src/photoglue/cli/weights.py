"""`photoglue weights list | fetch | verify`: what there is, where it lies, under which licence."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from photoglue.errors import ConfigError, OutputError, PhotoGlueError
from photoglue.extractors import aliked, disk, doghardnet, superpoint
from photoglue.files import cache_folder, write_whole
from photoglue.matchers.lightglue import pretrained
from photoglue.retrieval import efficientnet, vlad
from photoglue.weights import WeightsRecord, expected_sha256, locate, resolve, sha256_of

RECORDS: Mapping[str, WeightsRecord] = {
    record.name: record
    for table in (pretrained.WEIGHTS, aliked.WEIGHTS, disk.WEIGHTS, superpoint.WEIGHTS, doghardnet.WEIGHTS)
    for record in table.values()
} | {record.name: record for record in (vlad.VOCABULARIES, efficientnet.RECORD)}


@dataclass(frozen=True, kw_only=True)
class Weights:
    """List, fetch or verify the weights that PhotoGlue knows."""

    action: tyro.conf.Positional[Literal["list", "fetch", "verify"]]
    """list: where each file is, its licence. fetch: make sure that it is on this machine. verify: hash what is here."""
    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names of weights, as `list` prints them; none: all (list, verify), or all that may be used commercially
    (fetch)."""
    to: Path | None = None
    """Folder that fetch also copies them to, to be carried to a machine without network ($PHOTOGLUE_WEIGHTS there)."""
    allow_noncommercial: bool = False
    """Let fetch also take weights that may not be used commercially."""

    def run(self, console: Console) -> int:
        """List, fetch or verify; returns 1 if a file cannot be had, is corrupt, or was named and is absent."""
        if self.action != "fetch" and (self.to is not None or self.allow_noncommercial):
            given = "--allow-noncommercial" if self.to is None else "--to"
            raise ConfigError(f"{given} is for photoglue weights fetch; {self.action} has no use for it.")
        records = [_record(name) for name in self.names] or list(RECORDS.values())
        if self.action == "list":
            return _list(console, records)
        if self.action == "verify":
            return _verify(console, records, named=bool(self.names))
        if not self.names and not self.allow_noncommercial:
            left_out = [record.name for record in records if not record.commercial]
            _tell(console, "–", "dim", f"left out without --allow-noncommercial: {', '.join(left_out)}")
            records = [record for record in records if record.commercial and (record.url or locate(record))]
        return self._fetch(console, records)

    def _fetch(self, console: Console, records: list[WeightsRecord]) -> int:
        failed = 0
        for record in records:
            try:
                path = resolve(record, allow_noncommercial=self.allow_noncommercial)
                if self.to is not None:
                    path = _copied(path, self.to)
            except PhotoGlueError as error:
                failed += 1
                _tell(console, "✗", "red", f"{record.name}: {error}")
            else:
                _tell(console, "✓", "green", f"{record.name}: {path}")
        return 1 if failed else 0


def _record(name: str) -> WeightsRecord:
    if name in RECORDS:
        return RECORDS[name]
    near = difflib.get_close_matches(name, RECORDS, 1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(RECORDS)}."
    raise ConfigError(f"There are no weights {name!r}. {hint}")


def _list(console: Console, records: list[WeightsRecord]) -> int:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "licence", "commercial use", "MB", "where"):
        table.add_column(column, justify="right" if column == "MB" else "left", no_wrap=column == "name")
    for record in records:
        located = locate(record)
        where = "to download" if located is None else located.origin
        if record.sha256 is None:
            where += ", pinned on first use" if expected_sha256(record) is None else ", pinned"
        size = "?" if record.size is None else f"{record.size / 1e6:.1f}"
        table.add_row(record.name, record.licence, "yes" if record.commercial else Text("no", "red"), size, where)
    console.print(table)
    console.print(f"cache: {cache_folder()}", soft_wrap=True)
    return 0


def _verify(console: Console, records: list[WeightsRecord], *, named: bool) -> int:
    bad = 0
    for record in records:
        located, expected = locate(record), expected_sha256(record)
        if located is None:
            bad += named
            _tell(console, "–", "dim", f"{record.name}: not on this machine")
        elif expected is None:
            _tell(console, "?", "yellow", f"{record.name}: no hash is known; SHA-256 {sha256_of(located.path)}")
        elif sha256_of(located.path) == expected:
            _tell(console, "✓", "green", f"{record.name}: {located.path}")
        else:
            bad += 1
            _tell(console, "✗", "red", f"{record.name}: {located.path} is corrupt or another file")
    return 1 if bad else 0


def _tell(console: Console, sign: str, style: str, text: str) -> None:
    console.print(Text.assemble((sign, style), " ", text), soft_wrap=True)


def _copied(path: Path, folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {str(folder)!r} cannot be made: {error.strerror}.") from error
    write_whole(folder / path.name, path.read_bytes())
    return folder / path.name
