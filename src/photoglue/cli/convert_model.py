"""`photoglue convert-model MODEL …`: a COLMAP model for 3DGS, gsplat, nerfstudio, viewers, and as a page to look at."""

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from photoglue.errors import ConfigError
from photoglue.files import check_output
from photoglue.sfm import read_model, undistort, write_map_report, write_nerfstudio, write_ply, write_text


@dataclass(frozen=True, kw_only=True)
class ConvertModel:
    """Write a COLMAP model, made by any program, in the forms that other programs read.

    Any of the options --undistort, --nerfstudio, --ply, --text and --report may be given together; the model itself
    stays as it is.
    """

    model: tyro.conf.Positional[Path]
    """The folder of the model: cameras, images and points3D, all .bin or all .txt."""
    photos: Path | None = None
    """The folder that names in the model are paths below; needed by --undistort, --nerfstudio and --report."""
    undistort: Path | None = None
    """A folder for 3DGS and gsplat: images/ without distortion, and their PINHOLE model in sparse/0/."""
    nerfstudio: Path | None = None
    """A folder for nerfstudio: transforms.json and sparse_pc.ply."""
    ply: Path | None = None
    """A .ply file of the points with their colours."""
    text: Path | None = None
    """A folder for the model as COLMAP's text files."""
    report: Path | None = None
    """An .html page with the model to turn, its photos and pairs."""

    def run(self, console: Console) -> int:
        """Write what is asked for; returns 0."""
        self._check()
        view = read_model(self.model)
        console.print(f"{len(view.images)} photos, {len(view.points):,} points in {self.model}", soft_wrap=True)
        photos = self.photos or Path()
        if self.ply is not None:
            write_ply(self.model, self.ply)
            console.print(f"points      → {self.ply}", soft_wrap=True)
        if self.text is not None:
            write_text(self.model, self.text)
            console.print(f"text        → {self.text}", soft_wrap=True)
        if self.nerfstudio is not None:
            console.print(f"nerfstudio  → {write_nerfstudio(self.model, photos, self.nerfstudio)}", soft_wrap=True)
        if self.report is not None:
            page = write_map_report(self.report, model=self.model, photos=photos)
            console.print(f"report      → {page} ({page.stat().st_size / 1e6:.1f} MB)", soft_wrap=True)
        if self.undistort is not None:
            written = undistort(self.model, photos, self.undistort)
            console.print(f"undistorted → {self.undistort} ({written.images} photos)", soft_wrap=True)
            if written.left_out:
                console.print(f"left out, since they see no point: {', '.join(written.left_out)}", soft_wrap=True)
        return 0

    def _check(self) -> None:
        with_photos = {"--undistort": self.undistort, "--nerfstudio": self.nerfstudio, "--report": self.report}
        wanted = [name for name, path in with_photos.items() if path is not None]
        if not wanted and self.ply is None and self.text is None:
            raise ConfigError("Nothing was asked for; give --undistort, --nerfstudio, --ply, --text or --report.")
        if wanted and self.photos is None:
            raise ConfigError(f"{wanted[0]} needs the photos; give their folder as --photos.")
        if self.photos is not None and not self.photos.is_dir():
            raise ConfigError(f"There is no folder {str(self.photos)!r} of photos.")
        for path, endings in ((self.ply, (".ply",)), (self.report, (".html",))):
            if path is not None:
                check_output(path, endings)
