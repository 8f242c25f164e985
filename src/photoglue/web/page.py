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

from photoglue.version import __version__
from photoglue.web.options import WebOptions

SCRIPTS = ("view.js", "page.js")


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page and its Content Security Policy."""

    html: bytes
    policy: str
    """It runs our script, takes our style, asks this server, and nothing else, whatever names of files hold."""


def page_html(options: WebOptions) -> Page:
    """The page for a server with these options."""
    style = _resource("page.css")
    script = "".join(_resource(name) for name in SCRIPTS)
    settings = {**options.choices(), "max_bytes": options.max_upload_mb * 10**6, "version": __version__}
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string(_resource("page.html.j2"))
    text = template.render(style=Markup(style), script=Markup(script), data=Markup(_data(settings)))
    return Page(html=text.encode(), policy=_policy(style, script))


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
    return files("photoglue.web").joinpath(name).read_text(encoding="utf-8")
