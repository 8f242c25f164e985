"""`photoglue localize PHOTO… --map DIR`: where photos were taken, in a map or any COLMAP model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from photoglue.cli.extract import progress_bar
from photoglue.cli.map import stages
from photoglue.errors import ConfigError, PhotoGlueError
from photoglue.files import check_output
from photoglue.sfm.indexing import named_photos
from photoglue.sfm.localize import Localizer
from photoglue.sfm.locating.adopt import AdoptOptions, adopt_model
from photoglue.sfm.locating.answer import Localisation
from photoglue.sfm.locating.drawing import draw_localisation
from photoglue.sfm.locating.many import localize_photos
from photoglue.sfm.locating.page import write_localisation_report
from photoglue.sfm.locating.placing import LocalizeOptions
from photoglue.sfm.locating.writing import HLOC
from photoglue.viz.save import save_figure

SHOWN = 50
"""Lines of the table."""


@final
@dataclass(frozen=True, kw_only=True)
class Localize:
    """Find out where photos were taken, in a map of `photoglue map` or any COLMAP model.

    A photo whose pose cannot be believed gets the reason instead of one. An interrupted run goes on where it was.
    """

    images: tyro.conf.Positional[tuple[Path, ...]]
    """Photos, or folders of photos."""
    map: Path | None = None
    """The folder of a map, as `photoglue map --out` made it."""
    model: Path | None = None
    """Instead of --map: the folder of any COLMAP model, such as sparse/0, of SIFT or other features. It is not changed;
    our features are extracted in its photos, and kept beside it."""
    photos: Path | None = None
    """With --model: the folder of the photos of the model."""
    keep: Path | None = None
    """With --model: the folder for our features of its photos; None: beside the model, with -photoglue behind its
    name."""
    features: str = "aliked"
    """With --model: name of the local features."""
    out: Path | None = None
    """A folder for the answers: results.json, hloc's results.txt, trajectory_tum.txt, and a COLMAP model as text of the
    photos with a place, sparse/; made, or added to."""
    cameras: str | None = None
    """The cameras, if they are known: hloc's queries_with_intrinsics.txt, whose photos alone are placed then; or "f" or
    "fx,fy,cx,cy" in pixels of the upright photos, for all; None: from a photo of the map by the same camera, from EXIF,
    or estimated."""
    masks: Path | None = None
    """A folder with a mask for PHOTO.jpg as PHOTO.jpg.png, PHOTO.png or PHOTO.jpg: no points where it is black."""
    sequence: bool = False
    """The photos were taken one after the other, as their names are ordered: each is looked for near the one before."""
    top: int = 20
    """At most so many photos of the map are matched with each photo."""
    min_inliers: int = 12
    """A pose that fewer points agree with is not believed."""
    no_turn: bool = False
    """Do not try photos turned by 90, 180 and 270 degrees if they have no place as they are."""
    plot: Path | None = None
    """A folder for pictures of the photos beside what they have in common with the map; or a .jpg or .png file, for a
    single photo."""
    report: Path | None = None
    """Write the page of the map with the placed photos among its cameras to this .html file."""
    device: str | None = None
    """Device to compute on, such as cpu or cuda:0; None: a GPU if there is one."""

    def run(self, console: Console) -> int:
        """Place the photos, and print a table; returns 1 if a photo has no place, else 0."""
        _, named = named_photos(self.images)
        if self.report is not None:
            check_output(self.report, (".html",))
        if self.plot is not None and self.plot.suffix and len(named) > 1:
            raise ConfigError(f"There are {len(named)} photos: give --plot a folder, not {str(self.plot)!r}.")
        folder = self._map(console)
        options = LocalizeOptions(top=self.top, min_inliers=self.min_inliers, turn=not self.no_turn)
        with Localizer(folder, options, device=self.device) as localizer:
            with progress_bar(console, "placing", kept=False) as told:
                answers = localize_photos(
                    self.images,
                    localizer,
                    self.out,
                    cameras=self.cameras,
                    masks=self.masks,
                    sequence=self.sequence,
                    progress=told,
                )
            _print(console, answers)
            if self.out is not None:
                console.print(f"→ {self.out / HLOC} and others beside it", soft_wrap=True)
            if self.plot is not None:
                self._plot(console, answers, named, localizer)
            if self.report is not None:
                path = write_localisation_report(self.report, answers, localizer.map, named)
                console.print(f"→ {path}", soft_wrap=True)
        return 0 if all(answer.localised for answer in answers) else 1

    def _map(self, console: Console) -> Path:
        """The folder of the map; that of a COLMAP model is made first."""
        if (self.map is None) == (self.model is None):
            raise ConfigError("Give the folder of a map (--map), or a COLMAP model and its photos (--model, --photos).")
        if self.map is not None:
            if self.photos is not None or self.keep is not None:
                raise ConfigError("--photos and --keep go with --model; a map knows where its photos are.")
            return self.map
        if self.photos is None or self.model is None:
            raise ConfigError("--model needs the folder of its photos: --photos.")
        options = AdoptOptions(features=self.features, device=self.device)
        with stages(console) as told:
            adopted = adopt_model(self.model, self.photos, self.keep, options, progress=told)
        for line in adopted.notes:
            console.print(line, soft_wrap=True)
        console.print(f"{adopted.photos} photos, {adopted.points} points → {adopted.out}", soft_wrap=True)
        return adopted.out

    def _plot(
        self, console: Console, answers: tuple[Localisation, ...], named: Mapping[str, Path], localizer: Localizer
    ) -> None:
        assert self.plot is not None
        for answer in answers:
            if not answer.localised:
                continue
            path = self.plot
            if not path.suffix:
                path = path / f"{Path(answer.name).with_suffix('').as_posix().replace('/', '_')}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
            try:
                save_figure(draw_localisation(named[answer.name], answer, localizer.map), path)
            except PhotoGlueError as error:
                console.print(Text.assemble(("not drawn:", "red"), f" {answer.name}: {error}"), soft_wrap=True)
            else:
                console.print(f"picture → {path}", soft_wrap=True)


def _print(console: Console, answers: tuple[Localisation, ...]) -> None:
    placed = [answer for answer in answers if answer.localised]
    if placed:
        table = Table("photo", "x", "y", "z", "±", "± °", "inliers", "focal length", "nearest")
        for answer in placed[:SHOWN]:
            table.add_row(*map(Text, _row(answer)))
        console.print(table)
    others = [answer for answer in answers if not answer.localised]
    if others:
        table = Table("not localised", "why")
        for answer in others[:SHOWN]:
            table.add_row(Text(answer.name), Text(answer.reason or ""))
        console.print(table)
    for rows in (placed, others):
        if len(rows) > SHOWN:
            console.print(f"and {len(rows) - SHOWN} more")
    for answer in placed:
        for note in answer.notes:
            console.print(f"{answer.name}: {note}", soft_wrap=True)
    console.print(f"{len(placed)} of {len(answers)} photos have a place")


def _row(answer: Localisation) -> list[str]:
    assert answer.centre is not None and answer.uncertainty is not None and answer.camera is not None
    turned = f", turned by {answer.turned_deg}°" * bool(answer.turned_deg)
    return [
        answer.name,
        *(f"{value:.4g}" for value in answer.centre.tolist()),
        f"{answer.uncertainty.position:.2g}",
        f"{answer.uncertainty.rotation_deg:.2g}",
        f"{answer.inliers} of {answer.matches}",
        f"{answer.camera.fx:.0f} px, {answer.focal_source}{turned}",
        answer.nearest[0].name,
    ]
