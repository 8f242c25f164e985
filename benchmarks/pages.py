"""Tables between markers in pages of docs/."""

from pathlib import Path


def replace_between(page: Path, name: str, text: str) -> None:
    """Puts a text between the comments ``<!-- name: begin … -->`` and ``<!-- name: end -->`` of a page.

    Raises:
        SystemExit: If the page has no such lines.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    begin = next((i for i, line in enumerate(lines) if line.startswith(f"<!-- {name}: begin")), None)
    end = next((i for i, line in enumerate(lines) if line.startswith(f"<!-- {name}: end")), None)
    if begin is None or end is None or end < begin:
        raise SystemExit(f"{page} has no lines <!-- {name}: begin --> and <!-- {name}: end -->; the table goes there.")
    page.write_text("\n".join([*lines[: begin + 1], "", text.strip(), "", *lines[end:]]) + "\n", encoding="utf-8")
