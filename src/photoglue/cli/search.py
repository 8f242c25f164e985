"""`photoglue index PHOTOS` and `photoglue search PHOTO --in PHOTOS`: photos that show the same thing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, final

import tyro
from rich.console import Console
from rich.table import Table

from photoglue.cli.extract import progress_bar
from photoglue.cli.match import refuse_overwriting
from photoglue.datasets.photos import photos_of, write_pairs
from photoglue.errors import ConfigError
from photoglue.files import check_output
from photoglue.sfm.indexing import index_photos, opened_index
from photoglue.sfm.search import SearchResult, SimilarPair, search_photos, similar_photos
from photoglue.viz.contact_sheet import FORMATS, save_contact_sheet

IndexedFeatures: TypeAlias = Literal["aliked", "disk", "sift"]
SHOWN = 50
"""Lines of a table of pairs."""
DRAWN = 20
"""Pairs of a picture."""


@final
@dataclass(frozen=True, kw_only=True)
class Index:
    """Make an index of photos for `photoglue search`, or bring an old one up to date."""

    images: tyro.conf.Positional[tuple[Path, ...]]
    """Photos, or folders of photos."""
    out: Path
    """The HDF5 file, which must end in .h5; made, or brought up to date. It takes 16 KB a photo."""
    features: IndexedFeatures = "aliked"
    """Local features to search by."""
    network: bool = False
    """Also use EfficientNet-lite0 (extra retrieval), which is better, and slower."""
    device: str | None = None
    """Device to compute on, such as cpu or cuda:0; None: a GPU if there is one."""

    def run(self, console: Console) -> int:
        """Make the index; returns 1 if a photo could not be read (the others are in it), else 0."""
        given = len(photos_of(self.images))
        with progress_bar(console, "indexing") as told:
            made = index_photos(
                self.images, self.out, features=self.features, network=self.network, device=self.device, progress=told
            )
        photos = "1 photo" if len(made) == 1 else f"{len(made):,} photos"
        console.print(f"{photos}, {self.out.stat().st_size / 1e6:.1f} MB → {self.out}", soft_wrap=True)
        return 1 if len(made) < given else 0


@final
@dataclass(frozen=True, kw_only=True)
class Search:
    """Find the photos that look most like a given one, or with --pairs all photos of a folder that look alike."""

    photo: tyro.conf.Positional[Path | None] = None
    """The photo to search with; none with --pairs."""
    within: Annotated[tuple[Path, ...], tyro.conf.arg(name="in")]
    """An index (.h5), or photos and folders of photos, which are indexed in memory, each time anew."""
    top: int = 10
    """So many photos at most; with --pairs so many for each."""
    verify: bool = False
    """Also match the photo with those found, and put those first that have most in common with it; with --pairs: give
    only those that have at least 30 verified matches."""
    plot: Path | None = None
    """Write a picture of the photos found, side by side, to this .jpg or .png file; with --pairs: of the first 20
    pairs, each in a row."""
    pairs: bool = False
    """All pairs of the photos that look alike: duplicates, and others of one scene."""
    out: Path | None = None
    """With --pairs: write all of them to this .txt file, which `photoglue match --pairs` reads."""
    min_score: float | None = None
    """With --pairs: how alike at least, in [-1, 1]; None: 0.2, or 0.1 with --verify."""
    device: str | None = None
    """Device to compute on, such as cpu or cuda:0; None: a GPU if there is one."""

    def run(self, console: Console) -> int:
        """Search, and print a table; returns 0."""
        if self.plot is not None:
            check_output(self.plot, FORMATS)
            refuse_overwriting({"--plot": self.plot}, {"the photo to search with": self.photo})
        if self.pairs == (self.photo is not None):
            raise ConfigError("Name a photo to search with, or give --pairs, which compares all of --in, and not both.")
        if not self.pairs and self.min_score is not None:
            raise ConfigError("--min-score is that of --pairs; --top says how many photos one photo finds.")
        if self.out is not None:
            if not self.pairs:
                raise ConfigError("--out is the list of --pairs; what one photo finds is printed.")
            check_output(self.out, (".txt",))
        within = self.within[0] if len(self.within) == 1 else self.within
        with progress_bar(console, "indexing", kept=False) as told:
            if self.photo is None:
                index = opened_index(within, device=self.device, progress=told)
                pairs = similar_photos(
                    index,
                    min_score=self.min_score,
                    neighbors=self.top,
                    check=self.verify,
                    device=self.device,
                )
                return self._print_pairs(console, pairs, Path(index.root))
            found = search_photos(
                self.photo, within, top=self.top, check=self.verify, device=self.device, progress=told
            )
        return self._print(console, self.photo, found)

    def _print(self, console: Console, photo: Path, found: list[SearchResult]) -> int:
        refuse_overwriting({"--plot": self.plot}, {f"the photo {each.name!r}": each.path for each in found})
        if not found:
            console.print("no other photo to find")
            return 0
        table = Table("", "photo", *_heads(self.verify))
        for rank, each in enumerate(found, start=1):
            table.add_row(str(rank), _shown(each.name), *_values(each))
        console.print(table)
        if self.plot is not None:
            captions = [f"{rank}: {each.name}, {_caption(each)}" for rank, each in enumerate(found, start=1)]
            save_contact_sheet([photo, *(each.path for each in found)], ["searched with", *captions], self.plot)
            console.print(f"picture → {self.plot}", soft_wrap=True)
        return 0

    def _print_pairs(self, console: Console, pairs: list[SimilarPair], root: Path) -> int:
        if self.out is not None:
            write_pairs([(each.name0, each.name1) for each in pairs], self.out)
        if not pairs:
            console.print("no photos that look alike")
            return 0
        table = Table("photo", "photo", *_heads(self.verify))
        for each in pairs[:SHOWN]:
            table.add_row(_shown(each.name0), _shown(each.name1), *_values(each))
        console.print(table)
        if len(pairs) > SHOWN:
            console.print(f"and {len(pairs) - SHOWN} more")
        if self.plot is not None:
            drawn = pairs[:DRAWN]
            photos = [root / name for each in drawn for name in (each.name0, each.name1)]
            refuse_overwriting({"--plot": self.plot}, {f"the photo {path.name!r}": path for path in photos})
            captions = [text for each in drawn for text in (f"{each.name0}, {_caption(each)}", each.name1)]
            save_contact_sheet(photos, captions, self.plot, columns=2)
            console.print(f"picture → {self.plot}", soft_wrap=True)
        if self.out is not None:
            console.print(f"{len(pairs)} pair{'s' * (len(pairs) != 1)} → {self.out}", soft_wrap=True)
        return 0


def _shown(name: str) -> str:
    """A name in one line, whatever it is made of."""
    return name if name.isprintable() else repr(name)


def _heads(verified: bool) -> list[str]:
    return ["score", *["inliers"] * verified]


def _values(found: SearchResult | SimilarPair) -> list[str]:
    return [f"{found.score:.3f}", *([] if found.inliers is None else [str(found.inliers)])]


def _caption(found: SearchResult | SimilarPair) -> str:
    return f"{found.score:.2f}" if found.inliers is None else f"{found.inliers} inliers"
