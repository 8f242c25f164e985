"""One pair on a GPU, for those who wait for it: layers as one recorded graph, layer by layer, and the official code."""

import functools
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from unittest import mock

import torch
from contestants import OFF, as_official
from peers import official
from timing import Spread, alternate, speedups

from photoglue import Features, LightGlue, LightGlueConfig
from photoglue.matchers.lightglue.graphs import PairGraphs

FIRST_RUNS = 3
"""Before the clock runs: compiling and recording take several."""

Match = Callable[[Features, Features], torch.Tensor]


def latency_rows(features: list[Features], keypoints: list[int], rounds: int, device: str) -> list[dict[str, Any]]:
    """Milliseconds until the matches of one pair are there, its features being on the device already."""
    rows: list[dict[str, Any]] = []
    running = {"official": _official(device), **_ours(device)}
    for points in keypoints:
        pair = [each[:points].to(device) for each in features[:2]]
        found = {name: {tuple(row) for row in match(*pair).tolist()} for name, match in running.items()}
        runs = {name: functools.partial(_until_done, match, *pair) for name, match in running.items()}
        for run in list(runs.values()) * FIRST_RUNS:
            run()
        seconds = alternate(runs, rounds)
        ratios = speedups(seconds, "official")
        rows += [
            {
                "points": points,
                "name": name,
                "ms": asdict(Spread.of([1000 * s for s in seconds[name]])),
                "speedup": asdict(ratios[name]),
                "matches": len(found[name]),
                "same_as_official": len(found[name] & found["official"]) / max(len(found[name] | found["official"]), 1),
            }
            for name in running
        ]
    return rows


def _until_done(match: Match, features0: Features, features1: Features) -> None:
    match(features0, features1)
    if features0.keypoints.is_cuda:
        torch.cuda.synchronize()


def _official(device: str) -> Match:
    """With flash attention, which is its default, at full depth, compiled."""
    model = official().LightGlue("aliked", **OFF).eval().to(device)
    if device == "cuda":
        model.compile()

    @torch.inference_mode()
    def match(features0: Features, features1: Features) -> torch.Tensor:
        matches: torch.Tensor = model({"image0": as_official(features0), "image1": as_official(features1)})["matches"]
        return matches[0]

    return match


def _ours(device: str) -> dict[str, Match]:
    full = LightGlue.pretrained("aliked", LightGlueConfig.accurate()).to(device)
    adaptive = LightGlue.pretrained("aliked").to(device)

    def layer_by_layer(features0: Features, features1: Features) -> torch.Tensor:
        with mock.patch.object(PairGraphs, "run", lambda _, __, pack: (pack, 0)):
            return full.match(features0, features1).indices

    return {
        "ours, layer by layer": layer_by_layer,
        "ours, one graph": lambda a, b: full.match(a, b).indices,
        "ours, adaptive": lambda a, b: adaptive.match(a, b).indices,
    }
