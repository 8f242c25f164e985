"""What the README says is true: its table, its commands, its code, its links."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
KINDS = {
    "aliked": "aliked-n16",
    "aliked-t16": "aliked-t16",
    "aliked-n16rot": "aliked-n16rot",
    "aliked-n32": "aliked-n32",
    "disk": "disk",
    "superpoint": "superpoint",
    "sift": "sift-opencv",
    "doghardnet": "doghardnet",
}


def feature_table() -> str:
    """From the records: what each name uses, under which licences, and whether it needs a download."""
    from photoglue.cli.weights import RECORDS
    from photoglue.matchers.lightglue.config import MODEL_OF_KIND

    def told(name):
        record = RECORDS.get(name)
        if record is None:
            return "no weights"
        return f"{record.licence}{', in the wheel' if record.package else ', download'}"

    rows = ["| `--features` | extractor weights | LightGlue weights | commercial use |", "|---|---|---|---|"]
    for name, kind in KINDS.items():
        extractor = RECORDS.get(kind)
        model = MODEL_OF_KIND.get(kind)
        matcher = "none: `--matcher nearest`" if model is None else f"`{model}`: {told(f'{model}-lightglue')}"
        free = "yes" if extractor is None or extractor.commercial else "ask first"
        rows.append(f"| `{name}` | {told(kind)} | {matcher} | {free} |")
    return "\n".join(rows)


def test_feature_table():
    from photoglue.extractors import EXTRACTORS

    assert set(KINDS) | {"aliked-n16"} == set(EXTRACTORS)
    assert feature_table() in README, f"write this into the README:\n{feature_table()}"


def test_links():
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_commands_and_options(capsys):
    """Every command is told of, and every option that the README names exists."""
    from photoglue.cli import main

    helps = {}
    for command in ("match", "extract", "weights", "demo", "bench"):
        assert f"photoglue {command}" in README
        with pytest.raises(SystemExit):
            main([command, "--help"])
        helps[command] = capsys.readouterr().out
    everything = "".join(helps.values())
    usage = "".join(re.findall(r"(?:^photoglue .*\n(?: +.*\n)*)|`--[a-z0-9-]+`", README, flags=re.MULTILINE))
    options = set(re.findall(r"--[a-z][a-z0-9-]+", usage)) - {"--help", "--version", "--debug"}
    assert len(options) > 8
    assert {option for option in options if option not in everything} == set()


@pytest.mark.weights
@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL))
def test_code(code, motorcycle, tmp_path, monkeypatch, capsys):
    pytest.importorskip("cv2")
    import PIL.Image

    monkeypatch.chdir(tmp_path)
    for name, path in zip("abc", (*motorcycle, motorcycle[0]), strict=True):
        with PIL.Image.open(path) as picture:
            picture.resize((370, 250)).save(f"{name}.jpg")
    exec(compile(code, "README", "exec"), {"__name__": "readme"})


def test_changelog_has_a_head():
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
