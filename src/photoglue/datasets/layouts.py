"""From a folder to a data set: which layout it has, and its pairs."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from photoglue.datasets.base import DataSet, EvaluationPair
from photoglue.datasets.images import Images
from photoglue.datasets.loftr import loftr_scenes, scene_files
from photoglue.datasets.look_alikes import LIST, is_look_alikes, look_alikes
from photoglue.datasets.photos import photos_below
from photoglue.datasets.places import listed_overlaps, places
from photoglue.datasets.planar import evd, is_evd, is_marked, is_sequence, marked_pair, sequence
from photoglue.datasets.pose_lists import cameras_json, gluefactory_list, pairs_json, superglue_list
from photoglue.datasets.truths import Apart
from photoglue.errors import ConfigError, PhotoGlueWarning

DEPTH = 2
"""Scenes are looked for so many folders down: ``GROUP/NAME`` of WxBS."""
NO_PHOTOS = frozenset({"depth", "depths"})
"""Folders whose images are no photos."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What one folder with a layout holds."""

    pairs: list[EvaluationPair]
    """All its pairs."""
    turns: Mapping[str, int] = field(default_factory=dict)
    """Images to turn, as in ``DataSet``."""
    distractors: Sequence[str] = ()
    """Images in no pair, as in ``DataSet``."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a data set may lie on disk."""

    benchmark: str
    """The kind of benchmark that it is for."""
    looked_for: str
    """What is looked for in a folder, for messages."""
    found: Callable[[Path], bool]
    """Whether a folder has it."""
    load: Callable[[Path, Images, str, bool], Scene]
    """(folder, images, name of the scene, whether all pairs are wanted) → what it holds."""


def _superglue_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_pairs_with_gt.txt"))


def _superglue(folder: Path, images: Images, scene: str) -> Scene:
    pairs: list[EvaluationPair] = []
    turns: dict[str, int] = {}
    for path in _superglue_files(folder):
        more, turned = superglue_list(path, folder, images, scene)
        pairs, turns = pairs + more, turns | turned
    return Scene(pairs=pairs, turns=turns)


def _searched(found: tuple[list[EvaluationPair], list[str]]) -> Scene:
    return Scene(pairs=found[0], distractors=found[1])


# A folder has the first of these that it fits, of the kind that is asked for.
LAYOUTS: tuple[Layout, ...] = (
    Layout(
        benchmark="homography",
        looked_for="1.jpg (or .png, .ppm) with H_1_2, img1.ppm with H1to2p (Oxford-affine)",
        found=is_sequence,
        load=lambda folder, images, scene, _: Scene(pairs=sequence(folder, images, scene)),
    ),
    Layout(
        benchmark="homography",
        looked_for="1/NAME.png, 2/NAME.png, h/NAME.txt (EVD)",
        found=is_evd,
        load=lambda folder, images, _, __: Scene(pairs=evd(folder, images)),
    ),
    Layout(
        benchmark="correspondences",
        looked_for="corrs.txt (WxBS)",
        found=is_marked,
        load=lambda folder, images, scene, _: Scene(pairs=marked_pair(folder, images, scene)),
    ),
    Layout(
        benchmark="relative_pose",
        looked_for="pairs.json",
        found=lambda folder: (folder / "pairs.json").is_file(),
        load=lambda folder, images, scene, _: Scene(pairs=pairs_json(folder, images, scene)),
    ),
    Layout(
        benchmark="relative_pose",
        looked_for="cameras.json",
        found=lambda folder: (folder / "cameras.json").is_file(),
        load=lambda folder, images, scene, every: Scene(pairs=cameras_json(folder, images, scene, all_pairs=every)),
    ),
    Layout(
        benchmark="relative_pose",
        looked_for="pairs_calibrated.txt (glue-factory)",
        found=lambda folder: (folder / "pairs_calibrated.txt").is_file(),
        load=lambda folder, images, scene, _: Scene(pairs=gluefactory_list(folder, images, scene)),
    ),
    Layout(
        benchmark="relative_pose",
        looked_for="*_pairs_with_gt.txt (SuperGlue)",
        found=lambda folder: bool(_superglue_files(folder)),
        load=lambda folder, images, scene, _: _superglue(folder, images, scene),
    ),
    Layout(
        benchmark="relative_pose",
        looked_for="scene-info .npz files (LoFTR)",
        found=lambda folder: bool(scene_files(folder)),
        load=lambda folder, images, _, __: Scene(pairs=loftr_scenes(folder, images)),
    ),
    Layout(
        benchmark="look_alikes",
        looked_for=LIST,
        found=is_look_alikes,
        load=lambda folder, images, _, __: Scene(pairs=look_alikes(folder, images)),
    ),
    Layout(
        benchmark="retrieval",
        looked_for="places.tsv",
        found=lambda folder: (folder / "places.tsv").is_file(),
        load=lambda folder, images, _, __: _searched(places(folder, images)),
    ),
    Layout(
        benchmark="retrieval",
        looked_for="images/ and pairs.txt with overlaps",
        found=lambda folder: (folder / "images").is_dir() and (folder / "pairs.txt").is_file(),
        load=lambda folder, images, scene, _: _searched(listed_overlaps(folder, images, scene)),
    ),
)


