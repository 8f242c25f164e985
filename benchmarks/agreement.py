"""What a precision costs: matches kept and relative-pose AUC, against float32, on pairs with known poses.

    python benchmarks/agreement.py --data DIR [--features aliked] [--precision bfloat16 int16] [--stage match|extract]

DIR holds sets in the layout images/ + cameras.json (K, T_w2c as world-to-camera, by image name), such as Strecha's.
Pose by PoseLib (LO-RANSAC, 1 px), error = the larger of the angles of rotation and translation, AUC as in SuperGlue's
protocol.
"""

import argparse
from pathlib import Path
from typing import cast, get_args

import torch

from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.truths import Posed, Truth
from photoglue.extractors import create_extractor
from photoglue.geometry.pose import pose_error_deg
from photoglue.machine import version_line
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.matchers.lightglue.engine import kernels
from photoglue.metrics import auc
from photoglue.precision import Precision
from photoglue.solvers.poselib import verify
from photoglue.structs import Matches

SETS = ("strecha/fountain-P11", "strecha/Herz-Jesus-P8", "strecha/entry-P10", "imb_reichstag")
THRESHOLDS_DEG = (5, 10, 20)


def main() -> None:
    """Print a table and its conditions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--features", default="aliked")
    parser.add_argument("--max-keypoints", type=int, default=2048)
    parser.add_argument("--precision", nargs="+", choices=get_args(Precision)[1:], default=["bfloat16"])
    parser.add_argument("--stage", choices=["match", "extract"], default="match", help="what runs in that precision")
    parser.add_argument("--pairs", type=int, help="only so many of each set, evenly spread; default: all")
    parser.add_argument("--torch-attention", action="store_true", help="torch's own, which GPUs and AMX use")
    options = parser.parse_args()
    if options.torch_attention:
        kernels._ONE_DNN = False
    print(version_line())
    attention = "ours" if kernels.attends_in_blocks(torch.device("cpu"), torch.bfloat16) else "torch"
    print(f"{options.features}, {options.max_keypoints} keypoints, full depth, {options.stage}; bfloat16: {attention}")
    print(f"{'set':24} {'pairs':>5} {'precision':>9} {'kept':>7} {'score error':>11} {'AUC@5/10/20':>15}")
    for name in SETS:
        compare(options, name)


def compare(options: argparse.Namespace, name: str) -> None:
    """The rows of a set."""
    dataset = load_dataset(options.data / name, all_pairs=True)
    pairs = dataset.pairs[:: max(1, len(dataset.pairs) // (options.pairs or len(dataset.pairs)))][: options.pairs]
    images = sorted({image for pair in pairs for image in (pair.name0, pair.name1)})
    exact: list[Matches] = []
    for precision in ("float32", *options.precision):
        extracting, matching = (
            cast(Precision, precision if options.stage == stage else "float32") for stage in ("extract", "match")
        )
        extractor = create_extractor(options.features, max_keypoints=options.max_keypoints, precision=extracting)
        found = extractor.extract_many([dataset.folder / image for image in images])
        features = dict(zip(images, found, strict=True))
        matcher = LightGlue.pretrained(extractor.kind, LightGlueConfig.accurate(), precision=matching)
        matches = [matcher.match(features[pair.name0], features[pair.name1]) for pair in pairs]
        exact = exact or matches
        share, error = "–", "–"
        if options.stage == "match":  # of the same points
            kept = [(a.matches0 == b.matches0) & (a.matches0 >= 0) for a, b in zip(exact, matches, strict=True)]
            share = f"{sum(int(rows.sum()) for rows in kept) / sum(map(len, exact)):.2%}"
            scores = zip(exact, matches, kept, strict=True)
            error = (
                f"{torch.cat([(a.matching_scores0 - b.matching_scores0)[r].abs() for a, b, r in scores]).mean():.5f}"
            )
        degrees = [pose_error(each, pair.truth) for each, pair in zip(matches, pairs, strict=True)]
        areas = "/".join(f"{100 * value:.1f}" for value in auc(degrees, THRESHOLDS_DEG))
        print(f"{name:24} {len(pairs):5} {precision:>9} {share:>7} {error:>11} {areas:>15}", flush=True)


def pose_error(matches: Matches, truth: Truth) -> float:
    """Degrees; infinite if there is no pose."""
    assert isinstance(truth, Posed)
    points = (matches.points0, matches.points1)
    found = verify(*points, "essential", camera0=truth.camera0, camera1=truth.camera1, threshold_px=1.0)
    return pose_error_deg(found.rotation, found.translation, torch.from_numpy(truth.cam1_from_cam0))


if __name__ == "__main__":
    with torch.no_grad():
        main()
