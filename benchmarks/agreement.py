"""What half precision costs: matches kept and relative-pose AUC, bfloat16 against float32, on pairs with known poses.

    python benchmarks/agreement.py --data DIR [--features aliked] [--stage match|extract] [--torch-attention]

DIR holds sets in the layout images/ + cameras.json (K, T_w2c as world-to-camera, by image name), such as Strecha's.
Pose by PoseLib (LO-RANSAC, 1 px), error = the larger of the angles of rotation and translation, AUC as in SuperGlue's
protocol.
"""

import argparse
from pathlib import Path

import torch

from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.truths import Posed
from photoglue.extractors import create_extractor
from photoglue.geometry.pose import pose_error_deg
from photoglue.machine import version_line
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.matchers.lightglue.engine import kernels
from photoglue.metrics import auc
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
    parser.add_argument("--stage", choices=["match", "extract"], default="match", help="what runs in bfloat16")
    parser.add_argument("--torch-attention", action="store_true", help="torch's own, which GPUs and AMX use")
    options = parser.parse_args()
    if options.torch_attention:
        kernels._ONE_DNN = False
    print(version_line())
    print(
        f"{options.features}, {options.max_keypoints} keypoints, full depth, bfloat16: {options.stage}, attention: "
        f"{'ours' if kernels.attends_in_blocks(torch.device('cpu'), torch.bfloat16) else 'torch'}"
    )
    print(f"{'set':24} {'pairs':>5} {'kept':>7} {'float32 AUC@5/10/20':>22} {'bfloat16 AUC@5/10/20':>22}")
    for name in SETS:
        compare(options, name)


def compare(options: argparse.Namespace, name: str) -> None:
    """One row of the table."""
    dataset = load_dataset(options.data / name, all_pairs=True)
    images = sorted({image for pair in dataset.pairs for image in (pair.name0, pair.name1)})
    kinds = ["float32", "bfloat16" if options.stage == "extract" else "float32"]
    features = []
    for kind in dict.fromkeys(kinds):
        extractor = create_extractor(options.features, max_keypoints=options.max_keypoints, precision=kind)
        found = extractor.extract_many([dataset.folder / image for image in images])
        features.append(dict(zip(images, found, strict=True)))
    config = LightGlueConfig.accurate()
    matchers = [
        LightGlue.pretrained(extractor.kind, config, precision=kind)
        for kind in ("float32", "bfloat16" if options.stage == "match" else "float32")
    ]
    kept = total = 0
    errors: list[list[float]] = [[], []]
    for pair in dataset.pairs:
        sources = zip(matchers, (features[0], features[-1]), strict=True)
        matches = [matcher.match(source[pair.name0], source[pair.name1]) for matcher, source in sources]
        if options.stage == "match":
            kept += int(((matches[0].matches0 == matches[1].matches0) & (matches[0].matches0 >= 0)).sum())
            total += len(matches[0])
        for column, each in zip(errors, matches, strict=True):
            assert isinstance(pair.truth, Posed)
            column.append(pose_error(each, pair.truth))
    share = f"{kept / total:.2%}" if total else "–"
    columns = ["/".join(f"{100 * value:.1f}" for value in auc(column, THRESHOLDS_DEG)) for column in errors]
    print(f"{name:24} {len(dataset.pairs):5} {share:>7} {columns[0]:>22} {columns[1]:>22}", flush=True)


def pose_error(matches: Matches, truth: Posed) -> float:
    """Degrees; infinite if there is no pose."""
    points = (matches.points0, matches.points1)
    found = verify(*points, "essential", camera0=truth.camera0, camera1=truth.camera1, threshold_px=1.0)
    return pose_error_deg(found.rotation, found.translation, torch.from_numpy(truth.cam1_from_cam0))


if __name__ == "__main__":
    with torch.no_grad():
        main()
