"""The report as one HTML page that needs nothing else: no script, no font, no picture from elsewhere."""

import re
from base64 import b64encode
from html import escape
from importlib.resources import files

from photoglue.evaluation.report.content import Report, Section
from photoglue.evaluation.report.pictures import Picture
from photoglue.evaluation.report.plots import STYLE, chart_svg, palette, stroke
from photoglue.evaluation.report.tables import Cell, Column, Grid, Row

# The browser itself keeps the page from asking anyone for anything, whatever the names in it hold.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
SCENES_SHOWN = 8
"""A table of more scenes is folded."""


def html_of(report: Report) -> str:
    """The whole page."""
    sheet = files("photoglue.evaluation.report").joinpath("report.css").read_text(encoding="utf-8")
    style = "\n".join([palette(":root"), STYLE, sheet])
    glance = "".join(
        f"<section id='glance-{i}'><h2>At a glance</h2><p class='kicker'>{escape(kind)}</p>{_table(grid)}</section>"
        for i, (kind, grid) in enumerate(report.overviews)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{escape(report.title)} – PhotoGlue evaluation</title>
<style>
{style}
</style>
</head>
<body>
<header>
<p class="kicker">PhotoGlue evaluation</p>
<h1>{escape(report.title)}</h1>
<p class="lead">{escape(report.lead)}</p>
</header>
<div class="page">
{_contents(report)}
<main>
{glance}
{"".join(map(_section, report.sections))}
<section id="cards">
<h2>Protocol cards</h2>
<p>All that the numbers depend on besides the methods and the photos. Fields in which cards differ are marked.</p>
{_table(report.cards, "cards")}
</section>
{_glossary(report)}
</main>
</div>
</body>
</html>
"""


def _contents(report: Report) -> str:
    links = [(f"glance-{i}", f"At a glance: {kind}") for i, (kind, _) in enumerate(report.overviews)]
    links += [(f"data-{section.slug}", section.title) for section in report.sections]
    links.append(("cards", "Protocol cards"))
    if report.terms:
        links.append(("terms", "What the values mean"))
    items = "".join(f'<li><a href="#{slug}">{escape(title)}</a></li>' for slug, title in links)
    return f'<nav aria-label="Contents"><ol>{items}</ol></nav>'


def _section(section: Section) -> str:
    parts = [f'<section id="data-{section.slug}">', f"<h2>{escape(section.title)}</h2>"]
    parts.append(f'<p class="kicker">{escape(section.kicker)}</p>')
    if section.finding:
        parts.append(f'<p class="finding">{escape(section.finding)}</p>')
    if section.notes:
        notes = "".join(f"<li>{escape(note)}</li>" for note in section.notes)
        parts.append(f'<aside class="warning"><p>Not measured alike:</p><ul>{notes}</ul></aside>')
    parts.append(_table(section.values))
    if section.plots:
        parts.append(f"<h3>{escape(section.plots_title)}</h3>")
    for plot in section.plots:
        chart = chart_svg(plot.chart, standalone=False)
        parts.append(f'<div class="plot"><figure>{chart}</figure>{_table(plot.shares)}</div>')
    if section.scenes is not None:
        short = len(section.scenes.rows) <= SCENES_SHOWN
        title, table = escape(section.scenes_title), _table(section.scenes)
        parts.append(f"<h3>{title}</h3>{table}" if short else _folded(title, table))
    if section.scene_values is not None:
        parts.append(_folded("All values by scene", _table(section.scene_values)))
    if section.worst:
        pictures = "".join(map(_picture, section.worst))
        note = f'<p class="kicker">{escape(section.worst_note)}</p>' if section.worst_note else ""
        parts.append(f'<h3>{escape(section.worst_title)}</h3>{note}<div class="pictures">{pictures}</div>')
    return "\n".join([*parts, "</section>"])


def _picture(picture: Picture) -> str:
    record = picture.record
    names = f"{record.name0} – {record.name1}"
    if picture.jpeg is None:
        photo = f'<p class="missing">{escape(picture.problem)}</p>'
    else:
        data = b64encode(picture.jpeg).decode()
        photo = f'<img alt="{escape(names)}" src="data:image/jpeg;base64,{data}">'
    facts = "".join(f"<span>{escape(fact)}</span>" for fact in (*picture.facts, record.scene))
    others = "".join(
        f"<li>{_swatch(series)}{escape(name)} <b>{escape(error)}</b></li>" for name, series, error in picture.others
    )
    return (
        f'<figure class="pair">{photo}<figcaption><p class="facts"><b>{escape(picture.error)}</b>{facts}</p>'
        f'<p class="names">{_breakable(names)}</p>'
        + (f"<ul>{others}</ul>" if others else "")
        + "</figcaption></figure>"
    )


def _glossary(report: Report) -> str:
    if not report.terms:
        return ""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(meaning)}</dd>" for name, meaning in report.terms)
    return f'<section id="terms"><h2>What the values mean</h2><dl>{items}</dl></section>'


def _table(grid: Grid, kind: str = "") -> str:
    head = "".join(map(_head, grid.columns))
    rows = "".join(map(_row, grid.rows))
    # The focus lets a keyboard scroll a wide table.
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr><th scope="col">{escape(grid.corner)}</th>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _head(column: Column) -> str:
    shown = _breakable(column.title) + (f' <span class="unit">{escape(column.unit)}</span>' if column.unit else "")
    if column.meaning:
        shown = f'<abbr title="{escape(column.meaning)}">{shown}</abbr>'
    return f'<th scope="col">{shown}</th>'


def _row(row: Row) -> str:
    badge = f' <span class="badge">card {escape(row.badge)}</span>' if row.badge else ""
    swatch = "" if row.series is None else _swatch(row.series)
    head = f'<div class="head">{swatch}<span>{_breakable(row.head)}{badge}</span></div>'
    return f'<tr><th scope="row">{head}</th>{"".join(map(_cell, row.cells))}</tr>'


def _cell(cell: Cell) -> str:
    spread = f' <span class="spread">± {escape(cell.spread)}</span>' if cell.spread else ""
    opening = '<td class="marked">' if cell.marked else "<td>"
    return f"{opening}{escape(cell.text)}{spread}</td>"


def _breakable(name: str) -> str:
    """A name of a method or file, escaped, that may be broken after what joins its words."""
    return re.sub(r"([+/_@])(?!$)", r"\1<wbr>", escape(name))


def _folded(title: str, content: str) -> str:
    """Content, as HTML, that is shown when the reader asks for it."""
    return f"<details><summary>{title}</summary>{content}</details>"


def _swatch(series: int) -> str:
    """The line of a method as the plots draw it."""
    line = f'<path class="curve" d="M1 6h24" {stroke(series)}/>'
    return f'<svg class="chart swatch" viewBox="0 0 26 12" aria-hidden="true">{line}</svg>'
