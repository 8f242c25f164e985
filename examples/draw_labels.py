"""What training takes for right on a pair of your own scene or map, as a picture: look at it before you train.

    python examples/draw_labels.py SCENE labels.png [--features sift] [--overlap 0.5]

Green points match, red ones have no partner, grey ones do not count. Green lines that join different things mean that
poses, depths or cameras are wrong; red points that can be seen in both photos, that depth is.
"""

import argparse
from pathlib import Path

from photoglue.datasets.depth import read_depth, sample_depth
from photoglue.datasets.photos import read_photo
from photoglue.datasets.scenes import DepthFile, read_scene
from photoglue.extractors import create_extractor
from photoglue.geometry.pose import relative_pose
from photoglue.training.ground_truth import label
from photoglue.training.pairs.base import PosedPair
from photoglue.training.pairs.map_scenes import read_maps
from photoglue.viz.labels import draw_labels


def main(arguments=None):
    """Draws the pair whose overlap is nearest to the one asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scene", help="a folder with images/, depths/, cameras.json and pairs.txt, or a map")
    parser.add_argument("out")
    parser.add_argument("--features", default="sift")
    parser.add_argument("--overlap", type=float, default=0.5)
    options = parser.parse_args(arguments)

    folder = Path(options.scene)
    scene = read_scene(folder) if (folder / "cameras.json").is_file() else read_maps([folder])[0]
    row = int((scene.overlaps - options.overlap).abs().argmin())
    frame0, frame1 = (scene.frames[i] for i in scene.pairs[row].tolist())
    extractor = create_extractor(options.features, max_keypoints=512, resize=None)
    photos = [read_photo(frame.image_path, frame.camera.image_size) for frame in (frame0, frame1)]
    features0, features1 = (extractor.extract(photo) for photo in photos)
    straight0, depths0 = depths_of(frame0, features0.keypoints)
    straight1, depths1 = depths_of(frame1, features1.keypoints)
    truth = label(
        PosedPair(
            features0=features0,
            features1=features1,
            depths0=depths0,
            depths1=depths1,
            camera0=frame0.camera,
            camera1=frame1.camera,
            cam1_from_cam0=relative_pose(frame0.cam_from_world, frame1.cam_from_world),
            straight0=straight0,
            straight1=straight1,
        )
    )
    points = features0.keypoints, features1.keypoints
    title = f"{frame0.name} and {frame1.name} of {scene.name}, overlap {float(scene.overlaps[row]):.2f}"
    figure = draw_labels(*photos, *points, truth.matches0, truth.matches1, title=title, max_lines=100)
    figure.savefig(options.out)


def depths_of(frame, keypoints):
    """Keypoints without the distortion of the lens, and their depths: from a file, or from the points of a map."""
    if isinstance(frame.depth, DepthFile):
        return keypoints, sample_depth(read_depth(frame), keypoints)
    straight = frame.depth.straight(keypoints)
    return straight, frame.depth.at(straight)


if __name__ == "__main__":
    main()
