"""What training takes for right on a pair of your own scene, as a picture: look at it before you train.

    python examples/draw_labels.py SCENE labels.png [--features sift] [--overlap 0.5]

Green points match, red ones have no partner, grey ones do not count. Green lines that join different things mean that
poses, depths or cameras are wrong; red points that can be seen in both photos, that depth is.
"""

import argparse

from photoglue.datasets.depth import read_depth, sample_depth
from photoglue.datasets.scenes import read_scene
from photoglue.extractors import create_extractor
from photoglue.geometry.pose import relative_pose
from photoglue.training.ground_truth import label
from photoglue.training.pairs.base import PosedPair
from photoglue.viz.labels import draw_labels


def main(arguments=None):
    """Draws the pair whose overlap is nearest to the one asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scene", help="a folder with images/, depths/, cameras.json and pairs.txt")
    parser.add_argument("out")
    parser.add_argument("--features", default="sift")
    parser.add_argument("--overlap", type=float, default=0.5)
    options = parser.parse_args(arguments)

    scene = read_scene(options.scene)
    row = int((scene.overlaps - options.overlap).abs().argmin())
    frame0, frame1 = (scene.frames[i] for i in scene.pairs[row].tolist())
    extractor = create_extractor(options.features, max_keypoints=512, resize=None)
    features0, features1 = (extractor.extract(frame.image_path) for frame in (frame0, frame1))
    truth = label(
        PosedPair(
            features0=features0,
            features1=features1,
            depths0=sample_depth(read_depth(frame0), features0.keypoints),
            depths1=sample_depth(read_depth(frame1), features1.keypoints),
            camera0=frame0.camera,
            camera1=frame1.camera,
            cam1_from_cam0=relative_pose(frame0.cam_from_world, frame1.cam_from_world),
        )
    )
    points = features0.keypoints, features1.keypoints
    title = f"{frame0.name} and {frame1.name} of {scene.name}, overlap {float(scene.overlaps[row]):.2f}"
    figure = draw_labels(
        frame0.image_path, frame1.image_path, *points, truth.matches0, truth.matches1, title=title, max_lines=100
    )
    figure.savefig(options.out)


if __name__ == "__main__":
    main()
