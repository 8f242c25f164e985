"""The report as Markdown, for repositories and terminals; its plots and pictures are files beside it."""

import re
from collections.abc import Mapping

from photoglue.evaluation.report.content import Report, Section
from photoglue.evaluation.report.plots import chart_svg
from photoglue.evaluation.report.tables import Cell, Grid


def markdown_of(report: Report, folder: str) -> tuple[str, Mapping[str, bytes]]:
    """The text, and the files that it shows.

    Args:
        report: What to say.
        folder: Name of the folder of those files, beside that of the text.

    Returns:
        The text, and the content of each file by its name in the folder.
    """
    files: dict[str, bytes] = {}
    lines = [f"# {escaped(report.title)}", "", escaped(report.lead), ""]
    for kind, grid in report.overviews:
        lines += [f"## At a glance: {escaped(kind)}", "", *_table(grid), ""]
    for section in report.sections:
        lines += _section(section, folder, files)
    lines += ["## Protocol cards", "", *_table(report.cards), ""]
    if report.glossary:
        lines += ["## What the values mean", ""]
        lines += [f"- **{escaped(name)}**: {escaped(meaning)}" for name, meaning in report.glossary]
        lines.append("")
    return "\n".join(lines), files


def escaped(text: str) -> str:
    """Text that is not ours so that Markdown and HTML take nothing in it for markup; on one line."""
    one_line = " ".join(text.split())
    entities = one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#!|~$])", r"\\\1", entities)


def _section(section: Section, folder: str, files: dict[str, bytes]) -> list[str]:
    lines = [f"## {escaped(section.title)}", "", escaped(section.kicker), ""]
    if section.finding:
        lines += [escaped(section.finding), ""]
    for warning in section.warnings:
        lines += [f"**Warning.** {escaped(warning)}", ""]
    if section.notes:
        lines += ["Not measured alike:", "", *(f"- {escaped(note)}" for note in section.notes), ""]
    lines += [*_table(section.values), ""]
    if section.plots:
        lines += [f"### {escaped(section.plots_title)}", ""]
    for i, plot in enumerate(section.plots):
        name = f"{section.slug}-errors-{i}.svg"
        files[name] = chart_svg(plot.chart, standalone=True).encode()
        lines += [f"![{escaped(plot.chart.title)}]({folder}/{name})", "", *_table(plot.shares), ""]
    if section.scenes is not None:
        lines += [f"### {escaped(section.scenes_title)}", "", *_table(section.scenes), ""]
    if section.worst:
        lines += [f"### {escaped(section.worst_title)}", "", escaped(section.worst_note), ""]
    for i, picture in enumerate(section.worst):
        record = picture.record
        pair = f"{escaped(record.name0)} – {escaped(record.name1)}"
        facts = [f"**{escaped(picture.error)}**", *map(escaped, picture.facts), escaped(record.scene), pair]
        facts += [f"{escaped(name)}: {escaped(error)}" for name, _, error in picture.others]
        if picture.jpeg is None:
            lines += [" · ".join(facts), "", escaped(picture.problem), ""]
        else:
            name = f"{section.slug}-worst-{i}.jpg"
            files[name] = picture.jpeg
            lines += [" · ".join(facts), "", f"![{pair}]({folder}/{name})", ""]
    return lines


def _table(grid: Grid) -> list[str]:
    titles = [column.title + (f", {column.unit}" if column.unit else "") for column in grid.columns]
    head = [grid.corner, *titles]
    lines = [_row([escaped(text) for text in head]), _row(["---", *["---:"] * len(grid.columns)])]
    for row in grid.rows:
        name = escaped(row.head) + (f" (card {row.badge})" if row.badge else "")
        lines.append(_row([name, *map(_cell, row.cells)]))
    return lines


def _cell(cell: Cell) -> str:
    text = escaped(cell.text) + (f" ± {escaped(cell.spread)}" if cell.spread else "")
    return f"**{text}**" if cell.marked else text


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
