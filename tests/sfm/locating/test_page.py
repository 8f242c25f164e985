"""Placed photos are drawn beside the map, and are among the cameras of its page."""

import json
import re

import pytest
from placed_scene import TOOLS

from photoglue.errors import ConfigError
from photoglue.sfm import LocalizeOptions, Localizer, draw_localisation, localize_photos, write_localisation_report


@pytest.mark.slow
def test_page_and_picture(placed, tmp_path):
    pytest.importorskip("matplotlib", exc_type=ImportError)
    with Localizer(placed / "map", LocalizeOptions(turn=False), **TOOLS) as localizer:
        answers = localize_photos(placed / "queries", localizer)
        paths = {answer.name: placed / "queries" / answer.name for answer in answers}
        page = write_localisation_report(tmp_path / "page.html", answers, localizer.map, paths).read_text()
        figure = draw_localisation(paths["003.png"], answers[0], localizer.map)
        assert figure.texts[0].get_text().startswith("003.png: ") and " of them in 00" in figure.texts[0].get_text()
        with pytest.raises(ConfigError, match=r"'008\.png' has no place, so that there is nothing to draw: no photo"):
            draw_localisation(paths["008.png"], answers[1], localizer.map)
        with pytest.raises(ConfigError, match="There are no answers"):
            write_localisation_report(tmp_path / "page.html", [], localizer.map, {})
    data = json.loads(re.search(r"<script[^>]*application/json[^>]*>(.*?)</script>", page, re.DOTALL)[1])
    names = data["names"]
    assert names == [f"{i:03}.png" for i in (0, 1, 2, 4, 5)] + [f"localised/{i:03}.png" for i in (3, 8, 56)]
    assert data["marked"] == [5, 6, 7] and data["placed"] == [0, 1, 2, 3, 4, 5]
    assert all(data["photos"])
    assert "no photo of the map has enough in common with it" in page
