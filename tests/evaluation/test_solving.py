import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from photoglue.datasets.truths import Planar
from photoglue.evaluation.solving import SolverPool, Task, solve


@pytest.fixture
def task(make):
    points = np.random.default_rng(0).uniform(0, 190, (50, 2))
    shift = np.array([[1.0, 0, 4], [0, 1, 0], [0, 0, 1]])
    noise = np.random.default_rng(1).normal(size=(50, 2))
    matches = make.matches(points, points + noise)
    return Task(
        benchmark="homography",
        truth=Planar(image1_from_image0=shift),
        matches=matches.numpy(),
        size0=(200, 200),
        size1=(200, 200),
        card=make.card(seeds=3, threshold_px=3.0),
    )


def test_values_for_each_seed(task):
    values = solve(task)
    assert len(values) == 3
    assert len({value["dlt_error_px"] for value in values}) == 1
    assert values == solve(pickle.loads(pickle.dumps(task)))
    first = solve(replace(task, card=replace(task.card, seeds=1, seed=1)))
    assert first == values[1:2]


@pytest.mark.slow
def test_worker_processes_say_the_same(task):
    with SolverPool(1) as pool:
        futures = [pool.submit(task), pool.submit(task)]
        assert futures[0].result(60) == futures[1].result(60) == solve(task)
    with SolverPool(0) as pool:
        assert pool.submit(task).result() == solve(task)


def test_pixels_of_the_resized_frame(task, make):
    """At half the size the errors are half as large, but for the half pixel by which the corners are elsewhere."""
    full = solve(task)[0]
    halved = solve(replace(task, card=replace(task.card, resize=100, resized_frame=True, threshold_px=1.5)))[0]
    assert halved["dlt_error_px"] == pytest.approx(full["dlt_error_px"] / 2, rel=0.01)
    assert halved["num_matches"] == full["num_matches"]
    assert halved["precision_3px"] > full["precision_3px"]
    unframed = solve(replace(task, card=replace(task.card, resize=100)))[0]
    assert unframed["dlt_error_px"] == full["dlt_error_px"]


KILLED = """
import os, time
from photoglue.evaluation.solving import SolverPool

if __name__ == "__main__":
    with SolverPool(1) as pool:
        print(pool._executor.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


@pytest.mark.rare
def test_when_the_evaluation_is_killed_its_processes_end(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    main = subprocess.Popen([sys.executable, tmp_path / "killed.py"], stdout=subprocess.PIPE, text=True)
    worker = int(main.stdout.readline())
    main.kill()
    try:
        main.communicate(timeout=10)  # the output ends when the last process that may write to it has ended
    except subprocess.TimeoutExpired:
        os.kill(worker, signal.SIGKILL)
        pytest.fail("the worker is still there")
