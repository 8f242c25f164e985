"""Lists of pairs on a device: the official code with each of its settings for speed, and the clock for all.

Nobody knows beforehand which settings are the official code's best on a GPU: compiled layers take a mask, and with it
another kernel than flash attention. So all run, and the fastest is the baseline.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from contestants import MODES, as_official, overlap
from peers import official
from timing import Spread, alternate, speedups

from photoglue import Features

SETTINGS: dict[str, dict[str, bool]] = {
    "official": {},
    "official, mp": {"mp": True},
    "official, compiled": {"compiled": True},
    "official, compiled, mp": {"compiled": True, "mp": True},
}
"""All with flash attention, which is the default. Compiled and mp (half precision) are for CUDA alone."""
LENGTHS = (256, 512, 768, 1024, 1280, 1536)
"""What the official code compiles for by default; it runs pairs with more points uncompiled and says nothing."""
FIRST_RUNS = 3
"""Before the clock runs: compiling and recording take several."""

Pairs = list[tuple[Features, Features]]
Run = Callable[[], list[torch.Tensor]]
"""Matches a list of pairs: matched indices of each, k × 2."""


def official_models(mode: str, keypoints: list[int], device: str) -> dict[str, torch.nn.Module]:
    """One with each of the settings, compiled for exactly these numbers of points; on a CPU only the plain one."""
    names = SETTINGS if device == "cuda" else ["official"]
    return {name: official_model(mode, keypoints, device, **SETTINGS[name]) for name in names}


def official_model(
    mode: str, keypoints: list[int], device: str, *, compiled: bool = False, mp: bool = False
) -> torch.nn.Module:
    """The official network with some settings."""
    model: torch.nn.Module = official().LightGlue("aliked", mp=mp, **MODES[mode]).eval().to(device)
    if compiled:
        model.compile(static_lengths=sorted({*LENGTHS, *keypoints}))
    return model


def official_runs(models: dict[str, torch.nn.Module], pairs: Pairs) -> dict[str, Run]:
    """One pair after the other, which is all that the official code can do; its input is made before the clock runs."""
    inputs = [{"image0": as_official(first), "image1": as_official(second)} for first, second in pairs]
    return {name: partial(_one_by_one, model, inputs) for name, model in models.items()}


@torch.inference_mode()
def _one_by_one(model: torch.nn.Module, inputs: list[dict[str, Any]]) -> list[torch.Tensor]:
    found = []
    for each in inputs:
        if model.static_lengths:
            # What the last pair left in recorded memory is done with.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        found.append(model(each)["matches"][0])
    return found


def timed_rows(runs: dict[str, Run], rounds: int, device: str, skipped: dict[str, str]) -> list[dict[str, Any]]:
    """Seconds of each, in turn, and how many times faster than the fastest official one, which is marked.

    What cannot run here is left out, and the reason noted. The peak is what was allocated on the GPU at most in the
    first runs, compiling and recording included, over what was there before.
    """
    torch.compiler.reset()  # else the second number of points is compiled for any number, which is slower
    found: dict[str, set[tuple[int, ...]]] = {}
    peaks: dict[str, float | None] = {}
    for name, run in runs.items():
        try:
            found[name], peaks[name] = _first_runs(run, device)
        except RuntimeError as error:  # a compiler that is not there, or memory
            skipped[f"{name}, {device}"] = str(error).strip().partition("\n")[0]
    seconds = alternate({name: partial(_until_done, runs[name], device) for name in found}, rounds)
    spreads = {name: Spread.of(times) for name, times in seconds.items()}
    best = min((name for name in found if name in SETTINGS), key=lambda name: spreads[name].median, default=None)
    ratios = speedups(seconds, best) if best else {}
    return [
        {
            "name": name,
            "baseline": name == best,
            "s": asdict(spreads[name]),
            "speedup": asdict(ratios[name]) if best else None,
            "matches": len(found[name]),
            "same_as_official": overlap(found[name], found.get("official")),
            "peak_mib": peaks[name],
        }
        for name in found
    ]


def _first_runs(run: Run, device: str) -> tuple[set[tuple[int, ...]], float | None]:
    """What it finds, as (pair, index 0, index 1), and its peak, MiB, of which a CPU keeps no account."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    for _ in range(FIRST_RUNS):
        matches = run()
    found = {(i, *row) for i, indices in enumerate(matches) for row in indices.tolist()}
    return found, (torch.cuda.max_memory_allocated() - before) / 2**20 if device == "cuda" else None


def _until_done(run: Run, device: str) -> None:
    run()
    if device == "cuda":
        torch.cuda.synchronize()