def load_dataset(
    folder: Path,
    benchmark: str | None = None,
    *,
    all_pairs: bool = False,
    max_pairs: int | None = None,
    skip_missing: bool = False,
) -> DataSet:
    """The data set in a folder, whichever layout it has; several scenes in folders of their own are one data set.

    Args:
        folder: With the files of a layout (see ``LAYOUTS``), or with folders of them.
        benchmark: Which kind, if the folder has several; "overlap": pairs of different scenes of any kind.
        all_pairs: All pairs of ``cameras.json``, whatever ``pairs.txt`` lists.
        max_pairs: So many at most, evenly taken from all.
        skip_missing: Leave out pairs whose images are missing, with a warning that counts them, instead of an error.

    Raises:
        ConfigError: If no layout is there, or several kinds are, or a file is damaged.
        ImageError: If an image is missing or cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {str(folder)!r}.")
    if max_pairs is not None and max_pairs < 1:
        raise ConfigError(f"max_pairs is {max_pairs}; it must be at least 1, or None for all.")
    images = Images(folder=folder, skip_missing=skip_missing)
    apart = benchmark == "overlap"
    dataset = _apart(folder, images) if apart else _with_truth(folder, images, benchmark, all_pairs)
    lost = len(images.left_out)
    told = f"{lost} of {len(dataset.pairs) + lost} pairs of {str(folder)!r} are left out, because images are missing, "
    if not dataset.pairs:
        raise ConfigError(f"{told}such as {images.left_out[0]!r}." if lost else f"{str(folder)!r} has no pairs.")
    if lost:
        warnings.warn(f"{told}such as {images.left_out[0]!r}.", PhotoGlueWarning, stacklevel=2)
        dataset = replace(dataset, image_set=f"{dataset.image_set}, {lost} left out for missing images")
    return dataset if max_pairs is None else dataset.evenly(max_pairs)


def _with_truth(folder: Path, images: Images, benchmark: str | None, all_pairs: bool) -> DataSet:
    found = _scenes_below(folder, DEPTH, benchmark)
    kinds = sorted({layout.benchmark for _, layout in found})
    if not found:
        wanted = [layout.looked_for for layout in LAYOUTS if benchmark in (None, layout.benchmark)]
        raise ConfigError(
            f"{str(folder)!r} has no data set{f' for {benchmark}' if benchmark else ''}. Looked for, there and in its "
            f"folders: {'; '.join(wanted)}."
        )
    if len(kinds) > 1:
        raise ConfigError(
            f"{str(folder)!r} has data sets of several kinds: {', '.join(kinds)}. Name one of its folders, or choose "
            "with --benchmark."
        )
    pairs: list[EvaluationPair] = []
    turns: dict[str, int] = {}
    distractors: list[str] = []
    for place, layout in found:
        name = folder.resolve().name if place == folder else images.name_of(place)
        scene = layout.load(place, images, name, all_pairs)
        pairs, turns = pairs + scene.pairs, turns | dict(scene.turns)
        distractors += scene.distractors
    for name, turn in turns.items():
        if turn % 2:
            images.sizes[name] = images.sizes[name][::-1]
    return DataSet(
        name=folder.resolve().name,
        benchmark=kinds[0],
        folder=folder,
        pairs=tuple(pairs),
        sizes=dict(images.sizes),
        turns=turns,
        image_set=f"{len(pairs)} pairs of {found[0][1].looked_for}{', all' if all_pairs else ''}",
        distractors=tuple(distractors),
    )


def _scenes_below(folder: Path, depth: int, benchmark: str | None) -> list[tuple[Path, Layout]]:
    """The folder itself if it has a layout, else those below it that have."""
    wanted = [layout for layout in LAYOUTS if benchmark in (None, layout.benchmark)]
    layout = next((layout for layout in wanted if layout.found(folder)), None)
    if layout is not None:
        return [(folder, layout)]
    if depth == 0:
        return []
    below = [place for place in sorted(folder.iterdir()) if place.is_dir()]
    return [found for place in below for found in _scenes_below(place, depth - 1, benchmark)]


def _apart(folder: Path, images: Images) -> DataSet:
    """Each image of a scene with one image of each other scene. Scenes are the folders of images below the folder.

    Take care that no two of them show the same place.
    """
    scenes: dict[str, list[str]] = {}
    for name in photos_below(folder).names:
        path = folder / name
        if not NO_PHOTOS.isdisjoint(name.split("/")[:-1]):
            continue
        place = path.parent.parent if path.parent.name == "images" else path.parent
        if place != folder and is_evd(place.parent):  # its folders 1 and 2 show the same places
            place = place.parent / path.stem
        images.size(name, folder)
        scenes.setdefault(images.name_of(place) if place != folder else ".", []).append(name)
    if len(scenes) < 2:
        raise ConfigError(
            f"{str(folder)!r} has {len(scenes)} folders with images; for pairs that do not overlap two are needed, "
            "of different scenes: SCENE/*.jpg or SCENE/images/*.jpg."
        )
    pairs = [
        EvaluationPair(
            scene=f"{scene0} | {scene1}",
            name0=scenes[scene0][i % len(scenes[scene0])],
            name1=scenes[scene1][i % len(scenes[scene1])],
            truth=Apart(),
        )
        for scene0, scene1 in combinations(scenes, 2)
        for i in range(max(len(scenes[scene0]), len(scenes[scene1])))
    ]
    return DataSet(
        name=folder.resolve().name,
        benchmark="overlap",
        folder=folder,
        pairs=tuple(pairs),
        sizes=dict(images.sizes),
        image_set=f"{len(pairs)} pairs of {len(scenes)} scenes",
    )
