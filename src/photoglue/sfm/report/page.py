"""The page: one file that needs nothing else, with a viewer of our own."""

import hashlib
import json
import os
import re
import warnings
from base64 import b64encode
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from photoglue.errors import ConfigError, PhotoGlueWarning
from photoglue.files import check_output, write_whole
from photoglue.sfm.report.content import MapPage, Places, columns_of, facts_of, gather, settings_of
from photoglue.sfm.report.links import CountedPair, Link
from photoglue.solvers.colmap_model import Model, read_model


def write_map_report(
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | Model,
    photos: str | os.PathLike[str] | Places,
    verified: Sequence[CountedPair] | None = None,
    unplaced: Mapping[str, str] | None = None,
    links: Sequence[Link] | None = None,
    settings: Mapping[str, Any] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> Path:
    """Write a page about a COLMAP model: its points and cameras to turn, its photos, pairs, and weakest links.

    The page is one file with small copies of the photos inside, and needs neither a network nor other files. It appears
    when it is whole.

    Args:
        out: The file, which ends in .html.
        model: The folder of a COLMAP model, of any program; or a model that was read.
        photos: The folder that its names are paths below; or a pair of that folder and of where photos are that are
            elsewhere, by name. A photo that cannot be read is shown without its picture.
        verified: The pairs of photos whose matches passed a geometric check: both names, inliers, and the geometry
            ("calibrated", "planar", …). None: pairs that see points of the model in common, with how many.
        unplaced: The photos that are not in the model, by name, each with the reason.
        links: Matches in pixels of the upright photos for the pictures of the weakest links (``weakest_links`` says
            which pairs these are); None: points of the model that both photos see.
        settings: What the model was made with, by name, in the order in which it is shown.
        seconds: The time of each stage.

    Returns:
        The path of the page.

    Raises:
        ConfigError: If the model cannot be read or has no photo, or the file's name does not end in .html.
        OutputError: If the page cannot be written.
        MissingExtra: If pycolmap is not installed.
    """
    out = Path(out)
    places = photos if isinstance(photos, tuple) else (Path(photos), {})
    check_output(out, (".html",))
    view = model if isinstance(model, Model) else read_model(model)
    if not view.images:
        where = "" if isinstance(model, Model) else f" {str(model)!r}"
        raise ConfigError(f"The model{where} has no photo: there is nothing to show.")
    rows, scene, pictures, pairs = gather(view, places, verified, unplaced or {}, links)
    pictureless = sum(row.placed and not row.thumbnail for row in rows)
    if pictureless:
        warnings.warn(
            f"{pictureless} of {len(view.images)} photos of the model are not in {str(places[0])!r}, or cannot be "
            "read: the page is without their pictures.",
            PhotoGlueWarning,
            stacklevel=2,
        )
    kinds, columns = columns_of(pairs, rows)
    page = MapPage(
        title=_title(places[0].resolve()),
        facts=facts_of(view, rows),
        rows=rows,
        scene=scene,
        links=pictures,
        verified=verified is not None,
        kinds=kinds,
        pairs=columns,
        settings=settings_of(settings or {}),
        seconds=tuple((seconds or {}).items()),
        marked=frozenset(places[1]),
    )
    write_whole(out, html_of(page).encode())
    return out


def html_of(page: MapPage) -> str:
    """The whole page. Nothing in it is taken for markup."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    # A name of a file may be broken after what joins its words.
    environment.filters["breakable"] = lambda name: Markup(re.sub(r"([+/_@-])(?!$)", r"\1<wbr>", str(escape(name))))
    script = _resource("viewer.js") + _resource("page.js")
    template = environment.from_string(_resource("report.html.j2"))
    text = template.render(
        page=page,
        style=Markup(_resource("report.css")),
        script=Markup(script),
        # The browser itself runs no other script, whatever the names in the page hold.
        script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(_data(page)),
    )
    return text.lstrip() + "\n"


def _title(photos: Path) -> str:
    """The name of the folder, or of the one that it is in if it is called as all such folders are."""
    return photos.parent.name if photos.name.lower() in ("images", "photos") and photos.parent.name else photos.name


def _data(page: MapPage) -> str:
    """What the script reads, as JSON in which no tag can begin or end."""
    content = {
        "names": [row.name for row in page.rows],
        "placed": [i for i, row in enumerate(page.rows) if row.placed],
        "marked": [i for i, row in enumerate(page.rows) if row.name in page.marked],
        "photos": [row.thumbnail for row in page.rows],
        "points": page.scene.points,
        "colours": page.scene.colours,
        "cameras": page.scene.cameras,
        "pairs": page.pairs,
        "kinds": page.kinds,
        "words": "inliers" if page.verified else "shared points",
    }
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _resource(name: str) -> str:
    return files("photoglue.sfm.report").joinpath(name).read_text(encoding="utf-8")
