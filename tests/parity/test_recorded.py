"""Matches that were recorded before the house was rebuilt: the same photos must go on giving the same matches.

On a machine of the kind that recorded them, bit by bit; elsewhere rounding differs, so nearly all must be the same.
``python tests/parity/test_recorded.py CASE ...`` records cases anew, after a change that is meant to change them.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

RECORD = Path(__file__).with_name("recorded.npz")
COUNT = 1024
CASES = {
    "aliked": {},
    "aliked plain network": {"precision": None},
    "aliked accurate": {"preset": "accurate"},
    "disk": {"features": "disk"},
    "sift": {"features": "sift"},
    "aliked nearest": {"matcher": "nearest"},
}


def this_kind_of_machine() -> str:
    """Everything that rounding depends on."""
    from photoglue.machine import machine

    facts = machine()
    return json.dumps([facts["cpu"], facts["cpu_flags"], torch.__version__, torch.backends.cpu.get_cpu_capability()])


def matched(left: Path, right: Path, *, features="aliked", preset="default", precision="float32", matcher="lightglue"):
    from photoglue import LightGlue, LightGlueConfig, NearestNeighbor, create_extractor

    config = LightGlueConfig.accurate() if preset == "accurate" else LightGlueConfig()
    extractor = create_extractor(features, max_keypoints=COUNT, precision="float32")
    network = LightGlue.pretrained(extractor.kind, config, precision=precision) if matcher == "lightglue" else None
    found = (network or NearestNeighbor()).match(*extractor.extract_many([left, right]))
    return {
        "indices": found.indices.numpy().astype(np.int16),
        "scores": found.scores.numpy(),
        "points": torch.cat([found.points0, found.points1], 1).numpy(),
    }


@pytest.mark.weights
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case == "aliked" else pytest.mark.slow) for case in CASES]
)
def test_matches_are_those_recorded(case, motorcycle):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = matched(*motorcycle, **CASES[case])
    finally:
        torch.set_num_threads(threads)
    record = np.load(RECORD)
    wanted = {name: record[f"{case}/{name}"] for name in found}
    if str(record[f"{case}/machine"]) == this_kind_of_machine():
        for name, values in found.items():
            np.testing.assert_array_equal(values, wanted[name], err_msg=name)
        return
    ours = dict(zip(map(bytes, found["points"].round().astype(np.int16)), found["scores"], strict=True))
    theirs = dict(zip(map(bytes, wanted["points"].round().astype(np.int16)), wanted["scores"], strict=True))
    common = ours.keys() & theirs.keys()
    assert len(common) >= 0.98 * max(len(ours), len(theirs)) > 300
    assert np.median([abs(ours[match] - theirs[match]) for match in common]) < 1e-3


if __name__ == "__main__":
    import os

    from skimage import data

    os.environ["PHOTOGLUE_AUTO"] = "rules"  # as in the tests
    folder = Path(data.__file__).parent
    torch.set_num_threads(1)
    arrays = dict(np.load(RECORD))
    for case in sys.argv[1:]:
        result = matched(folder / "motorcycle_left.png", folder / "motorcycle_right.png", **CASES[case])
        sys.stdout.write(f"{case}: {len(result['scores'])} matches\n")
        arrays |= {f"{case}/{name}": values for name, values in result.items()}
        arrays[f"{case}/machine"] = np.array(this_kind_of_machine())
    np.savez_compressed(RECORD, **arrays)
