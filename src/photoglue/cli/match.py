"""`photoglue match A B`: match two photos."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from rich.console import Console
from torch import Tensor

from photoglue.cli.output import FORMATS, check_output, write_matches
from photoglue.errors import ConfigError
from photoglue.extractors import create_extractor
from photoglue.extractors.base import Extractor
from photoglue.geometry.camera import PinholeCamera
from photoglue.image import load_image
from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.precision import Precision, choose_device
from photoglue.solvers.poselib import THRESHOLD_PX, Verification, verify
from photoglue.structs import Features, Matches
from photoglue.version import __version__
from photoglue.viz import draw_matches, draw_pruning, save_figure
from photoglue.viz.save import FORMATS as PICTURE_FORMATS

FeaturesName = Literal[
    "aliked", "aliked-t16", "aliked-n16", "aliked-n16rot", "aliked-n32", "disk", "superpoint", "sift", "doghardnet"
]
PRESETS = {
    "default": LightGlueConfig(),
    "accurate": LightGlueConfig.accurate(),
    "realtime": LightGlueConfig.realtime(),
}

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
    """Which local features to use."""
    max_keypoints: int | None = 2048
    """At most so many points in each photo, the best; None: all."""
    resize: int | None = 1024
    """Length of the longer side that the extractor sees, in pixels; None: the photo as it is."""
    out: Path | None = None
    """Write the matches to this .json, .npz or .csv file."""
    plot: Path | None = None
    """Draw the matches into this .png, .jpg, .pdf or .svg file."""
    plot_pruning: Path | None = None
    """Draw at which layer each point was dropped into this file."""
    verify: Literal["homography", "fundamental", "essential"] | None = None
    """Check the matches against one geometric model, and count those that agree."""
    intrinsics: tuple[str, ...] = ()
    """For --verify essential: "fx,fy,cx,cy" in pixels, once for both photos or once for each."""
    threshold: float | None = None
    """Largest error of a match that agrees, in pixels; None: what suits the model and the size of the photos."""
    mask0: Path | None = None
    """No points where this image is black; same size as the first photo."""
    mask1: Path | None = None
    """The same for the second photo."""
    matcher: Literal["lightglue", "nearest"] = "lightglue"
    """LightGlue, or mutual nearest neighbours."""
    preset: Literal["default", "accurate", "realtime"] = "default"
    """How early LightGlue may exit and drop points."""
    weights: Path | None = None
    """A LightGlue checkpoint of your own."""
    precision: Precision = "auto"
    """What to compute in; auto: bfloat16 where the hardware has it natively, else float32."""
    device: str | None = None
    """Where to compute, such as cpu or cuda:0; None: on a GPU if there is one."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially (SuperPoint, HardNet)."""

    def run(self, console: Console) -> int:
        """Do it, from top to bottom."""
        self._check()
        clock = Clock()
        with clock("load models"):
            extractor, matcher = self._models()
        with clock("read"):
            photo0, photo1 = load_image(self.image0), load_image(self.image1)
        with clock("extract"):
            features0, features1 = extractor.extract_many([photo0, photo1], [self.mask0, self.mask1])
        with clock("match"):
            matches = matcher.match(features0, features1).cpu()
        overlap = None if matcher.verdict is None else matcher.verdict(matches)
        verification = None
        if self.verify is not None:
            with clock("verify"):
                verification = self._verified(matches, features0, features1)
        inliers = None if verification is None else verification.inliers
        if self.out is not None:
            facts = self._facts((features0, features1), matches, overlap, verification)
            write_matches(self.out, matches, facts, None if inliers is None else inliers.numpy())
        if self.plot is not None:
            save_figure(draw_matches(photo0, photo1, matches, inliers=inliers), self.plot)
        if self.plot_pruning is not None:
            save_figure(draw_pruning(photo0, photo1, matches), self.plot_pruning)
        self._print(console, (features0, features1), matches, overlap, verification, clock)
        return 0

    def _check(self) -> None:
        if self.out is not None:
            check_output(self.out, FORMATS)
        for picture in (self.plot, self.plot_pruning):
            if picture is not None:
                check_output(picture, tuple(f".{name}" for name in PICTURE_FORMATS))
        if self.plot_pruning is not None and self.matcher == "nearest":
            raise ConfigError("--plot-pruning shows LightGlue's layers; --matcher nearest has none.")
        if self.verify == "essential" and len(self.intrinsics) not in (1, 2):
            raise ConfigError("--verify essential needs --intrinsics fx,fy,cx,cy, once for both photos or once each.")

    def _models(self) -> tuple[Extractor, Matcher]:
        device = choose_device(self.device)
        extractor = create_extractor(
            self.features,
            allow_noncommercial=self.allow_noncommercial,
            max_keypoints=self.max_keypoints,
            resize=self.resize,
            precision=self.precision,
        ).to(device)
        if self.matcher == "nearest":
            return extractor, NearestNeighbor()
        config = PRESETS[self.preset]
        if self.weights is not None:
            return extractor, LightGlue.from_checkpoint(self.weights, config, precision=self.precision).to(device)
        return extractor, LightGlue.pretrained(extractor.kind, config, precision=self.precision).to(device)

    def _verified(self, matches: Matches, features0: Features, features1: Features) -> Verification:
        assert self.verify is not None
        cameras: list[PinholeCamera | None] = [None, None]
        if self.intrinsics:
            texts = (self.intrinsics[0], self.intrinsics[-1])
            sizes = (features0.image_size, features1.image_size)
            cameras = [PinholeCamera.parse(text, size) for text, size in zip(texts, sizes, strict=True)]
        return verify(
            matches.points0,
            matches.points1,
            self.verify,
            camera0=cameras[0],
            camera1=cameras[1],
            threshold_px=self._threshold(features0, features1),
        )

    def _threshold(self, features0: Features, features1: Features) -> float:
        """The option; or the model's default at the size that the extractor saw, in pixels of the larger photo."""
        assert self.verify is not None
        if self.threshold is not None:
            return self.threshold
        long_side = max(*features0.image_size, *features1.image_size)
        return THRESHOLD_PX[self.verify] * max(1.0, long_side / (self.resize or long_side))

    def _facts(
        self,
        features: tuple[Features, Features],
        matches: Matches,
        overlap: float | None,
        verification: Verification | None,
    ) -> dict[str, Any]:
        options = {name: _plain(value) for name, value in asdict(self).items()}
        images = [
            {"path": str(path), "width": f.image_size[0], "height": f.image_size[1], "keypoints": len(f)}
            for path, f in zip((self.image0, self.image1), features, strict=True)
        ]
        return {
            "format": "photoglue-matches",
            "format_version": 1,
            "versions": {"photoglue": __version__, "torch": torch.__version__},
            "convention": "(x, y) in pixels, EXIF orientation applied, centre of the top-left pixel at (0, 0)",
            "features": features[0].kind,
            "options": options,
            "images": images,
            "precision": matches.precision,
            "exit_layer": matches.stop,
            "n_layers": matches.n_layers,
            "overlap_probability": overlap,
            "verification": None if verification is None else _verification_facts(verification),
        }

    def _print(
        self,
        console: Console,
        features: tuple[Features, Features],
        matches: Matches,
        overlap: float | None,
        verification: Verification | None,
        clock: "Clock",
    ) -> None:
        console.print(f"keypoints   {len(features[0])} and {len(features[1])} ({features[0].kind})")
        score = f", mean score {float(matches.scores.mean()):.2f}" if len(matches) else ""
        console.print(f"matches     [bold]{len(matches)}[/bold]{score}")
        if matches.stop is not None:
            computed = "" if matches.precision is None else f", {matches.precision}"
            console.print(f"exit        layer {matches.stop} of {matches.n_layers}{computed}")
        if overlap is not None:
            console.print(f"overlap     {_percent(overlap)} likely")
        if verification is not None:
            found = int(verification.inliers.sum())
            share = f" ({found / len(matches):.0%})" if len(matches) else ""
            console.print(f"inliers     {found}{share}, {verification.model}, {verification.threshold_px:.3g} px")
        for note in self._notes(features, overlap):
            console.print(f"note        {note}", soft_wrap=True, markup=False)
        console.print(f"time        {clock}")
        for name, path in (("matches", self.out), ("picture", self.plot), ("pruning", self.plot_pruning)):
            if path is not None:
                console.print(f"{name:<11} → {path}", soft_wrap=True)

    def _notes(self, features: tuple[Features, Features], overlap: float | None) -> list[str]:
        """What most likely went wrong, where there is little to see."""
        empty = [path for path, f in zip((self.image0, self.image1), features, strict=True) if len(f) == 0]
        if empty:
            return [f"no points in {str(path)!r}: it is plain, dark or blurred, or masked" for path in empty]
        if overlap is not None and overlap < SURE and self.features != "sift":
            return ["not sure; if one photo is turned by 90° or more against the other, turn it or try --features sift"]
        return []


@dataclass
class Clock:
    """Seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start

    def __str__(self) -> str:
        return ", ".join(f"{stage} {_readable(seconds)}" for stage, seconds in self.seconds.items())


def _verification_facts(verification: Verification) -> dict[str, object]:
    return {
        name: value.tolist() if isinstance(value, Tensor) else value
        for name, value in vars(verification).items()
        if name != "inliers"
    }


def _percent(probability: float) -> str:
    """Never 0 or 100 per cent: no verdict is that sure."""
    if probability > 0.999:
        return "more than 99.9%"
    return "less than 0.1%" if probability < 0.001 else f"{probability:.1%}"


def _plain(value: object) -> object:
    """Something that JSON can hold."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _readable(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
