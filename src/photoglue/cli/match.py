"""`photoglue match A B`: match two photos; `photoglue match PHOTOS… --store matches.h5`: the pairs of many."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import tyro
from rich.console import Console
from rich.text import Text

from photoglue.errors import ConfigError
from photoglue.export import named_matcher
from photoglue.extractors import EXTRACTORS
from photoglue.files import as_json, check_output
from photoglue.image import load_mask
from photoglue.limits import Limits, When
from photoglue.limits.look_alikes import LEAST_SHARE
from photoglue.pair import FORMATS, Clock, PairResult
from photoglue.pipeline import Pipeline
from photoglue.precision import Precision
from photoglue.presets import PRESETS, extraction_of
from photoglue.solvers.poselib import Model
from photoglue.structs import Remedies
from photoglue.viz import save_figure
from photoglue.viz.save import PICTURES

FeaturesName: TypeAlias = Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(EXTRACTORS)}}}|FILE.py:CLASS|FILE.onnx")]
"""Name of an extractor, a class of the user's, or a file of `photoglue export extractor`."""
MatcherName: TypeAlias = Annotated[str, tyro.conf.arg(metavar="{lightglue,nearest}|FILE.onnx")]
"""Name of a matcher, or a file of `photoglue export matcher`."""
if TYPE_CHECKING:  # the names are known when the program runs
    from photoglue.cli.match_many import MatchPairs

    PresetName: TypeAlias = str
else:
    PresetName = Literal[tuple(PRESETS)]

SURE = 0.99
"""Probability of overlap from which on nothing has to be said about it."""
FEW = 50
"""Keypoints of a photo below which a note says what its values are."""
SLIM = 16
"""Photos with a shorter side have no room for points, pixels."""


FOR_TWO = (
    *("out", "plot", "plot_pruning", "refine", "also", "rotation", "zoom", "tiles", "max_memory", "verify"),
    *("intrinsics", "threshold", "mask0", "mask1"),
)
FOR_MANY = ("features_store", "pairs", "masks", "jobs", "engine", "address")
"""Options that only two, or only many photos have a use for."""
PRESET_OF_LIGHTGLUE = ("match", "match-pairs", "doctor", "track")
"""Commands whose --preset is one of ``PRESETS``."""
UNSAID = (None, (), 0, "local", "auto")
"""Their values that ask for nothing."""


