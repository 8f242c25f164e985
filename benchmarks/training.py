"""How fast a training step is, what it is made of, and which share of the machine's arithmetic it uses.

    python benchmarks/training.py [--points 512] [--batch 8 32] [--precision bfloat16 float32] [--threads 1]

The network of 9 layers and width 256, the real objective and AdamW, on made-up pairs with descriptors of 256 channels:
time does not depend on what the numbers are. CPU time is what the step takes of one core; where other work has the core
too, the clock on the wall shows more. The floor is the arithmetic of forward and backward pass, three times that of the
forward pass, at the rate of the fastest matrix product here (`floor.py`).
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from floor import INPUT_DIM, WIDTH, best_rate, match_flops

from photoglue.machine import version_line
from photoglue.matchers.lightglue import LightGlue, LightGlueShape
from photoglue.structs import Features
from photoglue.training.losses import losses
from photoglue.training.objective import Example, Objective
from photoglue.training.pairs.base import HomographyPair

LAYERS = 9
PARTS = ("network", "loss", "backward", "optimiser")


def main() -> None:
    """Print a table and its conditions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=512)
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--part", type=int, default=8, help="pairs that go through the network at once")
    parser.add_argument("--precision", nargs="+", choices=["bfloat16", "float32"], default=["bfloat16", "float32"])
    parser.add_argument("--steps", type=int, default=3, help="measured, after one to warm up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--profile", type=int, default=0, metavar="ROWS", help="list the slowest operations of a step")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{version_line()}\n{options.points} points, {options.threads} threads, {options.device}", flush=True)
    gflops = step_flops(options.points, options.points) / 1e9
    print(f"{gflops:.1f} GFLOP a pair, labels {label_ms(options.points):.2f} ms a pair, in the processes that read")
    for precision in options.precision:
        dtype = getattr(torch, precision)
        rate = float(best_rate(dtype)["gflops"]) if options.device == "cpu" else None
        for batch in options.batch:
            step = Step(options, dtype, batch)
            report(step, precision, batch, None if rate is None else rate / gflops)
            if options.profile:
                print(step.profile(options.profile))


def step_flops(m: int, n: int) -> float:
    """Floating-point operations of one pair: those of a match, with a head after every layer, and twice that backwards.

    The second pass over attention that flash kernels make backwards is left out: arithmetic does not need it.
    """
    d = WIDTH
    head = 2 * (m + n) * d * d + 2 * d * m * n
    # No projection: the descriptors have the width of the network.
    return 3 * (match_flops([(m, n)] * LAYERS) + (LAYERS - 1) * head - 2 * (m + n) * d * INPUT_DIM)


class Step:
    """A step of training, whose parts are timed."""

    def __init__(self, options: argparse.Namespace, dtype: torch.dtype, batch: int) -> None:
        self.device, self.part, self.steps = torch.device(options.device), min(options.part, batch), options.steps
        self.model = (
            LightGlue(shape=LightGlueShape(input_dim=WIDTH, descriptor_dim=WIDTH, n_layers=LAYERS))
            .train()
            .to(self.device)
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, fused=True)
        self.dtype = dtype
        self.objective = Objective()
        self.examples = [self.objective.prepare(made_up(options.points, i), i).to(self.device) for i in range(batch)]
        self.seconds = dict.fromkeys(PARTS, 0.0)

    def __call__(self) -> None:
        """Forward, backward, and a step of the optimiser."""
        for start in range(0, len(self.examples), self.part):
            examples = self.examples[start : start + self.part]
            with self._precision():
                with self.timed("network"):
                    found = self.model.all_layers([(each.features0, each.features1) for each in examples])
                with self.timed("loss"):
                    total = losses(found, [each.labels for each in examples], self.objective.config).total
            with self.timed("backward"):
                total.backward()  # type: ignore[no-untyped-call]
        with self.timed("optimiser"):
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def profile(self, rows: int) -> str:
        """The operations that take the most time themselves."""
        with torch.profiler.profile() as profiler:
            self()
        return str(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=rows))

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Adds to the time of a part."""
        before = clock(self.device)
        yield
        self.seconds[part] += clock(self.device) - before

    def _precision(self) -> AbstractContextManager[object]:
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)


def report(step: Step, precision: str, batch: int, floor: float | None) -> None:
    """A row: pairs a second by both clocks, share of the floor, share of each part."""
    step()
    step.seconds = dict.fromkeys(PARTS, 0.0)
    start = time.perf_counter()
    for _ in range(step.steps):
        step()
    wall, busy, pairs = time.perf_counter() - start, sum(step.seconds.values()), step.steps * batch
    share = "" if floor is None else f", {pairs / busy / floor:.0%} of the floor ({floor:.2f})"
    parts = ", ".join(f"{name} {seconds / busy:.1%}" for name, seconds in step.seconds.items())
    print(
        f"{precision} batch {batch}: {pairs / busy:.2f} pairs/s of CPU or GPU time{share}, {pairs / wall:.2f} on the "
        f"wall; {parts}",
        flush=True,
    )


def clock(device: torch.device) -> float:
    """Seconds of this process's CPU time per thread in use; on a GPU, of the clock on the wall once it is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() / torch.get_num_threads()


def label_ms(points: int) -> float:
    """CPU time that the labels of a pair take, milliseconds."""
    pairs = [made_up(points, seed) for seed in range(8)]
    prepare: Callable[[HomographyPair, int], Example] = Objective().prepare
    prepare(pairs[0], 0)
    before = time.process_time()
    for number, pair in enumerate(pairs):
        prepare(pair, number)
    return 1000 * (time.process_time() - before) / len(pairs)


def made_up(points: int, seed: int) -> HomographyPair:
    """Two images whose points are 40 pixels apart, in another order; half of them have a partner."""
    chance = torch.Generator().manual_seed(seed)
    places = torch.rand(points, 2, generator=chance) * torch.tensor([600.0, 440.0])
    order = torch.randperm(points, generator=chance)
    moved = torch.where((order < points // 2)[:, None], places[order], places[order].flip(0)) + 40
    descriptors = torch.nn.functional.normalize(torch.randn(points, WIDTH, generator=chance), dim=1)
    shift = torch.eye(3, dtype=torch.float64)
    shift[:2, 2] = 40
    images = [
        Features(keypoints=x, descriptors=y, scores=torch.ones(points), image_size=(640, 480))
        for x, y in ((places, descriptors), (moved, descriptors[order]))
    ]
    return HomographyPair(features0=images[0], features1=images[1], image1_from_image0=shift)


if __name__ == "__main__":
    main()
