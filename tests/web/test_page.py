"""The page as text: whole, with a policy that lets nothing else in."""

import hashlib
import re
from base64 import b64encode


def page():
    from photoglue.web.options import WebOptions
    from photoglue.web.page import page_html

    return page_html(WebOptions())


def test_the_policy_allows_our_script_and_style_alone():
    made = page()
    text = made.html.decode()
    rules = dict(rule.split(" ", 1) for rule in made.policy.split("; "))
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert rules[rule] == f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
    assert rules["default-src"] == rules["frame-ancestors"] == rules["form-action"] == rules["base-uri"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert "unsafe" not in made.policy


def test_the_page_needs_nothing_else():
    text = page().html.decode()
    assert not re.search(r"<(?:script|img|iframe|source)[^>]*\bsrc=|@import|url\(|https?://", text)
    assert not re.search(r"\bon\w+=\"|style=\"|innerHTML|eval\(", text)


def test_labels_and_names():
    """What a screen reader reads: every control has a name, every id is there once."""
    text = page().html.decode()
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for used in re.findall(r'element\("([\w-]+)"\)', text):
        assert used in ids, used
    for canvas in re.findall(r"<canvas[^>]*>", text):
        assert "aria-label" in canvas or "aria-hidden" in canvas or 'id="loupe"' in canvas
