"""`photoglue pairs PHOTOS… --by auto --out pairs.txt`: which pairs of many photos are worth matching."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, final

from rich.console import Console

from photoglue.cli.extract import ManyPhotos, progress_bar
from photoglue.cli.match import refuse_overwriting
from photoglue.datasets.photos import check_listable, photos_of, write_pairs
from photoglue.errors import ConfigError
from photoglue.files import check_output
from photoglue.retrieval import Describer
from photoglue.sfm.pairs import ALL_PAIRS, RULES, PairOptions, find_pairs

if TYPE_CHECKING:  # the names are known when the program runs
    RuleName: TypeAlias = str
else:
    from typing import Literal

    RuleName = Literal[tuple(RULES)]


@final
@dataclass(frozen=True, kw_only=True)
class Pairs(ManyPhotos):
    """List the pairs of photos that are worth matching, two names in each line, as hloc does.

    The list is for `photoglue match PHOTOS --pairs`, and for hloc and COLMAP.
    """

    out: Path
    """The text file to write, which must end in .txt."""
    by: tuple[RuleName, ...] = ("auto",)
    """One rule, or several, whose pairs are all taken. all: every pair; sequence: photos that follow each other by
    their names; gps: the nearest by EXIF; retrieval: those that look most alike; poses, model: see --model; auto: all
    pairs of up to 60 photos, of more retrieval, and the next five of each if names are numbered."""
    features_store: Path | None = None
    """For retrieval: the HDF5 file of features, made or added to; None: coarse features are extracted, and not kept."""
    model: Path | None = None
    """For poses: cameras.json, a TUM trajectory, or the folder of a COLMAP model. For model: the last, whose photos
    with most points in common are paired."""
    neighbors: int = 20
    """Partners of each photo that retrieval, gps, poses and model look for."""
    overlap: int = 10
    """For sequence: so many that follow are paired with each photo; besides, those 2, 4, 8, … further on are."""
    max_distance: float | None = None
    """For gps: at most so many metres apart; None: however far the nearest are."""
    max_angle: float = 30.0
    """For poses: largest angle between the directions in which two cameras look, degrees."""
    network: bool = False
    """For retrieval: also use EfficientNet-lite0 (extra retrieval), which is better, and slower."""
    descriptors: Path | None = None
    """For retrieval: the HDF5 file of hloc with a vector of each photo, by NetVLAD, MegaLoc or any other network."""

    def run(self, console: Console) -> int:
        """Find the pairs and write them; returns 1 if a photo could not be read, else 0."""
        read = {"--model": self.model, "--descriptors": self.descriptors}
        refuse_overwriting({"--out": self.out, "--features-store": self.features_store}, read)
        check_output(self.out, (".txt",))
        found = photos_of(self.images)
        check_listable(found.names)
        self._refuse_unused()
        options = PairOptions(
            neighbors=self.neighbors,
            overlap=self.overlap,
            max_distance_m=self.max_distance,
            max_angle_deg=self.max_angle,
            network=self.network,
        )
        failed = 0
        if self.features_store is not None:
            extractor = self.extractor()
            if "retrieval" in self.by or len(found) > ALL_PAIRS:  # what is missing is said before the work
                Describer.pretrained(extractor.kind, network=self.network)
            failed = len(self.extract(console, extractor, self.features_store).failed)
        with progress_bar(console, "looking", kept=False) as told:
            files = {"features": self.features_store, "model": self.model, "descriptors": self.descriptors}
            pairs = find_pairs(self.images, by=self.by, **files, options=options, progress=told)
        write_pairs(pairs, self.out)
        possible = len(found) * (len(found) - 1) // 2
        console.print(f"{len(pairs):,} of {possible:,} pairs of {len(found):,} photos → {self.out}", soft_wrap=True)
        return 1 if failed else 0

    def _refuse_unused(self) -> None:
        looks = {"retrieval", "auto"} & set(self.by)
        for name, given, used in (
            ("--model", self.model is not None, {"poses", "model"} & set(self.by)),
            ("--descriptors", self.descriptors is not None, looks),
            ("--features-store", self.features_store is not None, looks),
            ("--network", self.network, looks),
            ("--max-distance", self.max_distance is not None, {"gps"} & set(self.by)),
            ("--max-angle", self.max_angle != PairOptions.max_angle_deg, {"poses"} & set(self.by)),
            ("--overlap", self.overlap != PairOptions.overlap, {"sequence", "auto"} & set(self.by)),
            ("--neighbors", self.neighbors != PairOptions.neighbors, set(self.by) - {"all", "sequence"}),
        ):
            if given and not used:
                raise ConfigError(f"{name} has no effect with --by {' '.join(self.by)}.")
        if self.descriptors is not None and (self.network or self.features_store is not None):
            unused = "--network" if self.network else "--features-store"
            raise ConfigError(f"{unused} has no effect with --descriptors: photos are not looked at here.")
        if self.features_store is None:
            changed = [
                f"--{field.name.replace('_', '-')}"
                for field in fields(ManyPhotos)
                if field.name != "images" and getattr(self, field.name) != field.default
            ]
            if changed:
                raise ConfigError(f"{' and '.join(changed)} have no effect without --features-store.")
