"""The site builds strictly, lacks no public name and no option, and fetches nothing from the network."""

import functools
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
INSIDE = {
    **dict.fromkeys(
        ("extractors", "image", "matchers", "matching", "pair", "pipeline", "presets", "structs"),
        "their public names are in photoglue",
    ),
    **dict.fromkeys(("cli", "machine"), "the page of commands"),
    "exported": "its public names are in photoglue.export",
    **dict.fromkeys(
        ("decode", "files", "native", "openmp", "precision", "probe", "version", "weights", "workers"), "not for users"
    ),
}
"""Rooms without a page of the reference, and why."""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Built as `make docs` does: a link that leads nowhere, a missing anchor, or a wrong docstring fails."""
    pytest.importorskip("mkdocs", exc_type=ImportError)
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    # Not --quiet: what is not said is not counted as a warning.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.mark.slow
def test_reference_has_all_public_names(site):
    import photoglue

    page = (site / "api" / "photoglue.html").read_text()
    missing = [name for name in photoglue.__all__ if f'id="photoglue.{name}"' not in page]
    assert missing == ["__version__", "batch"]  # a text, and a package with a page of its own
    for name in ("Features.keypoints", "Pipeline.match", "LightGlue.pretrained", "Matches.scores"):
        assert f'id="photoglue.{name}"' in page
    for name, room in (("FeatureStore", "store"), ("draw_matches", "viz"), ("poselib.verify", "solvers")):
        assert f'id="photoglue.{room}.{name}"' in (site / "api" / f"{room}.html").read_text()


def test_reference_has_all_rooms():
    """Whoever adds a package or module at the top adds a page, or says above why not."""
    rooms = {path.stem for path in (ROOT / "src" / "photoglue").iterdir() if (path / "__init__.py").is_file()}
    rooms |= {path.stem for path in (ROOT / "src" / "photoglue").glob("[!_]*.py")}
    pages = {path.stem for path in (ROOT / "docs" / "api").glob("*.md")} - {"photoglue"}
    assert rooms - INSIDE.keys() == pages
    for room in pages:
        assert f"::: photoglue.{room}\n" in (ROOT / "docs" / "api" / f"{room}.md").read_text()


@pytest.mark.slow
def test_site_fetches_nothing(site):
    """Fonts, styles, scripts and pictures all come from the site, which may be opened without a network."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", page.read_text())
        assert [tag for tag in tags if re.search(r"(?:src|href)=[\"']?(?:https?:)?//", tag)] == [], page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", style.read_text()), style


@pytest.mark.slow
def test_search_knows_guides_commands_and_names(site):
    index = (site / "search" / "search_index.js").read_text()
    for place in ("match.html#verify", "commands.html#photoglue-train-posed", "api/photoglue.html#photoglue.Pipeline"):
        assert f'"location":"{place}"' in index


@pytest.mark.slow
def test_links_out_of_docs_lead_to_copies(site):
    """A guide's ../examples/… is a file of the repository on a code host, and a page here."""
    assert "custom_extractor.py.html" in (site / "training.html").read_text()
    assert "class" in (site / "examples" / "custom_extractor.py.html").read_text()
    assert "Unreleased" in (site / "changelog.html").read_text()


ELSEWHERE = {
    *("--no-deps", "--help", "--version", "--debug", "--no-python", "--nproc-per-node", "--shutdown-timeout"),
    *("--docs", "--data", "--sets", "--peers", "--only", "--pairs", "--batch-rounds", "--rounds", "--contestants"),
    *("--cpu-time", "--every", "--sweep-every", "--threads", "--torch-attention", "--tf32", "--batch", "--part"),
    *(
        "--steps",
        "--count",
        "--head",
        "--port",
        "--autoscaling-config",
        "--foreign",
        "--large",
        "--memory",
        "--correct",
        "--align",
        "--cflags",
        "--libs",
        "--stage-keypoints",
        "--negatives",
        "--per-scene",
        "--conf",
        "--image",
        "--export",
    ),
}
"""Options of other programs: pip, torchrun, benchmarks, ray, evo, pkg-config, hloc."""


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_options_exist(path):
    """Every option that a page names is one of a command of photoglue."""
    known = set(ELSEWHERE)
    for command in hooks().commands():
        known |= {option for group in command.groups.values() for entry in group for option in long_options(entry.name)}
    assert long_options(path.read_text()) - known == set()


def long_options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text))


@functools.cache
def hooks():
    pytest.importorskip("mkdocs", exc_type=ImportError)
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_commands_are_all_told_of():
    """The README names every command, and the page of commands has every option that a help text has."""
    page = hooks().commands_page()
    commands = list(hooks().commands())
    assert {"match", "train", "train posed"} <= {" ".join(command.words) for command in commands}
    for command in commands:
        section = page.split(f"# photoglue {' '.join(command.words)}".rstrip() + "\n", 1)[1].split("\n## ")[0]
        printed = re.findall(r"^│ (--[a-z0-9-]+)", hooks().help_of(command.words), re.MULTILINE)
        assert printed or len(command.words) == 0 or command.subcommands
        assert set(printed) <= long_options(section), command.words
        if len(command.words) == 1:
            assert f"photoglue {command.words[0]}" in (ROOT / "README.md").read_text()


HELP = """usage: photoglue part [-h] --out PATH

Do <this> with `a_b`.

╭─ positional arguments ─────────────╮
│ [PATH [PATH ...]]                  │
│                Photos. (required)  │
╰────────────────────────────────────╯
╭─ options ──────────────────────────╮
│ -h, --help     show this           │
│ --out PATH     Where, in two       │
│                lines. (default: x) │
╰────────────────────────────────────╯
╭─ loop options ─────────────────────╮
│ How the loop goes.                 │
│ ────────────────────────────────── │
│ --steps INT    How many.           │
╰────────────────────────────────────╯
╭─ subcommands ──────────────────────╮
│ (required)                         │
│   • one        First.              │
╰────────────────────────────────────╯
"""


def test_help_is_read():
    command = hooks().read_help(("part",), HELP)
    assert command.usage == "photoglue part [-h] --out PATH"
    assert command.subcommands == ("one",)
    (photos,), (out,) = command.groups["positional arguments"], command.groups["options"]
    assert (photos.name, photos.help) == ("[PATH [PATH ...]]", "Photos. (required)")
    assert (out.name, out.help) == ("--out PATH", "Where, in two lines. (default: x)")
    assert command.about == {"loop options": "How the loop goes."}
    assert [option.name for option in command.groups["loop options"]] == ["--steps INT"]


def test_boxes_side_by_side_are_read():
    """The parser puts the boxes of a long help into two columns or three."""
    lines = [
        "usage: x",
        "╭─ a ──╮╭─ b ──╮╭─ d ──╮",
        "│ --a  ││ --b  ││ --d  │",
        "╰──────╯│ --c  │╰──────╯",
        "        ╰──────╯",
    ]
    read = hooks().read_help((), "\n".join(hooks()._one_column(lines)))
    assert {title: [option.name for option in group] for title, group in read.groups.items()} == {
        "a": ["--a"],
        "b": ["--b", "--c"],
        "d": ["--d"],
    }
