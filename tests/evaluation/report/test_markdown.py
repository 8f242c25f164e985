"""The Markdown page shows the same numbers, and takes no name for markup."""

import re

import pytest
from report_cases import EVIL, OPENCV, photos, record, result

from photoglue.evaluation.report.content import report_of
from photoglue.evaluation.report.markdown import escaped, markdown_of
from photoglue.evaluation.report.pictures import PictureSource


def written(*results, **options):
    given = {"allow_mixed": False, "worst_pairs": 1, "source": PictureSource()} | options
    return markdown_of(report_of(results, **given), "files")


def rows_of(text):
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]


def test_tables_have_the_values_of_the_results(tmp_path):
    values = {"AUC@5": 0.7514, "AUC@10": 0.2, "matches": 1234.5}
    a, b = result("a", values=values, spread={"AUC@5": 0.012}), result("b", values={**values, "AUC@5": 0.1})
    rows = rows_of(written(a, b)[0])
    assert ["method", "AUC@5, %", "AUC@10, %", "matches"] in rows
    assert ["a", "**75.1 ± 1.2**", "20.0", "1,234"] in rows
    assert ["b", "10.0", "20.0", "1,234"] in rows


def test_every_table_is_rectangular():
    text, _ = written(result("a", "x"), result(EVIL, "x"), result("a", "y"))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(columns) == 1


def test_files_are_those_that_the_text_shows(tmp_path):
    photos(tmp_path)
    text, files = written(result(images=str(tmp_path), records=(record(1),)))
    shown = re.findall(r"\]\(files/(.*?)\)", text)
    assert sorted(shown) == sorted(files) == ["set-errors-0.svg", "set-worst-0.jpg"]
    assert files["set-worst-0.jpg"][:3] == b"\xff\xd8\xff"
    assert b"<svg" in files["set-errors-0.svg"]


@pytest.mark.parametrize("text", ["a|b", "*a*", "_a_", "`a`", "[a](b)", "# a", "<b>", "a\nb", "~~a~~", "$a$", "a\\|b"])
def test_names_lose_their_power(text):
    found = escaped(text)
    assert "\n" not in found
    assert re.search(r"(?<!\\)(?:\\\\)*[|*_`\[\]#~$()]", found) is None
    assert "<" not in found


def test_names_are_never_markup():
    text, _ = written(result(EVIL, EVIL, records=(record(1, name0=EVIL, scene=EVIL),)), result("b", EVIL))
    assert "<script" not in text
    assert "<img" not in text


def test_mixed_cards_are_named():
    rows = rows_of(written(result("a"), result("a", card=OPENCV), allow_mixed=True)[0])
    heads = [row[0] for row in rows]
    assert "a (card A)" in heads
    assert "a (card B)" in heads
    assert ["estimator", "**poselib**", "**opencv**"] in rows
