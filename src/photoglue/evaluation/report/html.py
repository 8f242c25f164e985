"""The report as one HTML page that needs nothing else: no script, no font, no picture from elsewhere."""

import re
from base64 import b64encode
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from photoglue.evaluation.report.content import Report
from photoglue.evaluation.report.plots import STYLE, chart_svg, palette, stroke

SCENES_SHOWN = 8
"""A table of more scenes is folded."""


def html_of(report: Report) -> str:
    """The whole page. Nothing in the report is taken for markup."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters |= {
        # A name of a method or file may be broken after what joins its words.
        "breakable": lambda name: Markup(re.sub(r"([+/_@])(?!$)", r"\1<wbr>", str(escape(name)))),
        "stroke": lambda series: Markup(stroke(series)),
        "svg": lambda chart: Markup(chart_svg(chart, standalone=False)),
        "base64": lambda content: b64encode(content).decode(),
    }
    style = "\n".join([palette(":root"), STYLE, _resource("report.css")])
    template = environment.from_string(_resource("report.html.j2"))
    return template.render(report=report, style=Markup(style), scenes_shown=SCENES_SHOWN).lstrip() + "\n"


def _resource(name: str) -> str:
    return files("photoglue.evaluation.report").joinpath(name).read_text(encoding="utf-8")
