"""`photoglue match-pairs PHOTOS… --features-store feats.h5 --store matches.h5`: matches of many pairs into one file."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import final

from rich.console import Console

from photoglue import batch
from photoglue.cli.extract import ManyPhotos, print_summary, progress_bar
from photoglue.cli.match import MatcherName, PresetName, refuse_overwriting, refuse_unused
from photoglue.datasets.photos import pairs_in, photos_of
from photoglue.errors import ConfigError
from photoglue.export import named_matcher
from photoglue.matchers.base import Matcher
from photoglue.pipeline import create_matcher
from photoglue.precision import Precision
from photoglue.presets import PRESETS

ALL_PAIRS = 60
"""If no pairs are listed, all pairs are matched of up to so many photos."""


@final
@dataclass(frozen=True, kw_only=True)
class MatchPairs(ManyPhotos):
    """Match many pairs of photos into an HDF5 file that hloc reads, too.

    Features are first extracted into a file of their own. What is in the files and has not changed is left alone; an
    interrupted run goes on where it was.
    """

    store: Path
    """The HDF5 file of matches; made, or added to."""
    features_store: Path | None = None
    """The HDF5 file of features; made, or added to; None: MATCHES.features.h5 beside MATCHES.h5."""
    pairs: Path | None = None
    """A text file with two names in each line, as in the file of features; None: all pairs, of up to 60 photos."""
    matcher: MatcherName = "lightglue"
    """LightGlue, mutual nearest neighbours, or a file (or folder) that `photoglue export matcher` wrote."""
    preset: PresetName = "default"
    """How early LightGlue may exit and drop points: sfm (or accurate) never, slam (or default) as the official code,
    realtime earlier; edge has 5 layers, and 512 points and 640 pixels if nothing else is said."""
    weights: Path | None = None
    """A LightGlue checkpoint of your own, or the name of a released one, such as sift-official."""
    precision: Precision = "auto"
    """Number format that LightGlue computes in; auto: what was measured to be fastest here (`photoglue --version`)."""

    def run(self, console: Console) -> int:
        """Extract and match; returns 1 if a photo or pair could not be read (the others are stored), else 0."""
        features_store = self.features_store or self.store.with_name(f"{self.store.stem}.features.h5")
        refuse_overwriting(
            {"--features-store": features_store, "--store": self.store},
            {"--pairs": self.pairs, "--weights": self.weights},
        )
        precision = None if self.precision == "auto" else self.precision
        refuse_unused(self.matcher, self.preset, {"--weights": self.weights, "--precision": precision})
        names = photos_of(self.images).names
        pairs = list(combinations(names, 2)) if self.pairs is None else pairs_in(self.pairs)
        if self.pairs is None and len(names) > ALL_PAIRS:
            raise ConfigError(
                f"All pairs of {len(names)} photos are {len(pairs):,}; that is done for up to {ALL_PAIRS} photos. "
                "List the pairs in a file, two names in each line, and give it with --pairs: photoglue pairs makes one."
            )
        if not pairs:
            why = "one photo is none" if self.pairs is None else f"{str(self.pairs)!r} is empty"
            raise ConfigError(f"There is no pair to match: {why}.")
        extractor = self.extractor()
        matcher = self._matcher(extractor.kind)
        extracted = self.extract(console, extractor, features_store)
        if self.pairs is None:
            pairs = [pair for pair in pairs if extracted.failed.keys().isdisjoint(pair)]
        with progress_bar(console, "matching") as told:
            matched = batch.match(pairs, features_store, self.store, matcher, engine=self.where, progress=told)
        print_summary(console, matched)
        return 1 if extracted.failed or matched.failed else 0

    def _matcher(self, kind: str) -> Matcher:
        matcher = named_matcher(self.matcher)
        if matcher is not None:
            return matcher
        return create_matcher(kind, PRESETS[self.preset], self.weights, self.torch_device, self.precision)
