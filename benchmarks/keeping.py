"""What the C library does with the memory of large tensors: page faults, peak and time of a match, an extraction.

glibc asks the system for each large piece of memory and gives it back when it is freed; each page of it then costs a
fault when it is first written to. A process that keeps its memory (jemalloc, glibc with the variables of KEEPING) has
none. So each contestant runs in processes of its own, as it runs everywhere and with memory kept, which take turns.

    python benchmarks/speed.py --only keeping
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from contestants import OURS, PRECISIONS, contestant
from pairs import photo_pair, point_features
from peak import peak_gib
from peers import official

from photoglue import ALIKED, ALIKEDConfig
from photoglue.image import Resize, load_image

KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)}
"""glibc keeps what it once had: no piece is mapped apart, and none is given back."""
WAYS: dict[str, dict[str, str]] = {"as it runs": {}, "memory kept": KEEPING}
JOBS = ("match 2048 full", "match 2048 adaptive", "match 512 full", "match 512 adaptive", "extract 1024")
RUNS = 3
"""Runs of a job in a process, after one to warm up."""


def keeping_rows(images: list[Path] | None, rounds: int, threads: int) -> list[dict[str, Any]]:
    """For each job, contestant and way the medians over all rounds."""
    rows = []
    for job, name in product(JOBS, ("official", *OURS)):
        if job.startswith("extract") and name == "ours int16":
            continue
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for turn in range(rounds):
            for way in WAYS if turn % 2 == 0 else reversed(WAYS):
                found[way].append(_in_child(name, job, threads, images, WAYS[way]))
        for way, runs in found.items():
            medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            rows.append({"job": job, "name": name, "way": way, **medians})
    return rows


def _in_child(
    name: str, job: str, threads: int, images: list[Path] | None, settings: dict[str, str]
) -> dict[str, float]:
    command = [sys.executable, __file__, name, job, str(threads), *map(str, images or [])]
    environment = {key: value for key, value in os.environ.items() if key not in KEEPING} | settings
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}, {job}: {done.stderr.strip().splitlines()[-1:]}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _report(name: str, job: str, threads: str, *images: str) -> None:
    """Do a job in this process, and print what a run of it took."""
    torch.set_num_threads(int(threads))
    torch.set_grad_enabled(False)
    run = _job(name, job, photo_pair([Path(image) for image in images] or None))
    run()
    faults, cpu, wall = [], [], []
    for _ in range(RUNS):
        before, cpu_before, start = _faults(), time.process_time(), time.perf_counter()
        run()
        wall.append(1000 * (time.perf_counter() - start))
        cpu.append(1000 * (time.process_time() - cpu_before))
        faults.append(_faults() - before)
    facts = {"ms": min(wall), "cpu_ms": min(cpu), "faults": statistics.median(faults), "peak_gib": peak_gib()}
    print(json.dumps(facts))


def _job(name: str, job: str, paths: tuple[Path, Path]) -> Callable[[], object]:
    what, size, *mode = job.split()
    if what == "match":
        features = point_features(paths, int(size))
        match = contestant(name, mode[0]).match
        return lambda: match(features[0], features[1])
    photo = load_image(paths[0])
    photo = Resize.long_side((photo.shape[2], photo.shape[1]), int(size)).apply(photo)[None]
    if name == "official":
        extractor = official().ALIKED(max_num_keypoints=2048, detection_threshold=0.2).eval()
        return lambda: extractor({"image": photo})
    ours = ALIKED.pretrained(ALIKEDConfig(precision=PRECISIONS[name]))
    return lambda: ours.detect(photo)


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


if __name__ == "__main__":
    _report(*sys.argv[1:])
