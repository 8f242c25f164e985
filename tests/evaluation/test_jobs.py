"""Timing pair by pair changes the times and nothing else; methods may be objects."""

import math
from dataclasses import replace

import pytest
import torch

from photoglue.datasets.layouts import load_dataset
from photoglue.errors import ConfigError
from photoglue.evaluation import run
from photoglue.evaluation.jobs import Settings, jobs_of
from photoglue.evaluation.methods import Method
from photoglue.matchers.nearest import NearestNeighbor

SETTINGS = Settings(workers=0, device="cpu")
SINGLY = replace(SETTINGS, time_singly=True)
METHODS = ["sift+nn", "sift+ratio"]


def timeless(result):
    return [{name: value for name, value in r.values.items() if name != "match_s"} for r in result.records]


@pytest.mark.slow
def test_one_by_one_in_turn(planes, out, monkeypatch):
    """Each pair by both methods, the second pair the other way round; each once before, untimed."""
    seen, match_many = [], NearestNeighbor.match_many

    def noted(self, pairs):
        seen.append((self.ratio, len(pairs)))
        return match_many(self, pairs)

    monkeypatch.setattr(NearestNeighbor, "match_many", noted)
    singly = run.measure([load_dataset(planes)], METHODS, out, SINGLY)
    nn, ratio = (None, 1), (0.8, 1)
    assert seen == [nn, nn, ratio, ratio, ratio, nn, nn, ratio, ratio, nn]
    together = run.measure([load_dataset(planes)], METHODS, out, SETTINGS)
    assert [result.method for result in singly] == METHODS
    for one, other in zip(singly, together, strict=True):
        assert timeless(one) == timeless(other)
        times = [record.values["match_s"] for record in one.records]
        assert all(0 < seconds < math.inf for seconds in times)
        assert len(set(times)) == len(times)  # a pair's own
        assert len({record.values["match_s"] for record in other.records}) == 1  # one block's, shared


@pytest.mark.slow
@pytest.mark.parametrize(("clock", "name"), [("cpu", "process_time"), ("wall", "perf_counter")])
def test_clocks(planes, out, monkeypatch, clock, name):
    """A clock that goes on by 3 s between two looks at it."""
    ticks = iter(range(0, 10_000, 3))
    monkeypatch.setattr(run.time, name, lambda: next(ticks))
    (result,) = run.measure([load_dataset(planes)], ["sift+nn"], out, replace(SINGLY, clock=clock))
    assert {record.values["match_s"] for record in result.records} == {3.0}


class Killed(Exception):
    pass


@pytest.mark.slow
def test_killed_and_resumed(planes, out, monkeypatch):
    append, matched, match_many = run.Journal.append, [], NearestNeighbor.match_many

    def dies(self, pair, values):
        if len(self.done) == 2:
            raise Killed
        append(self, pair, values)

    monkeypatch.setattr(run.Journal, "append", dies)
    with pytest.raises(Killed):
        run.measure([load_dataset(planes)], METHODS, out, SINGLY)
    monkeypatch.setattr(run.Journal, "append", append)
    monkeypatch.setattr(NearestNeighbor, "match_many", lambda *args: matched.append(1) or match_many(*args))
    resumed = run.measure([load_dataset(planes)], METHODS, out, SINGLY)
    assert 2 + 2 <= len(matched) <= 2 + 5  # two warm-ups, and what was not written down of eight
    for one, other in zip(resumed, run.measure([load_dataset(planes)], METHODS, out, SETTINGS), strict=True):
        assert timeless(one) == timeless(other)


def test_one_method_under_two_names(planes):
    """They would write one file."""
    with pytest.raises(ConfigError, match=r"'sift\+nn' is asked for twice: on this machine it is 'sift\+nn'"):
        jobs_of([load_dataset(planes)], ["sift+nn", "sift+ratio", "sift+nn@float32"], Settings(device="cpu"))


def test_methods_as_objects(planes):
    method = Method.parse("sift+ratio")
    assert [job.method for job in jobs_of([load_dataset(planes)], [method, "sift+nn"], SETTINGS)] == [
        method,
        Method.parse("sift+nn"),
    ]


@pytest.mark.parametrize(
    ("name", "confidences"),
    [("0.9:off", (0.9, None)), ("off:0.95", (None, 0.95)), (".8:1", (0.8, 1.0)), ("off:off", (None, None))],
)
def test_confidences(name, confidences):
    method = Method.parse(f"aliked+lightglue-adaptive:{name}@float32")
    assert (method.confidences, method.matcher, method.precision) == (confidences, "lightglue-adaptive", "float32")
    fingerprints = [Method.parse(f"aliked+lightglue-adaptive{end}").fingerprint(torch.device("cpu")) for end in
                    ("", f":{name}")]  # fmt: skip
    assert fingerprints[0] != fingerprints[1]


@pytest.mark.weights
def test_confidences_reach_the_matcher(planes):
    method = Method.parse("aliked+lightglue-adaptive:0.9:off")
    (job,) = jobs_of([load_dataset(planes)], [method], SETTINGS)
    matcher = job.build(SETTINGS).matcher
    assert (matcher.config.depth_confidence, matcher.config.width_confidence) == (0.9, None)


@pytest.mark.parametrize("ending", ["0", "0.9", "2:off", "0.9:none", "0.9:off:off"])
def test_confidences_that_make_no_sense(ending):
    with pytest.raises(ConfigError, match=r"confidence is 2|is no method"):
        Method.parse(f"aliked+lightglue-adaptive:{ending}")
