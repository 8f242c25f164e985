"""Results for the tests of the report, with numbers that can be checked by hand."""

import math
from dataclasses import replace

import numpy as np
import PIL.Image
import torch

from photoglue.evaluation.results import PairRecord, ProtocolCard, Result
from photoglue.structs import Matches

CARD = ProtocolCard(
    protocol="photoglue", resize=1024, max_keypoints=2048, estimator="poselib", threshold_px=1.0,
    versions={"photoglue": "0.4.0", "torch": "2.13.0"},
)  # fmt: skip
OPENCV = replace(CARD, estimator="opencv", threshold_px=0.5)
EVIL = '<script>alert("1")</script>|a*b_c`d` & \'e\'"><img src=http://x.example/y>'


def record(error, *, scene="s", name0="a.png", name1="b.png", **values):
    found = {"pose_error_deg": float(error), "num_matches": 120.0, "num_inliers": 60.0}
    return PairRecord(scene=scene, name0=name0, name1=name1, values=found | {k: float(v) for k, v in values.items()})


def result(method="m", dataset="set", errors=(1.0, 3.0, math.inf), *, auc5=0.5, benchmark="relative_pose", **changes):
    records = tuple(record(error, scene=f"s{i % 2}", name0=f"{i}.png") for i, error in enumerate(errors))
    values = {"AUC@5": auc5, "AUC@10": 0.61234, "matches": 1234.5, "match_s": 0.0123}
    given = {
        "card": CARD, "values": values, "scenes": {"s0": values, "s1": {**values, "AUC@5": 0.25}}, "records": records,
        "images": "/nowhere",
    }  # fmt: skip
    return Result(benchmark=benchmark, dataset=dataset, method=method, **(given | changes))


def photos(folder, names=("a.png", "b.png"), size=(90, 60)):
    for i, name in enumerate(names):
        pixels = np.random.default_rng(i).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(folder / name)
    return folder


def matched(points0, points1):
    """Matches of the rows of two tensors of points."""
    rows = torch.arange(len(points0))
    return Matches(
        matches0=rows, matches1=rows, matching_scores0=torch.ones(len(rows)), matching_scores1=torch.ones(len(rows)),
        keypoints0=points0, keypoints1=points1,
    )  # fmt: skip
