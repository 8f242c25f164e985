"""The page is well-formed, needs nothing from outside, and takes no name for markup."""

import html.parser
import re

import pytest
from report_cases import EVIL, OPENCV, photos, record, result

from photoglue.evaluation.report.content import report_of
from photoglue.evaluation.report.html import html_of
from photoglue.evaluation.report.pictures import PictureSource

VOID = {"meta", "link", "img", "wbr", "br", "path", "rect"}


class Page(html.parser.HTMLParser):
    """Elements, attributes and text of a page; refuses tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open, self.rows = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data


@pytest.fixture
def results(tmp_path):
    photos(tmp_path)
    records = (record(1), record(9, scene="t"))
    scenes = {"s": {"AUC@5": 0.5}, "t": {"AUC@5": 0.1}}
    changes = {"records": records, "scenes": scenes, "images": str(tmp_path)}
    return [result("a+b_c", "x", **changes), result("other", "x", auc5=0.4, **changes), result("a+b_c", "y", **changes)]


def page_of(results, **options):
    given = {"allow_mixed": False, "worst_pairs": 2, "source": PictureSource()} | options
    return html_of(report_of(results, **given))


def test_nothing_comes_from_outside(results):
    text = page_of(results)
    page = Page(text)
    links = [value for _, name, value in page.attributes if name in ("src", "href", "data", "action", "srcset")]
    assert sum(link.startswith("data:image/jpeg;base64,") for link in links) == 4
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not {"script", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    style = re.search("<style>(.*?)</style>", text, re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in (value or ""))
    assert policy.startswith("default-src 'none'")
    assert not any(name.startswith("on") for _, name, _ in page.attributes)


def test_every_link_leads_somewhere(results):
    page = Page(page_of(results))
    ids = [value for _, name, value in page.attributes if name == "id"]
    links = [value[1:] for tag, name, value in page.attributes if tag == "a" and name == "href"]
    assert len(ids) == len(set(ids))
    assert set(links) == set(ids)


def test_names_are_never_markup(tmp_path):
    changes = {"images": str(tmp_path), "records": (record(2, scene=EVIL, name0=EVIL), record(1, scene="t"))}
    scenes = {EVIL: {"AUC@5": 0.1}, "t": {"AUC@5": 0.2}}
    evil = result(EVIL, EVIL, benchmark="relative_pose", scenes=scenes, **changes)
    odd = result("b", EVIL, values={EVIL: 0.5}, scenes=scenes, **changes)
    text = page_of([evil, odd, result(EVIL, EVIL, card=OPENCV, scenes=scenes, **changes)], allow_mixed=True)
    page = Page(text)
    assert "script" not in page.tags
    assert "http://x.example" not in [value for _, _, value in page.attributes]
    assert "<script" not in text
    assert EVIL in "".join(page.texts)  # shown all the same
    assert not any(name in ("onerror", "onload") for _, name, _ in page.attributes)


def test_tables_show_what_was_measured(results):
    rows = Page(page_of(results)).rows
    assert ["method", "x · AUC@5 %", "y · AUC@5 %"] in rows
    assert ["a+b_c", "50.0", "50.0"] in rows
    assert ["a+b_c", "50.0", "61.2", "1,234", "0.0123"] in rows
    assert ["other", "40.0", "61.2", "1,234", "0.0123"] in rows
    assert ["s", "1", "50.0", "50.0"] in rows


def test_all_pairs_are_accounted_for(results):
    rows = Page(page_of(results)).rows
    failed = [row[-1] for row in rows if row[0] in ("a+b_c", "other") and "of" in row[-1]]
    assert failed == ["0 of 2"] * 3
    head = next(row for row in rows if row[:2] == ["scene", "pairs"])
    scenes = rows[rows.index(head) + 1 :][:2]
    assert sum(int(row[1]) for row in scenes) == len(results[0].records)


@pytest.mark.parametrize(("count", "folded"), [(8, 1), (9, 2)])
def test_many_scenes_are_folded(count, folded):
    records = tuple(record(1, scene=f"s{i}") for i in range(count))
    many = result(records=records, scenes={f"s{i}": {"AUC@5": 0.5} for i in range(count)})
    page = Page(page_of([many], worst_pairs=0))
    assert page.tags.count("details") == folded
    assert [row[0] for row in page.rows].count("s7") == 1


def test_values_are_explained_on_hover_and_below(results):
    page = Page(page_of(results))
    titles = [value for tag, name, value in page.attributes if (tag, name) == ("abbr", "title")]
    assert any("from 0 to 5°" in title for title in titles)
    assert "AUC@t" in page.texts


def test_photos_that_are_missing_say_so(results, tmp_path):
    (tmp_path / "a.png").unlink()
    page = Page(page_of(results))
    assert "img" not in page.tags
    assert any("There is no file" in text for text in page.texts)


def test_mixed_cards_are_named_in_the_table(results):
    mixed = result("a+b_c", "x", card=OPENCV, records=results[0].records, images=results[0].images)
    page = Page(page_of([*results, mixed], allow_mixed=True))
    heads = [row[0] for row in page.rows]
    assert "a+b_c card A" in heads
    assert "a+b_c card B" in heads
    assert any("estimator poselib and opencv" in text for text in page.texts)


def test_every_colour_is_there_for_both_themes(results):
    style = re.search("<style>(.*?)</style>", page_of(results), re.DOTALL).group(1)
    assert "prefers-color-scheme" in style
    for name in set(re.findall(r"var\((--\w+)\)", style)) | {"--s0", "--s7"}:
        assert len(re.findall(rf"{name}\s*:", style)) == 2, name
