"""How right the labels are that `photoglue train posed --map` makes, measured against true depth.

    python benchmarks/map_labels.py ../shared/data/depth_scenes --scenes cyprus ditch monstree --features sift aliked

Each scene's photos alone are mapped (`photoglue map`, kept in --out); the map's labels of pairs are then compared with
the scene's own depths and poses. "≤ 3 px": of the labelled matches, those whose point with true depth lands, in the
other photo, within 3 pixels of its partner, among those with true depth; both directions count. "agreeing": the same
where the true depths of both photos agree, forth and back within 3 pixels: the depths of these scenes are exact to some
1.5 %, which is more than 3 pixels between photos far apart. "right": of the points that the map says have no partner
(judged ones: "no partner"), the share of which true depth, by the same rules, says so too. "found": labelled matches
per true one.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from photoglue.datasets.depth import has_depth, project_points, read_depth, sample_depth
from photoglue.datasets.photos import read_photo
from photoglue.datasets.scenes import Frame, Scene, find_scenes, read_scene
from photoglue.datasets.sparse import SparseDepth
from photoglue.extractors.named import training_extractor
from photoglue.geometry.pose import relative_pose
from photoglue.machine import version_line
from photoglue.sfm import MapOptions, PairOptions, map_photos
from photoglue.structs import Features
from photoglue.training.ground_truth import UNMATCHED, Labels, label
from photoglue.training.pairs.base import PosedPair
from photoglue.training.pairs.map_scenes import read_maps

HEAD = (
    "scene",
    "features",
    "photos",
    "pairs",
    "matches",
    "≤ 3 px",
    "agreeing",
    "median px",
    "found",
    "no partner",
    "right",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """What the labels of some pairs say, and how far they are from the truth."""

    errors: Float[Tensor, " k"]
    """Distances of labelled matches from where true depth has them, pixels; both directions."""
    agreeing: Bool[Tensor, " k"]
    """Whether the true depths of both photos agree there."""
    positives: int
    """Labelled matches."""
    true: int
    """Matches by true depth."""
    negatives: tuple[int, int]
    """Points without partner of which true depth says anything, and those of which it says so, too."""


def main() -> None:
    """Print a row for each scene and kind of features, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of scenes with depth")
    parser.add_argument("--scenes", nargs="+", help="their names; None: all")
    parser.add_argument("--features", nargs="+", default=["sift", "aliked"])
    parser.add_argument("--keypoints", type=int, default=1024)
    parser.add_argument("--max-photos", type=int, default=20, help="evenly chosen; more take long to map")
    parser.add_argument("--max-pairs", type=int, default=40, help="of each scene, evenly chosen")
    parser.add_argument("--out", type=Path, default=Path("runs/map_labels"), help="the maps, kept")
    args = parser.parse_args()
    print(version_line())
    print(f"\n| {' | '.join(HEAD)} |\n|---|---{'|---:' * (len(HEAD) - 2)}|")
    folders = [path for path in find_scenes(args.data) if not args.scenes or path.name in args.scenes]
    every: dict[str, list[Counts]] = {name: [] for name in args.features}
    for folder in folders:
        truth, mapped = read_scene(folder), mapped_scene(folder, args.out / folder.name, args.max_photos)
        for name in args.features:
            found = compared(truth, mapped, name, args.keypoints, args.max_pairs)
            every[name] += found
            print(row(folder.name, name, str(len(mapped)), found), flush=True)
    for name, found in every.items():
        print(row("all", name, "", found))


def mapped_scene(folder: Path, out: Path, max_photos: int) -> Scene:
    """The scene that a map of some of a folder's photos makes: the largest model."""
    photos = sorted((folder / "images").iterdir())
    rows = np.unique(np.linspace(0, len(photos) - 1, min(len(photos), max_photos)).round().astype(int))
    options = MapOptions(preset="fast", max_keypoints=2048, by=("all",), pair_options=PairOptions(), deliver=())
    if not (out / "sparse" / "0").is_dir():
        map_photos([photos[i] for i in rows.tolist()], out, options)
    return max(read_maps([out], photos=folder / "images"), key=len)


def compared(truth: Scene, mapped: Scene, name: str, keypoints: int, max_pairs: int) -> list[Counts]:
    """The labels of a map against the truth, pair by pair."""
    extractor = training_extractor(name, max_keypoints=keypoints, allow_noncommercial=False)
    frames = {frame.image_path.name: frame for frame in truth.frames}
    rows = np.unique(np.linspace(0, len(mapped.pairs) - 1, min(len(mapped.pairs), max_pairs)).round().astype(int))
    order = torch.argsort(mapped.overlaps)[torch.from_numpy(rows)]
    features: dict[str, Features] = {}
    found = []
    for i, j in mapped.pairs[order].tolist():
        pair = mapped.frames[i], mapped.frames[j]
        known = frames[pair[0].image_path.name], frames[pair[1].image_path.name]
        for frame in pair:
            if frame.name not in features:
                photo = read_photo(frame.image_path, frame.camera.image_size)
                features[frame.name] = extractor.extract(photo)
        points = features[pair[0].name], features[pair[1].name]
        found.append(counted(posed(pair, points), posed(known, points), known))
    return found


