"""`photoglue doctor`: the installation; `photoglue doctor A B`: why two photos do not match."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import tyro
from rich.console import Console
from rich.text import Text

from photoglue.cli.match import FeaturesName, PresetName, UsageError
from photoglue.doctor import Check, Diagnosis, Finding, check_installation, diagnose
from photoglue.files import to_json
from photoglue.precision import Precision
from photoglue.presets import PRESETS

FOUND = 3
"""Exit code where something is wrong: neither "all is well" nor "the doctor could not do its work"."""
SIGNS = {"ok": ("✓", "green"), "note": ("–", "yellow"), "fault": ("✗", "red")}


@final
@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Say why two photos do not match, with evidence and a command to try; without photos, examine the installation.

    The exit code is 0 if nothing is wrong, 3 if something was found, 1 if a photo or file cannot be read.
    """

    images: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Two photos; none: the installation."""
    features0: Path | None = None
    """Your own features of the first photo, to be examined and matched: HDF5 of PhotoGlue or hloc, or .npz with
    keypoints, descriptors and perhaps image_size, kind, scales, orientations."""
    features1: Path | None = None
    """Your own features of the second photo; None: those in the HDF5 file --features0."""
    features: FeaturesName | None = None
    """Local features to match with; None: those of the files, or aliked."""
    max_keypoints: int | None = 2048
    """At most so many points in each photo, the best; None: all."""
    resize: int | None = 1024
    """Length of the longer side that the extractor sees, in pixels; None: the photo as it is."""
    intrinsics: tuple[str, ...] = ()
    """Cameras that you verify with: "fx,fy,cx,cy" in pixels of the photo as shown, once for both or once for each."""
    threshold: float | None = None
    """Threshold that you verify with, in pixels."""
    preset: PresetName = "default"
    """LightGlue's options that you match with; see `photoglue match --help`."""
    weights: Path | None = None
    """A LightGlue checkpoint of your own, to be examined."""
    precision: Precision = "auto"
    """Number format that you match in."""
    device: str | None = None
    """Device to compute on, such as cpu or cuda:0; None: a GPU if there is one."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially (SuperPoint, HardNet)."""
    json: bool = False
    """Print one JSON object instead of text."""

    def run(self, console: Console) -> int:
        """Examine the installation or the photos; returns 0 if all is well, 3 if something was found."""
        if len(self.images) not in (0, 2):
            raise UsageError(f"There are {len(self.images)} photos; give two, or none to examine the installation.")
        if not self.images:
            return self._installation(console)
        if len(self.intrinsics) > 2:
            raise UsageError(
                f"There are {len(self.intrinsics)} --intrinsics; give one for both photos, or one for each."
            )
        options: dict[str, Any] = {} if self.features is None else {"features": self.features}
        if self.preset != "default":
            options["config"] = PRESETS[self.preset]
        found = diagnose(
            *self.images,
            features0=self.features0,
            features1=self.features1,
            camera0=self.intrinsics[0] if self.intrinsics else None,
            camera1=self.intrinsics[-1] if self.intrinsics else None,
            threshold_px=self.threshold,
            max_keypoints=self.max_keypoints,
            resize=self.resize,
            weights=self.weights,
            precision=self.precision,
            device=self.device,
            allow_noncommercial=self.allow_noncommercial,
            **options,
        )
        if self.json:
            sys.stdout.write(to_json(found) + "\n")
        else:
            _print(console, found)
        return FOUND if found.findings else 0

    def _installation(self, console: Console) -> int:
        checks = check_installation()
        if self.json:
            sys.stdout.write(to_json({"checks": checks}) + "\n")
        else:
            for check in checks:
                _print_check(console, check)
        return FOUND if any(check.status == "fault" for check in checks) else 0


def _print_check(console: Console, check: Check) -> None:
    console.print(Text.assemble(SIGNS[check.status], f" {check.name}: {check.found}"), soft_wrap=True)
    if check.command is not None:
        console.print(Text.assemble("  → ", (check.command, "bold")), soft_wrap=True)


def _print(console: Console, found: Diagnosis) -> None:
    if found.features is not None:
        console.print(f"keypoints   {found.keypoints[0]} and {found.keypoints[1]} ({found.features})")
        geometry = "" if found.inliers is None else f", {found.inliers} agree with one geometry"
        flat = "" if found.flat is None or found.flat < 0.9 else " (flat, or the camera only turned)"
        console.print(f"matches     {found.matches}{geometry}{flat}")
        if found.overlap_probability is not None:
            console.print(f"overlap     {found.overlap_probability:.0%} likely")
    for number, finding in enumerate(found.findings, start=1):
        _print_finding(console, number, finding)
    if not found.findings:
        console.print(Text.assemble(("✓", "green"), " nothing is wrong that the doctor knows of"))
    tried = f"; tried: {', '.join(found.probes)}" if found.probes else ""
    console.print(f"time        {found.seconds:.1f} s{tried}", soft_wrap=True)


def _print_finding(console: Console, number: int, finding: Finding) -> None:
    sure = "sure" if finding.confidence >= 0.9 else "likely" if finding.confidence >= 0.7 else "perhaps"
    console.print(Text.assemble((f"{number}. {finding.cause}", "bold"), f" ({sure}, {finding.confidence:.0%})"))
    for line in (finding.seen, finding.advice):
        console.print(f"   {line}", soft_wrap=True)
    console.print(Text.assemble("   → ", (finding.command, "bold")), soft_wrap=True)