class UsageError(ConfigError):
    """Arguments that make no sense."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """Match two photos: print a summary, write the matches, draw them. Or many, into a file: --store.

    The pairs of many photos are all, of up to 60 photos, or those of a list: --pairs. Features are first extracted into
    a file of their own. What is in the files and has not changed is left alone; an interrupted run goes on from there.
    """

    images: tyro.conf.Positional[tuple[Path, ...]]
    """Two photos; or with --store any number of photos and folders of photos."""
    features: FeaturesName = "aliked"
    """Local features to match with; or a class of your own, as path/file.py:Class."""
    max_keypoints: int | None = 2048
    """At most so many points in each photo, the best; None: all."""
    resize: int | None = 1024
    """Length of the longer side that the extractor sees, in pixels; None: the photo as it is."""
    out: Path | None = None
    """Write the matches to this .json, .npz or .csv file."""
    plot: Path | None = None
    """Draw the matches into this .png, .jpg, .pdf or .svg file."""
    plot_pruning: Path | None = None
    """Draw all points, coloured by the layer at which they were dropped, into this .png, .jpg, .pdf or .svg file."""
    refine: Literal["subpixel"] | None = None
    """Move the points of the second photo, by fractions of a pixel, to where they look most like their partners."""
    also: str | None = None
    """Add the matches of other features, such as disk, or disk,sift, seen at 1024 pixels at most; with crop among them,
    those between crops of what the photos share."""
    verify: Model | None = None
    """Check the matches against one geometric model, and count those that agree."""
    intrinsics: tuple[str, ...] = ()
    """Cameras for --verify essential: "fx,fy,cx,cy" in pixels of the photo as shown, once for both or once for each."""
    threshold: float | None = None
    """Largest error of a match that --verify accepts, in pixels; None: what suits the model and the size of the
    photos."""
    mask0: Path | None = None
    """No keypoints of the first photo where this image is black; of its size, in stored pixels (before EXIF turns)."""
    mask1: Path | None = None
    """No keypoints of the second photo where this image is black; of its size, in stored pixels (before EXIF turns)."""
    rotation: When = "auto"
    """Turn the second photo if it is turned against the first; auto: where one pass fails."""
    zoom: When = "auto"
    """Match again between crops of what the photos share; auto: where one pass fails, or finds little and scales
    differ."""
    tiles: When = "auto"
    """Match large photos part by part, at full resolution or half its pixels; auto: where one pass finds little."""
    max_memory: float | None = None
    """Memory for tiles, beside the photos, in GB; None: no limit."""
    ignore_alpha: bool = False
    """Keypoints also where a photo's own alpha channel is fully transparent."""
    matcher: MatcherName = "lightglue"
    """LightGlue, mutual nearest neighbours, or a file (or folder) that `photoglue export matcher` wrote."""
    preset: PresetName = "default"
    """How early LightGlue may exit and drop points: sfm (or accurate) never, slam (or default) as the official code,
    realtime earlier; edge has 5 layers (of aliked-t16 a small network). If nothing else is said, edge has 512 points,
    640 pixels; best has 4096 points, 1600 pixels, --refine subpixel and --also disk,crop."""
    weights: Path | None = None
    """A LightGlue checkpoint of your own, or the name of a released one, such as sift-official."""
    precision: Precision = "auto"
    """Number format to compute in; auto: what was measured to be fastest on this machine (`photoglue --version`)."""
    device: str | None = None
    """Device to compute on, such as cpu or cuda:0; None: a GPU if there is one."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially (SuperPoint, HardNet)."""
    store: Path | None = None
    """Many photos: the HDF5 file of matches, as hloc reads it; made, or added to."""
    features_store: Path | None = None
    """Many photos: the HDF5 file of features; None: MATCHES.features.h5 beside MATCHES.h5."""
    pairs: Path | None = None
    """Many photos: a text file with two names in each line (`photoglue pairs` makes one); None: all pairs, of up to 60
    photos."""
    masks: Path | None = None
    """Many photos: a folder with a mask for PHOTO.jpg as PHOTO.jpg.png or PHOTO.png, in stored pixels."""
    jobs: int = 0
    """Many photos: processes that do the work, on CPUs; 0: this one, with all its threads."""
    engine: Literal["local", "ray"] = "local"
    """Many photos: where the work is done: on this machine, or by --jobs workers of a Ray cluster."""
    address: str | None = None
    """Many photos: address of the Ray cluster, such as auto; None: one on this machine, for this command."""

    @property
    def image0(self) -> Path:
        """The first photo."""
        return self.images[0]

    @property
    def image1(self) -> Path:
        """The second photo."""
        return self.images[1]

    @property
    def limits(self) -> Limits:
        """What is done where one pass fails."""
        return Limits(rotation=self.rotation, zoom=self.zoom, tiles=self.tiles, max_memory_gb=self.max_memory)

    def run(self, console: Console) -> int:
        """Match the photos, write what was asked for and print a summary; returns 0, or 1 if one of many failed."""
        self._check_count()
        if self.store is not None:
            return self._many(self.store).run(console)
        self._check()
        notes = self._notes_on_masks()
        options: dict[str, Any] = {"max_keypoints": self.max_keypoints, "resize": self.resize, "device": self.device}
        options |= {"precision": self.precision, "allow_noncommercial": self.allow_noncommercial, "refine": self.refine}
        options["also"] = self.also
        matcher = named_matcher(self.matcher)
        if matcher is not None:
            options["matcher"] = matcher
        else:
            options |= {"config": PRESETS[self.preset], "weights": self.weights}
        clock = Clock()
        with clock("load models"):
            pipeline = Pipeline.pretrained(self.features, ignore_alpha=self.ignore_alpha, **options)
        result = pipeline.run(
            self.image0,
            self.image1,
            mask0=self.mask0,
            mask1=self.mask1,
            verify=self.verify,
            camera0=self.intrinsics[0] if self.intrinsics else None,
            camera1=self.intrinsics[-1] if self.intrinsics else None,
            threshold_px=self.threshold,
            limits=self.limits,
        ).cpu()
        if self.out is not None:
            result.save(self.out, as_json(self))
        for path, draw in ((self.plot, result.draw), (self.plot_pruning, result.draw_pruning)):
            if path is not None:
                save_figure(draw(), path)
        clock.seconds.update(result.seconds)
        self._print(console, result, clock, notes + self._notes(result))
        return 0

    def _check_count(self) -> None:
        """Refuse options that two photos, or many, have no use for."""
        folders = [photo for photo in self.images if photo.is_dir()]
        given = FOR_MANY if self.store is None else FOR_TWO
        unused = [f"--{name.replace('_', '-')}" for name in given if getattr(self, name) not in UNSAID]
        if self.store is None and (folders or len(self.images) != 2):
            count = "There is one photo" if len(self.images) == 1 else f"There are {len(self.images) or 'no'} photos"
            what = f"{str(folders[0])!r} is a folder" if folders else count
            raise UsageError(
                f"{what}: the matches of many photos go into a file, --store matches.h5. Without it two photos are "
                "matched."
            )
        if unused:
            which = "two photos" if self.store is None else "many photos (--store)"
            others = "many photos, with --store matches.h5" if self.store is None else "two photos"
            raise ConfigError(f"{' and '.join(unused)} cannot be used for {which}; that is for {others}.")

    def _many(self, store: Path) -> "MatchPairs":
        from photoglue.cli.match_many import MatchPairs

        names = [field.name for field in fields(MatchPairs)]
        return MatchPairs(**{**{name: getattr(self, name) for name in names}, "store": store})

    def _check(self) -> None:
        """Refuse what could not be done, or would do nothing, before the work begins."""
        for path, formats in ((self.out, FORMATS), (self.plot, PICTURES), (self.plot_pruning, PICTURES)):
            if path is not None:
                check_output(path, formats)
        refuse_overwriting(
            {"--out": self.out, "--plot": self.plot, "--plot-pruning": self.plot_pruning},
            {"a photo": self.image0, "the other photo": self.image1, "--mask0": self.mask0, "--mask1": self.mask1},
        )
        refuse_unused(self.matcher, self.preset, {"--weights": self.weights, "--plot-pruning": self.plot_pruning})
        if self.plot_pruning is not None and PRESETS[self.preset].width_confidence is None:
            raise ConfigError(f"--plot-pruning shows which points were dropped; --preset {self.preset} drops none.")
        if self.verify is None and self.threshold is not None:
            raise ConfigError("--threshold is that of --verify, which is not given.")
        if self.verify != "essential" and self.intrinsics:
            raise ConfigError("--intrinsics are for --verify essential; the other models know no cameras.")
        if self.verify == "essential" and len(self.intrinsics) not in (1, 2):
            raise ConfigError("--verify essential needs --intrinsics fx,fy,cx,cy, once for both photos or once each.")

    def _notes_on_masks(self) -> list[str]:
        notes = []
        for mask in (self.mask0, self.mask1):
            if mask is None:
                continue
            white = load_mask(mask)
            if not white.any():
                raise ConfigError(
                    f"The mask {str(mask)!r} is black everywhere, so that its photo would have no point. White is "
                    "where keypoints are wanted."
                )
            if white.all():
                notes.append(f"the mask {str(mask)!r} is white everywhere: it takes no point away")
        return notes

    def _print(self, console: Console, result: PairResult, clock: Clock, notes: list[str]) -> None:
        matches, checked = result.matches, result.verification
        console.print(f"keypoints   {len(result.features0)} and {len(result.features1)} ({result.features0.kind})")
        score = f", mean score {float(matches.scores.mean()):.2f}" if len(matches) else ""
        console.print(Text.assemble("matches     ", (str(len(matches)), "bold"), score))
        if matches.stop is not None:
            computed = "" if matches.precision is None else f", {matches.precision}"
            console.print(f"exit        layer {matches.stop} of {matches.n_layers}{computed}")
        for line in lines_of(matches.remedies):
            console.print(line)
        if matches.refine is not None:
            shifts = (matches.points1 - result.features1.keypoints[matches.indices[:, 1]]).norm(dim=1)
            moved = shifts[shifts > 0]
            by = f", by {float(moved.median()):.2f} px in the median" if len(moved) else ""
            console.print(f"refined     {len(moved)} points of the second photo{by}")
        if result.overlap_probability is not None:
            console.print(f"overlap     {_percent(result.overlap_probability)} likely")
        if checked is not None:
            share = f" ({len(checked) / len(matches):.0%})" if len(matches) else ""
            console.print(f"inliers     {len(checked)}{share}, {checked.model}, {checked.threshold_px:.3g} px")
        for note in notes:
            console.print(f"note        {note}", soft_wrap=True)
        if (result.overlap_probability or 1) < SURE:
            console.print(f"why?        {shlex.join(['photoglue', 'doctor', *map(str, self.images)])}", soft_wrap=True)
        console.print(f"time        {clock}")
        for name, path in (("matches", self.out), ("picture", self.plot), ("pruning", self.plot_pruning)):
            if path is not None:
                console.print(f"{name:<11} → {path}", soft_wrap=True)

    def _notes(self, result: PairResult) -> list[str]:
        """What most likely went wrong, where there is little to see."""
        notes = []
        for path, features, image, mask in (
            (self.image0, result.features0, result.image0, self.mask0),
            (self.image1, result.features1, result.image1, self.mask1),
        ):
            if len(features) < min(FEW, self.max_keypoints or FEW):
                low, high = (float(value) for value in image.aminmax())
                masked = ", or masked" if mask is not None else ""
                height, width = image.shape[1:]
                why = (
                    f"it has {width} × {height} pixels, which is too little to be seen"
                    if min(width, height) < SLIM
                    else f"its values go from {low:.2f} to {high:.2f} of white; is it plain, dark or blurred{masked}?"
                )
                notes.append(f"{len(features) or 'no'} points in {str(path)!r}: {why}")
        overlap, share = result.overlap_probability, result.partnered_share
        if share is not None and share < LEAST_SHARE:
            notes.append(f"{share:.0%} of the points among the inliers are inliers: do the photos show look-alikes?")
        tried = () if result.matches.remedies is None else result.matches.remedies.tried
        if not notes and overlap is not None and overlap < SURE and "rotation" not in tried:
            return ["not sure; if one photo is turned against the other, try --rotation always or --features sift"]
        return notes


