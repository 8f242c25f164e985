"""`photoglue extract PHOTOS… --store feats.h5`: features of many photos into one file."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from photoglue import batch
from photoglue.batch.filling import Progress as Told
from photoglue.cli.match import FeaturesName
from photoglue.errors import ConfigError
from photoglue.extractors.base import Extractor
from photoglue.extractors.named import named_extractor, source_digest
from photoglue.precision import choose_device

FAILURES_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class ManyPhotos(ABC):
    """Options that all commands for many photos have."""

    images: tyro.conf.Positional[tuple[Path, ...]]
    """Photos, or folders of photos."""
    features: FeaturesName = "aliked"
    """Local features to extract; or a class of your own, as path/file.py:Class."""
    max_keypoints: int | None = 2048
    """At most so many points in each photo, the best; None: all."""
    resize: int | None = 1024
    """Length of the longer side that the extractor sees, in pixels; None: the photo as it is."""
    masks: Path | None = None
    """A folder with a mask for PHOTO.jpg as PHOTO.jpg.png or PHOTO.png, in stored pixels; no points where black."""
    ignore_alpha: bool = False
    """Keypoints also where the photo's own alpha channel is fully transparent."""
    jobs: int = 0
    """Processes that do the work, on CPUs; 0: this one, with all its threads."""
    engine: Literal["local", "ray"] = "local"
    """Where the processes are: on this machine, or on those of a cluster of Ray, which all see the same files."""
    address: str | None = None
    """Address of Ray's cluster, such as auto or HOST:6379; None: a new one on this machine."""
    device: str | None = None
    """Device to compute on, such as cpu or cuda:0; None: a GPU if there is one, and no --jobs."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially."""

    @abstractmethod
    def run(self, console: Console) -> int:
        """Do the work; returns the exit code."""

    @property
    def torch_device(self) -> torch.device:
        """Device that --device, --jobs and --engine choose."""
        return choose_device("cpu" if self.where.for_cpus and self.device is None else self.device)

    @property
    def where(self) -> batch.Engine:
        """What --jobs, --engine and --address ask for: this process, several, or those of a cluster."""
        if self.engine == "ray":
            if not self.jobs:
                raise ConfigError("--engine ray needs --jobs: how many workers of one CPU each.")
            return batch.Ray(workers=self.jobs, address=self.address)
        if self.address is not None:
            raise ConfigError("--address is that of a cluster: give --engine ray, too, and --jobs as its workers.")
        return batch.Processes(workers=self.jobs) if self.jobs else batch.Inline()

    def extractor(self) -> Extractor:
        """An extractor with these options."""
        return named_extractor(
            self.features,
            allow_noncommercial=self.allow_noncommercial,
            max_keypoints=self.max_keypoints,
            resize=self.resize,
            ignore_alpha=self.ignore_alpha,
        ).to(self.torch_device)

    def extract(self, console: Console, extractor: Extractor, store: Path) -> batch.Summary:
        """Extract the photos into a store, and print a summary."""
        source = source_digest(self.features)
        options = {} if source is None else {"source": source}
        with progress_bar(console, "extracting") as told:
            summary = batch.extract(
                self.images,
                store,
                extractor,
                masks=self.masks,
                options=options,
                engine=self.where,
                progress=told,
            )
        print_summary(console, summary)
        return summary


@final
@dataclass(frozen=True, kw_only=True)
class Extract(ManyPhotos):
    """Extract local features of photos into an HDF5 file that hloc reads, too.

    Photos that are in it and have not changed are left alone; an interrupted run goes on where it was.
    """

    store: Path
    """The HDF5 file of features; made, or added to."""

    def run(self, console: Console) -> int:
        """Extract the photos; returns 1 if one could not be read (the others are stored), else 0."""
        return 1 if self.extract(console, self.extractor(), self.store).failed else 0


@contextmanager
def progress_bar(console: Console, what: str, *, kept: bool = True) -> Iterator[Told]:
    """Show a progress bar with the time that is left; gives a function that moves it.

    Args:
        console: Where to show it.
        what: What is being done.
        kept: Whether what was done is kept at Ctrl-C, which is then said.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what)
        try:
            yield lambda done, total: bar.update(task, completed=done, total=total)
        except KeyboardInterrupt:
            if kept:
                console.print("What was done is kept: the same command goes on from there.")
            raise


def print_summary(console: Console, summary: batch.Summary) -> None:
    """Print what a batch did, and what failed."""
    for line in summary.lines():
        console.print(line, soft_wrap=True)
    for name, reason in list(summary.failed.items())[:FAILURES_SHOWN]:
        console.print(Text.assemble(("skipped:", "red"), f" {name}: {reason}"), soft_wrap=True)
    if len(summary.failed) > FAILURES_SHOWN:
        console.print(f"and {len(summary.failed) - FAILURES_SHOWN} more; {len(summary.failed)} were skipped")
