"""Tables go between their markers."""

import pytest
from pages import replace_between


def test_a_page_without_markers(tmp_path):
    page = tmp_path / "p.md"
    page.write_text("# T\n\n<!-- quality: begin -->\nold\n")
    with pytest.raises(SystemExit, match="has no lines <!-- quality: begin --> and <!-- quality: end -->"):
        replace_between(page, "quality", "new")
