"""What training takes for right, as a picture and a histogram: look at both before you train.

    python examples/draw_labels.py SCENE labels.png [--features sift] [--overlap 0.5]
    python examples/draw_labels.py PHOTO labels.png --unwarped --full-circle --shear 0.5
    python examples/draw_labels.py CACHE labels.png --photos photos --positive-px 1.5 --orientation-deg 30

SCENE is a folder with depth and poses, or a map; PHOTO is seen through random homographies; CACHE is the --cache of
`photoglue train distilled`. Green points match, red ones have no partner, grey ones do not count. Green lines that join
different things mean that poses, depths or cameras are wrong; red points that can be seen in both photos, that depth
is. The histogram (labels-errors.png) shows of up to 20 pairs how far the matches of the picture's rules are apart, and
by how much their scales and orientations differ beyond what the geometry around them says.
"""

import argparse
from itertools import islice
from pathlib import Path

import torch

from photoglue.datasets.depth import read_depth, sample_depth
from photoglue.datasets.photos import photos_of, read_photo
from photoglue.datasets.scenes import DepthFile, read_scene
from photoglue.extractors import create_extractor
from photoglue.geometry.pose import relative_pose
from photoglue.training.ground_truth import LabelRules, errors_of, label
from photoglue.training.pairs.base import HomographyPair, PosedPair
from photoglue.training.pairs.distilled_pairs import DistilledPairs
from photoglue.training.pairs.homographies import HomographyConfig
from photoglue.training.pairs.homography_cache import HomographyCacheConfig, photo_views
from photoglue.training.pairs.map_scenes import read_maps
from photoglue.viz.labels import draw_labels

PAIRS = 20


def main(arguments=None):
    """Draws the first pair, and the histogram of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "source", help="a scene with images/, depths/, cameras.json and pairs.txt; a map; a photo; or a cache"
    )
    parser.add_argument("out")
    parser.add_argument("--features", default="sift")
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--photos", nargs="+", default=["photos"], help="where the photos of a cache are: its --images")
    parser.add_argument("--unwarped", action="store_true")
    parser.add_argument("--full-circle", action="store_true")
    parser.add_argument("--shear", type=float, default=1.0)
    for name in ("positive-px", "scale-octaves", "orientation-deg"):
        parser.add_argument(f"--{name}", type=float, default=getattr(LabelRules, name.replace("-", "_")))
    options = parser.parse_args(arguments)

    rules = LabelRules(
        positive_px=options.positive_px,
        scale_octaves=options.scale_octaves,
        orientation_deg=options.orientation_deg,
    )
    extractor = create_extractor(options.features, max_keypoints=512, resize=None)
    source, errors = Path(options.source), []
    make = pairs_of_photo if source.is_file() else pairs_of_cache if (source / "seen.npz").is_file() else pairs_of_scene
    for pair, photos, title in islice(make(source, extractor, options), PAIRS):
        truth = label(pair, rules)
        if not errors:
            points = pair.features0.keypoints, pair.features1.keypoints
            figure = draw_labels(*photos, *points, truth.matches0, truth.matches1, title=title, max_lines=100)
            figure.savefig(options.out)
        errors.append(errors_of(pair, truth))
    draw_errors(errors, Path(options.out).with_name(f"{Path(options.out).stem}-errors.png"))


def pairs_of_scene(folder, extractor, options):
    """Pairs of a scene or map, those first whose overlap is nearest to the one asked for."""
    scene = read_scene(folder) if (folder / "cameras.json").is_file() else read_maps([folder])[0]
    for row in (scene.overlaps - options.overlap).abs().argsort().tolist():
        frames = [scene.frames[i] for i in scene.pairs[row].tolist()]
        photos = [read_photo(frame.image_path, frame.camera.image_size) for frame in frames]
        features0, features1 = (extractor.extract(photo) for photo in photos)
        straight0, depths0 = depths_of(frames[0], features0.keypoints)
        straight1, depths1 = depths_of(frames[1], features1.keypoints)
        pair = PosedPair(
            features0=features0,
            features1=features1,
            depths0=depths0,
            depths1=depths1,
            camera0=frames[0].camera,
            camera1=frames[1].camera,
            cam1_from_cam0=relative_pose(frames[0].cam_from_world, frames[1].cam_from_world),
            straight0=straight0,
            straight1=straight1,
        )
        names = " and ".join(frame.name for frame in frames)
        yield pair, photos, f"{names} of {scene.name}, overlap {float(scene.overlaps[row]):.2f}"


def pairs_of_photo(path, extractor, options):
    """Pairs of random views of a photo: the first, which may be the photo itself, with each of the others."""
    homographies = HomographyConfig(full_circle=options.full_circle, shear=options.shear)
    config = HomographyCacheConfig(views=PAIRS + 1, unwarped=options.unwarped, homographies=homographies)
    first, *others = photo_views(read_photo(path), 0, config)
    features0 = extractor.extract(first.image)
    for view in others:
        pair = HomographyPair(
            features0=features0,
            features1=extractor.extract(view.image),
            image1_from_image0=torch.from_numpy(view.view_from_photo)
            @ torch.from_numpy(first.view_from_photo).inverse(),
        )
        yield pair, [first.image, view.image], f"two views of {path.name}"


def pairs_of_cache(folder, _, options):
    """Pairs that a teacher saw something in, with the features of the cache, whatever --features says."""
    pairs, found = DistilledPairs(folder, max_keypoints=512), photos_of(options.photos)
    for row in pairs.rows[:: max(1, len(pairs) // PAIRS)].tolist():
        numbers = pairs.seen.photos[row].tolist()
        title = f"{' and '.join(found.names[i] for i in numbers)}, by a teacher"
        yield pairs.example(row), [read_photo(found.path(i)) for i in numbers], title


def depths_of(frame, keypoints):
    """Keypoints without the distortion of the lens, and their depths: from a file, or from the points of a map."""
    if isinstance(frame.depth, DepthFile):
        return keypoints, sample_depth(read_depth(frame), keypoints)
    straight = frame.depth.straight(keypoints)
    return straight, frame.depth.at(straight)


def draw_errors(errors, path):
    """Three histograms beside each other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    parts = (
        ("px", "apart, pixels", (0, 3)),
        ("octaves", "scale, octaves", (-2, 2)),
        ("degrees", "orientation, degrees", (-180, 180)),
    )
    for axis, (name, title, extent) in zip(figure.subplots(1, 3), parts, strict=True):
        known = [getattr(each, name) for each in errors if getattr(each, name) is not None]
        values = torch.cat(known) if known else torch.zeros(0)
        axis.hist(values.numpy(), bins=60, range=extent)
        axis.set_title(
            f"{title}: median of the size {float(values.abs().median()):.2g}" if len(values) else f"{title}: none",
            fontsize=10,
        )
    figure.suptitle(f"{sum(len(each.px) for each in errors):,} matches of {len(errors)} pairs", fontsize=10)
    figure.savefig(path)


if __name__ == "__main__":
    main()
