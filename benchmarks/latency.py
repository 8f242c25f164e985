"""One pair on a GPU, for those who wait for it: layers as one recorded graph, layer by layer, and the official code."""

from functools import partial
from itertools import product
from typing import Any
from unittest import mock

import torch
from contestants import MODES, our_config
from device_runs import Pairs, Run, official_models, official_runs, timed_rows

from photoglue import Features, LightGlue
from photoglue.matchers.lightglue.engine.graphs import PairGraphs


def latency_rows(
    features: list[Features], keypoints: list[int], rounds: int, device: str, skipped: dict[str, str]
) -> list[dict[str, Any]]:
    """Seconds until the matches of one pair are there, its features being on the device already."""
    rows: list[dict[str, Any]] = []
    peers = {mode: official_models(mode, keypoints, device) for mode in MODES}
    ours = {mode: LightGlue.pretrained("aliked", our_config(mode)).to(device) for mode in MODES}
    for points, mode in product(keypoints, MODES):
        pairs = [(features[0][:points].to(device), features[1][:points].to(device))]
        runs = official_runs(peers[mode], pairs) | _our_runs(ours[mode], mode, pairs)
        rows += [
            {"points": points, "mode": mode, "pairs": 1, **row} for row in timed_rows(runs, rounds, device, skipped)
        ]
    return rows


def _our_runs(matcher: LightGlue, mode: str, pairs: Pairs) -> dict[str, Run]:
    if mode == "adaptive":
        return {"ours": partial(_match, matcher, pairs)}
    return {
        "ours, layer by layer": partial(_layer_by_layer, matcher, pairs),
        "ours, one graph": partial(_match, matcher, pairs),
    }


def _match(matcher: LightGlue, pairs: Pairs) -> list[torch.Tensor]:
    return [matcher.match(*pair).indices for pair in pairs]


def _layer_by_layer(matcher: LightGlue, pairs: Pairs) -> list[torch.Tensor]:
    with mock.patch.object(PairGraphs, "run", lambda _, __, pack: (pack, 0)):
        return _match(matcher, pairs)