def posed(frames: tuple[Frame, Frame], features: tuple[Features, Features]) -> PosedPair:
    """A pair for training, with depth from wherever its frames have it."""
    (frame0, frame1), depths, straight = frames, [], []
    for frame, each in zip(frames, features, strict=True):
        if isinstance(frame.depth, SparseDepth):
            straight.append(frame.depth.straight(each.keypoints))
            depths.append(frame.depth.at(straight[-1]))
        else:
            straight.append(each.keypoints)
            depths.append(sample_depth(read_depth(frame), each.keypoints))
    return PosedPair(
        features0=features[0],
        features1=features[1],
        depths0=depths[0],
        depths1=depths[1],
        camera0=frame0.camera,
        camera1=frame1.camera,
        cam1_from_cam0=relative_pose(frame0.cam_from_world, frame1.cam_from_world),
        straight0=straight[0],
        straight1=straight[1],
    )


def counted(mapped: PosedPair, true: PosedPair, frames: tuple[Frame, Frame]) -> Counts:
    """One pair's labels by the map, and by the truth of two frames."""
    ours, theirs = label(mapped), label(true)
    rows0 = torch.nonzero(ours.matches0 >= 0).flatten()
    rows1 = ours.matches0[rows0]
    forth, back = off(true, rows0, rows1, frames[1]), off(true.swapped(), rows1, rows0, frames[0])
    errors, agreeing = (torch.cat(both) for both in zip(forth, back, strict=True))
    known = ~errors.isnan()
    said = [judged(side, other) for side, other in zip(sides(ours), sides(theirs), strict=True)]
    return Counts(
        errors=errors[known],
        agreeing=agreeing[known],
        positives=len(rows0),
        true=int((theirs.matches0 >= 0).sum()),
        negatives=(sum(each[0] for each in said), sum(each[1] for each in said)),
    )


def off(
    pair: PosedPair, rows0: Int64[Tensor, " k"], rows1: Int64[Tensor, " k"], frame1: Frame
) -> tuple[Float[Tensor, " k"], Bool[Tensor, " k"]]:
    """How far points of image 0 land from their partners, pixels: NaN without depth, infinite behind the camera.

    And whether the depth of image 1, where they land, brings them back to within 3 pixels.
    """
    depths, points = pair.depths0[rows0], pair.points0[rows0]
    landed = project_points(points, depths, pair.camera0, pair.camera1, pair.cam1_from_cam0)
    error = (landed - pair.points1[rows1]).norm(dim=1).nan_to_num(nan=torch.inf)
    depths1 = sample_depth(read_depth(frame1), landed.nan_to_num(nan=-10))
    back = torch.linalg.inv(pair.cam1_from_cam0)
    returned = project_points(landed.nan_to_num(), depths1, pair.camera1, pair.camera0, back)
    return torch.where(has_depth(depths), error, torch.nan), (returned - points).norm(dim=1) <= 3


def sides(labels: Labels) -> tuple[Tensor, Tensor]:
    """The labels of both images."""
    return labels.matches0, labels.matches1


def judged(ours: Int64[Tensor, " n"], theirs: Int64[Tensor, " n"]) -> tuple[int, int]:
    """Points that ours calls unmatched and theirs does not ignore; and those that theirs calls so, too."""
    said = (ours == UNMATCHED) & (theirs >= UNMATCHED)
    return int(said.sum()), int((said & (theirs == UNMATCHED)).sum())


def row(scene: str, features: str, photos: str, found: Sequence[Counts]) -> str:
    """A line of the table."""
    errors = torch.cat([each.errors for each in found]) if found else torch.zeros(0)
    agreeing = torch.cat([each.agreeing for each in found]) if found else torch.zeros(0, dtype=torch.bool)
    positives, true = sum(each.positives for each in found), sum(each.true for each in found)
    said, right = (sum(each.negatives[i] for each in found) for i in (0, 1))
    cells = (
        scene,
        features,
        photos,
        str(len(found)),
        str(positives),
        f"{float((errors <= 3).float().mean()):.2%}",
        f"{float((errors[agreeing] <= 3).float().mean()):.2%}",
        f"{float(errors.median()) if len(errors) else float('nan'):.2f}",
        f"{positives / max(true, 1):.2f}",
        str(said),
        f"{right / max(said, 1):.2%}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
