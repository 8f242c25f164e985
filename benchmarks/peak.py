"""Peak memory of one large match, in a process of its own."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from photoglue import Features, LightGlue, LightGlueConfig


def measured_in_child(name: str, features: list[Features], args: argparse.Namespace) -> dict[str, Any]:
    """Peak and time of one match with all layers and points, or how it failed."""
    facts: dict[str, Any] = {"name": name, "points": args.memory_points, "layers": args.memory_layers}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "features.pt"
        torch.save([vars(tiled(each, args.memory_points, seed)) for seed, each in enumerate(features)], file)
        command = [sys.executable, str(Path(__file__).with_name("speed.py")), "--memory-child", name]
        command += ["--memory-features", str(file), "--memory-layers", str(args.memory_layers)]
        done = subprocess.run([*command, "--threads", str(args.threads)], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {**facts, "failed": f"exit code {done.returncode}: {lines[-1] if lines else 'killed'}"}
    return {**facts, **json.loads(done.stdout)}


def report_as_child(name: str, file: str, layers: int) -> None:
    """Match, and print as JSON how much memory that took."""
    match = _match(name, layers)
    features0, features1 = (Features(**fields) for fields in torch.load(file, weights_only=True))
    before = peak_gib()
    start = time.perf_counter()
    match(features0, features1)
    print(json.dumps({"s": time.perf_counter() - start, "before_gib": before, "peak_gib": peak_gib()}))


def tiled(features: Features, count: int, seed: int) -> Features:
    """So many points: real descriptors, repeated; the repetitions lie a few pixels from their originals."""
    chance = torch.Generator().manual_seed(seed)
    rows = torch.arange(count) % len(features)
    shift = torch.randn(count, 2, generator=chance) * 3 * (torch.arange(count) >= len(features))[:, None]
    limits = torch.tensor(features.image_size, dtype=torch.float32) - 1
    keypoints = torch.minimum((features.keypoints[rows] + shift).clamp(min=0), limits)
    return Features(
        keypoints=keypoints,
        descriptors=features.descriptors[rows],
        scores=features.scores[rows],
        image_size=features.image_size,
        kind=features.kind,
    )


def peak_gib() -> float:
    """The most memory that this process has held, GiB.

    On Linux from VmHWM: ru_maxrss also knows the parent, whose memory a child shares until it runs its own program.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _match(name: str, layers: int) -> Any:
    if name == "official":
        from contestants import OFF, as_official
        from peers import official

        model = official().LightGlue("aliked", n_layers=layers, **OFF).eval()
        return torch.inference_mode()(lambda a, b: model({"image0": as_official(a), "image1": as_official(b)}))
    from contestants import PRECISIONS

    config = LightGlueConfig.accurate(n_layers=layers)
    return LightGlue.pretrained("aliked", config, precision=PRECISIONS[name]).match
