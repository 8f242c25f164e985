"""`photoglue match A B`: match two photos."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import tyro
from rich.console import Console

from photoglue.errors import ConfigError
from photoglue.extractors import EXTRACTORS
from photoglue.files import as_json, check_output
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.pair import FORMATS, Clock, PairResult
from photoglue.pipeline import PRESETS, Pipeline
from photoglue.precision import Precision
from photoglue.solvers.poselib import Model
from photoglue.viz import save_figure
from photoglue.viz.save import PICTURES

if TYPE_CHECKING:  # the names are known when the program runs
    FeaturesName: TypeAlias = str
    PresetName: TypeAlias = str
else:
    FeaturesName, PresetName = Literal[tuple(EXTRACTORS)], Literal[tuple(PRESETS)]

SURE = 0.99
"""Probability of overlap from which on nothing has to be said about it."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """Match two photos: print a summary, write the matches, draw them."""

    image0: tyro.conf.Positional[Path]
    """The first photo."""
    image1: tyro.conf.Positional[Path]
    """The second photo."""
    features: FeaturesName = "aliked"
    """Local features to match with."""
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
    verify: Model | None = None
    """Check the matches against one geometric model, and count those that agree."""
    intrinsics: tuple[str, ...] = ()
    """Cameras for --verify essential: "fx,fy,cx,cy" in pixels, once for both photos or once for each."""
    threshold: float | None = None
    """Largest error of a match that agrees, in pixels; None: what suits the model and the size of the photos."""
    mask0: Path | None = None
    """No keypoints of the first photo where this image is black; same size as the first photo."""
    mask1: Path | None = None
    """No keypoints of the second photo where this image is black; same size as the second photo."""
    matcher: Literal["lightglue", "nearest"] = "lightglue"
    """LightGlue, or mutual nearest neighbours."""
    preset: PresetName = "default"
    """How early LightGlue may exit and drop points."""
    weights: Path | None = None
    """A LightGlue checkpoint of your own."""
    precision: Precision = "auto"
    """Number format to compute in; auto: bfloat16 where the hardware has it natively, else float32."""
    device: str | None = None
    """Device to compute on, such as cpu or cuda:0; None: a GPU if there is one."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially (SuperPoint, HardNet)."""

    def run(self, console: Console) -> int:
        """Match the photos, write what was asked for and print a summary; returns 0."""
        self._check()
        options: dict[str, Any] = {"max_keypoints": self.max_keypoints, "resize": self.resize, "device": self.device}
        options |= {"precision": self.precision, "allow_noncommercial": self.allow_noncommercial}
        if self.matcher == "nearest":
            options["matcher"] = NearestNeighbor()
        else:
            options |= {"config": PRESETS[self.preset], "weights": self.weights}
        clock = Clock()
        with clock("load models"):
            pipeline = Pipeline.pretrained(self.features, **options)
        result = pipeline.run(
            self.image0,
            self.image1,
            mask0=self.mask0,
            mask1=self.mask1,
            verify=self.verify,
            camera0=self.intrinsics[0] if self.intrinsics else None,
            camera1=self.intrinsics[-1] if self.intrinsics else None,
            threshold_px=self.threshold,
        ).cpu()
        if self.out is not None:
            result.save(self.out, as_json(self))
        for path, draw in ((self.plot, result.draw), (self.plot_pruning, result.draw_pruning)):
            if path is not None:
                save_figure(draw(), path)
        clock.seconds.update(result.seconds)
        self._print(console, result, clock)
        return 0

    def _check(self) -> None:
        for path, formats in ((self.out, FORMATS), (self.plot, PICTURES), (self.plot_pruning, PICTURES)):
            if path is not None:
                check_output(path, formats)
        if self.plot_pruning is not None and self.matcher == "nearest":
            raise ConfigError("--plot-pruning shows LightGlue's layers; --matcher nearest has none.")
        if self.verify == "essential" and len(self.intrinsics) not in (1, 2):
            raise ConfigError("--verify essential needs --intrinsics fx,fy,cx,cy, once for both photos or once each.")

    def _print(self, console: Console, result: PairResult, clock: Clock) -> None:
        matches, checked = result.matches, result.verification
        console.print(f"keypoints   {len(result.features0)} and {len(result.features1)} ({result.features0.kind})")
        score = f", mean score {float(matches.scores.mean()):.2f}" if len(matches) else ""
        console.print(f"matches     [bold]{len(matches)}[/bold]{score}")
        if matches.stop is not None:
            computed = "" if matches.precision is None else f", {matches.precision}"
            console.print(f"exit        layer {matches.stop} of {matches.n_layers}{computed}")
        if result.overlap_probability is not None:
            console.print(f"overlap     {_percent(result.overlap_probability)} likely")
        if checked is not None:
            share = f" ({len(checked) / len(matches):.0%})" if len(matches) else ""
            console.print(f"inliers     {len(checked)}{share}, {checked.model}, {checked.threshold_px:.3g} px")
        for note in self._notes(result):
            console.print(f"note        {note}", soft_wrap=True, markup=False)
        console.print(f"time        {clock}")
        for name, path in (("matches", self.out), ("picture", self.plot), ("pruning", self.plot_pruning)):
            if path is not None:
                console.print(f"{name:<11} → {path}", soft_wrap=True)

    def _notes(self, result: PairResult) -> list[str]:
        """What most likely went wrong, where there is little to see."""
        photos = ((self.image0, result.features0), (self.image1, result.features1))
        if empty := [path for path, features in photos if len(features) == 0]:
            return [f"no points in {str(path)!r}: it is plain, dark or blurred, or masked" for path in empty]
        overlap = result.overlap_probability
        if overlap is not None and overlap < SURE and self.features != "sift":
            return ["not sure; if one photo is turned by 90° or more against the other, turn it or try --features sift"]
        return []


def _percent(probability: float) -> str:
    """Never 0 or 100 per cent: no verdict is that sure."""
    if probability > 0.999:
        return "more than 99.9%"
    return "less than 0.1%" if probability < 0.001 else f"{probability:.1%}"
