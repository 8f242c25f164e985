"""`photoglue export matcher | extractor | bundle | pipeline | verify | lint`: ONNX files, each with its certificate."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro
from rich.console import Console
from rich.table import Table

from photoglue.errors import ConfigError
from photoglue.export import (
    export_bundle,
    export_extractor,
    export_matcher,
    export_pipeline,
    export_staged,
    lint,
    verify,
)
from photoglue.export.flavours import FLAVOURS
from photoglue.exported import Certificate, certificate_path

if TYPE_CHECKING:  # the names are known when the program runs
    FlavourName: TypeAlias = str
else:
    FlavourName = Literal[tuple(FLAVOURS)]


@dataclass(frozen=True, kw_only=True)
class ExportMatcher:
    """Write LightGlue as an ONNX file for other programs, languages and devices, checked against PyTorch."""

    out: Path
    """The file to write, ending in .onnx, beside which its certificate is written; with --staged a folder."""
    features: str = "aliked"
    """Features that it matches: aliked, disk, sift, superpoint, doghardnet; or a checkpoint of your own."""
    layers: int | None = None
    """Only the first so many layers; None: all."""
    flavour: FlavourName = "photoglue"
    """What it is for: photoglue is the general form, others are what the program of that name loads."""
    dtype: Literal["float32", "float16"] = "float32"
    """What the products of the layers compute in; inputs and outputs are always float32."""
    opset: int = 18
    """Version of ONNX's operations."""
    photos: tuple[Path, ...] = ()
    """Photos to check it with, each with the next one; none: those that come with scikit-image."""
    staged: bool = False
    """Write a folder of stages, whose runtime exits early and drops points, as PyTorch does."""

    def run(self, console: Console) -> int:
        """Write and check; returns 1 if it does not agree with PyTorch."""
        if self.staged:
            if self.flavour != "photoglue" or self.dtype != "float32":
                raise ConfigError("--staged is for --flavour photoglue and --dtype float32; leave those out.")
            staged = export_staged(self.out, self.features, n_layers=self.layers, opset=self.opset, photos=self.photos)
            return tell(console, self.out, staged)
        certificate = export_matcher(
            self.out,
            self.features,
            n_layers=self.layers,
            flavour=self.flavour,
            dtype=self.dtype,
            opset=self.opset,
            photos=self.photos,
        )
        return tell(console, self.out, certificate)


@dataclass(frozen=True, kw_only=True)
class ExportExtractor:
    """Write an extractor as an ONNX file for photos of any size, checked against PyTorch."""

    out: Path
    """The file to write, ending in .onnx; its certificate is written beside it."""
    features: str = "aliked"
    """aliked, aliked-t16, aliked-n16rot, aliked-n32, disk or superpoint."""
    max_keypoints: int = 2048
    """Number of points that it gives; those that a photo has not have the score 0."""
    flavour: Literal["photoglue", "opencv", "colmap"] = "photoglue"
    """What it is for: photoglue is the general form, others are what the program of that name loads."""
    deform: Literal["native", "portable"] | None = None
    """ALIKED's deformable convolutions: one operation each (opset 22), or for what lacks it, such as OpenVINO; None:
    native, unless what the flavour is for lacks it."""
    opset: int | None = None
    """Version of ONNX's operations; None: 22 where it is needed, else 18."""
    photos: tuple[Path, ...] = ()
    """Photos to check it with; none: those that come with scikit-image."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially (SuperPoint)."""

    def run(self, console: Console) -> int:
        """Write and check; returns 1 if it does not agree with PyTorch."""
        certificate = export_extractor(
            self.out,
            self.features,
            max_keypoints=self.max_keypoints,
            flavour=self.flavour,
            deform=self.deform,
            opset=self.opset,
            photos=self.photos,
            allow_noncommercial=self.allow_noncommercial,
        )
        return tell(console, self.out, certificate)


@dataclass(frozen=True, kw_only=True)
class ExportPipeline:
    """Write an extractor and its matcher as one ONNX file, in the form of LightGlue-ONNX, checked against PyTorch."""

    out: Path
    """The file to write, ending in .onnx; its certificate is written beside it."""
    features: str = "aliked"
    """aliked, aliked-n16rot, aliked-n32, disk or superpoint."""
    max_keypoints: int = 1024
    """Number of points of each photo."""
    pairs: int = 1
    """Number of pairs that go in at once."""
    deform: Literal["native", "portable"] = "native"
    """ALIKED's deformable convolutions: one operation each (opset 22), or for what lacks it, such as OpenVINO."""
    photos: tuple[Path, ...] = ()
    """Photos to check it with, each with the next one; none: those that come with scikit-image."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially (SuperPoint)."""

    def run(self, console: Console) -> int:
        """Write and check; returns 1 if it does not agree with PyTorch."""
        certificate = export_pipeline(
            self.out,
            self.features,
            max_keypoints=self.max_keypoints,
            pairs=self.pairs,
            deform=self.deform,
            photos=self.photos,
            allow_noncommercial=self.allow_noncommercial,
        )
        return tell(console, self.out, certificate)


