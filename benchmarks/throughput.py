"""Pairs a second on a device: ours in batches, the official code one pair after the other."""

from functools import partial
from itertools import product
from typing import Any

import torch
from contestants import MODES, ON_GPUS, OURS, contestant
from device_runs import Pairs, official_models, official_runs, timed_rows

from photoglue import LightGlue


def throughput_rows(
    pairs: Pairs, keypoints: list[int], rounds: int, device: str, skipped: dict[str, str]
) -> list[dict[str, Any]]:
    """Seconds for all pairs, each image with its best so many points, features being on the device already."""
    rows: list[dict[str, Any]] = []
    peers = {mode: official_models(mode, keypoints, device) for mode in MODES}
    ours = {
        mode: {name: _ours(name, mode, device) for name in (OURS if device == "cpu" else ON_GPUS)} for mode in MODES
    }
    for points, mode in product(keypoints, MODES):
        placed = [(first[:points].to(device), second[:points].to(device)) for first, second in pairs]
        runs = official_runs(peers[mode], placed)
        runs |= {name: partial(_at_once, matcher, placed) for name, matcher in ours[mode].items()}
        timed = timed_rows(runs, rounds, device, skipped)
        rows += [{"points": points, "mode": mode, "pairs": len(pairs), **row} for row in timed]
    return rows


def _ours(name: str, mode: str, device: str) -> LightGlue:
    matcher = contestant(name, mode).matcher
    assert matcher is not None
    return matcher.to(device)


def _at_once(matcher: LightGlue, pairs: Pairs) -> list[torch.Tensor]:
    return [matches.indices for matches in matcher.match_many(pairs)]