def lines_of(remedies: Remedies | None) -> list[str]:
    """What a summary says of what was done beyond one pass."""
    if remedies is None:
        return []
    lines = []
    if remedies.turned_deg:
        lines.append(f"turned      the second photo, by {remedies.turned_deg:g}° counterclockwise")
    if remedies.features:
        lines.append(f"features    {remedies.features}, which stand turns better")
    if remedies.boxes is not None:
        parts = " and ".join(f"{right - left} × {bottom - top}" for left, top, right, bottom in remedies.boxes)
        lines.append(f"zoomed      into parts of {parts} pixels")
    if remedies.tiles:
        lines.append(f"tiles       {remedies.tiles} pairs of parts")
    for name in remedies.tried:
        if name not in remedies.applied:
            lines.append(f"tried       {TRIED[name]}")
    return lines


TRIED = {
    "rotation": "the second photo in four turns: none fits better than as it is",
    "zoom": "other scales, and the part that both photos share: no better matches",
    "tiles": "parts of the photos: no more matches",
}
"""Remedy → what is said of it where it gave nothing."""


def implied_by_preset(words: Sequence[str]) -> list[str]:
    """The options that a preset brings along, where the command line names none of its own.

    Args:
        words: A command line. `photoglue map` has other presets; only `match` refines and joins features, and
            only of two photos.
    """
    names = [word.replace("_", "-").partition("=") for word in words]
    given = {name for name, _, _ in names}
    following = [*words[1:], ""]
    values = {name: value or after for (name, _, value), after in zip(names, following, strict=False)}
    if "--preset" not in values or words[0] not in PRESET_OF_LIGHTGLUE:
        return []
    implied = extraction_of(values["--preset"], values.get("--features", "aliked"))
    options = {f"--{name.replace('_', '-')}": str(value) for name, value in implied.items()}
    if words[0] != "match" or "--store" in given:
        options = {name: value for name, value in options.items() if name not in ("--refine", "--also")}
    return [word for name, value in options.items() if name not in given for word in (name, value)]


def refuse_unused(matcher: MatcherName, preset: str, options: dict[str, Any]) -> None:
    """Refuse a preset, and those options of LightGlue that are not None, where another matcher would ignore them."""
    given = [name for name, value in options.items() if value is not None]
    if preset != "default":
        given.append("--preset")
    if matcher != "lightglue" and given:
        raise ConfigError(f"--matcher {matcher} has no use for {' and '.join(given)}, which LightGlue alone has.")


def refuse_overwriting(outputs: dict[str, Path | None], inputs: dict[str, Path | None]) -> None:
    """Refuse to write one file twice, or over one that is read; files by the names of their options, if given."""
    seen = {path.resolve(): name for name, path in inputs.items() if path is not None}
    for name, path in outputs.items():
        if path is not None and (other := seen.setdefault(path.resolve(), name)) != name:
            raise ConfigError(f"{name} and {other} are one file, {str(path)!r}; give {name} another name.")


def _percent(probability: float) -> str:
    """Never 0 or 100 per cent: no verdict is that sure."""
    if probability > 0.999:
        return "more than 99.9%"
    return "less than 0.1%" if probability < 0.001 else f"{probability:.1%}"
