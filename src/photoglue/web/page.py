"""The page as one text that needs nothing else, and what a browser may do with it."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from photoglue.web.options import WebOptions

SCRIPTS = ("view.js", "page.js")
WITH_MAP = ("viewer.js", "place.js")
"""What a page with a map has, too: the viewer of the page about a model, and what places photos in it."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page and its Content Security Policy."""

    html: bytes
    policy: str
    """It runs our script, takes our style, asks this server, and nothing else, whatever names of files hold."""


def page_html(options: WebOptions, map_name: str | None = None) -> Page:
    """The page for a server with these options, and a map of that name."""
    style = _resource("page.css")
    script = "".join(_resource(name) for name in SCRIPTS + (WITH_MAP if map_name is not None else ()))
    settings = {**options.choices(), "max_bytes": options.max_upload_mb * 10**6, "map": map_name}
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string(_resource("page.html.j2"))
    text = template.render(map_name=map_name, style=Markup(style), script=Markup(script), data=Markup(_data(settings)))
    return Page(html=text.lstrip().encode(), policy=_policy(style, script))


def _policy(style: str, script: str) -> str:
    rules = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "img-src": "'self' blob: data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _data(content: Mapping[str, Any]) -> str:
    """JSON in which no tag can begin or end."""
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _resource(name: str) -> str:
    package = "photoglue.sfm.report" if name == "viewer.js" else "photoglue.web"
    return files(package).joinpath(name).read_text(encoding="utf-8")
