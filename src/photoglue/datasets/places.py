"""Photos of places, for searches: which of them should be found with which."""

from pathlib import Path

from photoglue.datasets.base import EvaluationPair
from photoglue.datasets.images import Images, image_named, lines_of
from photoglue.datasets.photos import photos_below
from photoglue.datasets.truths import Alike
from photoglue.errors import ConfigError

COLUMNS = ("file", "place", "split")
LEAST_OVERLAP = 0.1
"""Two photos of which at least one shows less than this of what the other shows need not find each other."""


def places(folder: Path, images: Images) -> tuple[list[EvaluationPair], list[str]]:
    """``places.tsv``: a table, separated by tabs, with the columns file, place and split (query or gallery).

    Each query should find the photos of its place in the gallery; a place may be GROUP/NAME.

    Returns:
        The pairs of a query and a photo that it should find, and the photos in the gallery that no query should.

    Raises:
        ConfigError: If a column is missing, or a line has too few.
        ImageError: If an image is missing.
    """
    path = folder / "places.tsv"
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error}.") from None
    head = rows[0] if rows else []
    if not set(COLUMNS) <= set(head) or any(len(row) != len(head) for row in rows):
        raise ConfigError(
            f"{str(path)!r} is no table of places: its first line names the columns, {', '.join(COLUMNS)} among them, "
            "and each line has as many, with tabs between them."
        )
    queries: list[tuple[str, str]] = []
    gallery: dict[str, list[str]] = {}
    for row in rows[1:]:
        file, place, split = (row[head.index(column)] for column in COLUMNS)
        name = _below(folder, file, images)
        with images.unless_missing():
            images.size(name, path)
            gallery.setdefault(place, [])
            if split == "query":
                queries.append((name, place))
            else:
                gallery[place].append(name)
    pairs = [
        EvaluationPair(scene=place, name0=query, name1=name, truth=Alike())
        for query, place in queries
        for name in gallery[place]
    ]
    asked = {place for _, place in queries}
    return pairs, [name for place, names in gallery.items() if place not in asked for name in names]


def listed_overlaps(folder: Path, images: Images, scene: str) -> tuple[list[EvaluationPair], list[str]]:
    """``images/`` and ``pairs.txt`` (two names and their overlap in each line): either should find the other.

    Pairs with an overlap below 0.1 need not; without a number in the third column, all listed pairs should.

    Returns:
        The pairs, both ways round, and the images that are in none.

    Raises:
        ConfigError: If a pair names an image that is not there.
    """
    path = folder / "pairs.txt"
    pairs: list[EvaluationPair] = []
    for number, words in lines_of(path):
        if len(words) < 2:
            raise ConfigError(f"Line {number} of {str(path)!r} has one word; it has two names and their overlap.")
        if len(words) > 2 and 0 <= _number(words[2]) < LEAST_OVERLAP:
            continue
        with images.unless_missing():
            names = [_below(folder, word, images) for word in words[:2]]
            for name in names:
                images.size(name, path)
            pairs += [EvaluationPair(scene=scene, name0=names[i], name1=names[1 - i], truth=Alike()) for i in (0, 1)]
    paired = {pair.name0 for pair in pairs}
    others = [images.name_of(folder / "images" / name) for name in photos_below(folder / "images").names]
    distractors = [name for name in others if name not in paired]
    for name in distractors:
        images.size(name, folder)
    return pairs, distractors


def _below(folder: Path, name: str, images: Images) -> str:
    """The path of an image below the folder of all images; its ending may be left out."""
    for place in (folder / "images", folder):
        if (place / name).is_file():
            return images.name_of(place / name)
        if (found := image_named(place, name)) is not None:
            return images.name_of(found)
    return images.name_of(folder / "images" / name)


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return 1.0
