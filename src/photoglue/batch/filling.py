"""The loop that fills a store: what is up to date stays, the rest is done in chunks; a summary says what was done."""

import os
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from photoglue.batch.engine import Engine
from photoglue.errors import OutputError
from photoglue.files import digest_of
from photoglue.store.file import Store, atomic_store, partial_path

ENTRIES = 2
"""Version of what an entry of a store is and how it was computed; entries of another version are stale."""
DAMAGED = "damaged in the file"
UNRECORDED = "without a record of what it was made from"
OTHER_VERSION = "stored by another version"

What: TypeAlias = Literal["photo", "pair", "checked pair"]
WORDS: Mapping[What, tuple[str, str]] = {
    "photo": ("extracted", "points"),
    "pair": ("matched", "matches"),
    "checked pair": ("checked", "inliers"),
}
"""What happens to each, and what it gives."""
Opened = TypeVar("Opened", bound=Store)
Key = TypeVar("Key")
State = TypeVar("State")
Entry = TypeVar("Entry", bound=Sized)
Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many photos or pairs are done, and of how many."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a batch did."""

    path: Path
    """The store."""
    what: What
    """What was counted."""
    done: int
    """Photos or pairs that were worked on in this run."""
    size: int
    """Points or matches that they gave."""
    kept: int
    """Photos or pairs that were in the store already, and are up to date."""
    again: Mapping[str, int]
    """Why some of those done had been in the store, but were stale → how many."""
    failed: Mapping[str, str]
    """Photos or pairs that gave nothing → why."""
    hidden: int = 0
    """Hidden files and folders that were left out."""
    notes: tuple[str, ...] = ()
    """What else is worth knowing, such as how many photos have masks."""

    def lines(self) -> list[str]:
        """Sentences for people; what failed is not among them."""
        verb, unit = WORDS[self.what]
        lines = [f"{self._counted(self.done)}, {self.size} {unit} → {self.path}"]
        if self.kept:
            lines.append(f"{self._counted(self.kept)} {'were' if self.kept != 1 else 'was'} there already")
        lines += [f"{self._counted(count)} {why}: {verb} again" for why, count in sorted(self.again.items())]
        if self.hidden:
            lines.append(f"{self.hidden} hidden files and folders were left out")
        return [*lines, *self.notes]

    def _counted(self, number: int) -> str:
        return f"{number} {self.what}{'s' * (number != 1)}"


@dataclass(frozen=True, kw_only=True)
class Filling(Generic[Opened, Key, State, Entry]):
    """How a store is filled: what stays, and what is done for the rest."""

    store: type[Opened]
    options: Mapping[str, Any]
    """What decides all entries."""
    stale: Callable[[Opened, Key], str | None]
    """Why an entry has to be made: empty if there is none; None: it is up to date."""
    chunks: Callable[[Sequence[Key]], Sequence[Sequence[Key]]]
    """What is worked on together."""
    work: Callable[[State, Sequence[Key]], Sequence[tuple[Key, tuple[Entry, dict[str, Any]] | str]]]
    """What a chunk gives for each key: its entry and what that was made from, or why there is none."""
    state: State
    write: Callable[..., None]
    """Method of the store that keeps an entry, given the name or names of its key, and what it was made from."""
    what: What

    def run(
        self, path: str | os.PathLike[str], keys: Sequence[Key], engine: Engine, progress: Progress | None
    ) -> Summary:
        """Fills the store; what is done is kept when this is interrupted, and the same call goes on from there.

        Raises:
            ConfigError: If the file was made with other options.
            OutputError: If it cannot be written.
        """
        path, progress = Path(path), progress or (lambda *_: None)
        reasons: dict[Key, str] | None = None
        if not partial_path(path).exists() and path.exists():  # if nothing is to be done, the file is not touched
            with self.store.open(path, "r", options=self.options) as finished:
                reasons = self._reasons(finished, keys, progress)
        done = size = 0
        failed: dict[str, str] = {}
        if reasons is None or reasons:
            with atomic_store(path, self.options, self.store) as opened:
                reasons = self._reasons(opened, keys, progress) if reasons is None else reasons
                chunks = {digest_of(list(chunk)): chunk for chunk in self.chunks(list(reasons))}
                for _, results in engine.map(self.work, self.state, chunks):
                    for key, output in results:
                        if isinstance(output, str):
                            failed[" ".join(_names(key))] = output
                        else:
                            entry, made_from = output
                            self.write(opened, *_names(key), entry, made_from=made_from)
                            size += len(entry)
                            done += 1
                    progress(len(keys) - len(reasons) + done + len(failed), len(keys))
        made = [why for key, why in reasons.items() if why and " ".join(_names(key)) not in failed]
        return Summary(
            path=path,
            what=self.what,
            done=done,
            size=size,
            kept=len(keys) - len(reasons),
            again={why: made.count(why) for why in sorted(set(made))},
            failed=failed,
        )

    def _reasons(self, store: Opened, keys: Sequence[Key], progress: Progress) -> dict[Key, str]:
        """The keys that have to be worked on, and why."""
        reasons: dict[Key, str] = {}
        progress(0, len(keys))
        for number, key in enumerate(keys, start=1):
            try:
                why = self.stale(store, key)
            except OutputError:
                why = DAMAGED
            if why is not None:
                reasons[key] = why
            progress(number - len(reasons), len(keys))
        return reasons


def compared(recorded: Mapping[str, Any] | None, now: Mapping[str, Any], words: Mapping[str, str]) -> str | None:
    """Why an entry is stale; None: it is not.

    Args:
        recorded: What it was made from.
        now: What it would be made from now.
        words: What it means if one of these differs.
    """
    if recorded is None:
        return UNRECORDED
    if recorded.get("version") != now["version"]:
        return OTHER_VERSION
    return next((words[name] for name in words if recorded.get(name) != now[name]), None)


def _names(key: Any) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key)