@dataclass(frozen=True, kw_only=True)
class Lint:
    """Say what is known to stand against a program's reading an ONNX file, without running that program."""

    file: tyro.conf.Positional[Path]
    """The .onnx file, of ours or another."""
    consumer: Literal["colmap", "lightglue-onnx", "opencv", "openvino", "tensorrt"]
    """The program."""

    def run(self, console: Console) -> int:
        """Look; returns 1 if something is known."""
        faults = lint(self.file, self.consumer)
        for fault in faults:
            console.print(fault, soft_wrap=True, markup=False)
        if not faults:
            console.print(f"Nothing is known against {self.consumer}'s reading {self.file}.", soft_wrap=True)
        return 1 if faults else 0


@dataclass(frozen=True, kw_only=True)
class ExportBundle:
    """Write an extractor and its matcher into a folder, with a manifest, checked against PyTorch."""

    out: Path
    """The folder; it is made."""
    features: str = "aliked"
    """aliked, aliked-n16rot, aliked-n32, disk or superpoint."""
    layers: int | None = None
    """Only the first so many layers of the matcher; None: all."""
    max_keypoints: int = 2048
    """Number of points that the extractor gives."""
    deform: Literal["native", "portable"] = "native"
    """ALIKED's deformable convolutions: one operation each (opset 22), or for what lacks it, such as OpenVINO."""
    dtype: Literal["float32", "float16"] = "float32"
    """What the products of the matcher's layers compute in."""
    photos: tuple[Path, ...] = ()
    """Photos to check them with, each with the next one; none: those that come with scikit-image."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially (SuperPoint)."""

    def run(self, console: Console) -> int:
        """Write and check; returns 1 if one does not agree with PyTorch."""
        bundle = export_bundle(
            self.out,
            self.features,
            n_layers=self.layers,
            max_keypoints=self.max_keypoints,
            deform=self.deform,
            dtype=self.dtype,
            photos=self.photos,
            allow_noncommercial=self.allow_noncommercial,
        )
        codes = [
            tell(console, self.out / "extractor.onnx", bundle.extractor),
            tell(console, self.out / "matcher.onnx", bundle.matcher),
        ]
        return max(codes)


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Check an exported file on this machine: its hashes, and its results against PyTorch's, which lie beside it."""

    file: tyro.conf.Positional[Path]
    """The .onnx file, beside which FILE.onnx.npz lies, or the folder of a staged matcher."""
    provider: tuple[str, ...] = ()
    """Providers of onnxruntime, such as CUDAExecutionProvider; none: the fastest that are there."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially (SuperPoint)."""

    def run(self, console: Console) -> int:
        """Check; returns 1 if it does not agree with PyTorch."""
        certificate = verify(self.file, providers=self.provider or None, allow_noncommercial=self.allow_noncommercial)
        return tell(console, self.file, certificate)


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write matchers and extractors as ONNX files, each with a certificate that it agrees with PyTorch."""

    command: (
        Annotated[ExportMatcher, tyro.conf.subcommand("matcher")]
        | Annotated[ExportExtractor, tyro.conf.subcommand("extractor")]
        | Annotated[ExportBundle, tyro.conf.subcommand("bundle")]
        | Annotated[ExportPipeline, tyro.conf.subcommand("pipeline")]
        | Annotated[Verify, tyro.conf.subcommand("verify")]
        | Annotated[Lint, tyro.conf.subcommand("lint")]
    )

    def run(self, console: Console) -> int:
        """Run the command, with a sign of life on terminals: torch's exporter does not say how far it is."""
        with console.status("Working: a network takes about a minute of one core"):
            return self.command.run(console)


def tell(console: Console, path: Path, certificate: Certificate) -> int:
    """Print what a certificate says; returns 1 if it has faults."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    extractor = certificate.role == "extractor"
    columns = ("checked with", "points" if extractor else "matches", "equal", "max. Δscore", "mean Δscore")
    positions = any(check.position_error is not None for check in certificate.checks)
    for column in (*columns, *(("max. Δ px",) if positions else ()), "exit"):
        table.add_column(column, justify="left" if column == "checked with" else "right")
    for check in certificate.checks:
        cells = [check.name + ("" if check.real else " (made up)"), str(check.count), f"{check.equal:.2%}"]
        cells += [f"{check.max_error:.1e}", f"{check.mean_error:.1e}"]
        cells += [] if check.position_error is None else [f"{check.position_error:.1e}"]
        cells.append("–" if check.exit_layer is None else f"{check.exit_layer}")
        table.add_row(*cells)
    console.print(table)
    commercial = "" if certificate.commercial else ", NON-COMMERCIAL"
    console.print(f"weights     {certificate.weights} ({certificate.licence}{commercial})", soft_wrap=True)
    console.print(
        f"file        {path} (opset {certificate.opset}, {certificate.dtype}, {certificate.flavour})", soft_wrap=True
    )
    beside = path / "staged.json" if path.is_dir() else certificate_path(path)
    console.print(f"certificate {beside}", soft_wrap=True)
    for fault in certificate.faults:
        console.print(f"differs     {fault}", soft_wrap=True)
    return 1 if certificate.faults else 0
