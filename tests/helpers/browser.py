"""A real browser for tests of pages, without a network; they skip where there is none."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
# WebGL by software; without a sandbox, which root has none of.
SWITCHES = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@contextmanager
def browser() -> Iterator:
    """Chromium of this system, driven by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", exc_type=ImportError)
    path = next((found for found in map(shutil.which, NAMES) if found), None)
    if path is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=SWITCHES)
        try:
            yield chromium
        finally:
            chromium.close()


def wait_until(page, expression: str, seconds: float = 30.0) -> None:
    """Wait until a JavaScript expression is true of the page.

    playwright's own `wait_for_function` polls from within the page, where the page's Content Security Policy forbids to
    evaluate strings: it fails whenever the first look is too early. Each `page.evaluate` comes from outside.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({expression})"):
        assert time.monotonic() < end, f"after {seconds:.0f} s, this is not yet true: {expression}"
        page.wait_for_timeout(20)
