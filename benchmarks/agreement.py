"""What half precision costs: matches kept and relative-pose AUC, bfloat16 against float32, on pairs with known poses.

    python benchmarks/agreement.py --data DIR [--features aliked] [--stage match|extract] [--torch-attention]

DIR holds sets in the layout images/ + cameras.json (K, T_w2c as world-to-camera, by image name), such as Strecha's.
Pose by PoseLib (LO-RANSAC, 1 px), error = the larger of the angles of rotation and translation, AUC as in SuperGlue's
protocol.
"""

import argparse
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from photoglue.extractors import create_extractor
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.pose import pose_error_deg, relative_pose
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
    folder = options.data / name
    cameras = json.loads((folder / "cameras.json").read_text())
    images = sorted(cameras)
    paths = [folder / "images" / image for image in images]
    kinds: list[Precision] = ["float32", "bfloat16" if options.stage == "extract" else "float32"]
    features = [
        create_extractor(options.features, max_keypoints=options.max_keypoints, precision=kind).extract_many(paths)
        for kind in dict.fromkeys(kinds)
    ]
    config = LightGlueConfig.accurate()
    model = features[0][0].kind
    assert model is not None  # what an extractor makes has one
    matchers = [
        LightGlue.pretrained(model, config, precision="float32"),
        LightGlue.pretrained(model, config, precision="bfloat16" if options.stage == "match" else "float32"),
    ]
    kept = total = 0
    errors: list[list[float]] = [[], []]
    pairs = list(itertools.combinations(range(len(images)), 2))
    for i, j in pairs:
        found = [m.match(f[i], f[j]) for m, f in zip(matchers, (features[0], features[-1]), strict=True)]
        if options.stage == "match":
            kept += int(((found[0].matches0 == found[1].matches0) & (found[0].matches0 >= 0)).sum())
            total += len(found[0])
        for k, matches in enumerate(found):
            errors[k].append(pose_error(matches, cameras[images[i]], cameras[images[j]]))
    share = f"{kept / total:.2%}" if total else "–"
    columns = ["/".join(f"{100 * value:.1f}" for value in auc(column, THRESHOLDS_DEG)) for column in errors]
    print(f"{name:24} {len(pairs):5} {share:>7} {columns[0]:>22} {columns[1]:>22}", flush=True)


def pose_error(matches: Matches, camera0: Mapping[str, Any], camera1: Mapping[str, Any]) -> float:
    """Degrees; infinite if there is no pose."""
    models = [
        PinholeCamera.parse(",".join(str(v) for v in np.ravel(c["K"])), (c["width"], c["height"]))
        for c in (camera0, camera1)
    ]
    found = verify(
        matches.points0, matches.points1, "essential", camera0=models[0], camera1=models[1], threshold_px=1.0
    )
    poses = [torch.tensor(c["T_w2c"], dtype=torch.float64) for c in (camera0, camera1)]
    return pose_error_deg(found.rotation, found.translation, relative_pose(*poses))


if __name__ == "__main__":
    with torch.no_grad():
        main()
