"""Easy pairs are matched by nearest neighbours, others by the careful matcher; the order stays."""

from dataclasses import replace

import pytest
import torch
from mapped_scene import PLACES, Scene

from photoglue.batch.match import matcher_options
from photoglue.matchers.base import Matcher
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.sfm.cascade import Cascade

pytest.importorskip("poselib", exc_type=ImportError)
pytest.importorskip("h5py", exc_type=ImportError)


class Asked(Matcher):
    """Nearest neighbours with a ratio test, and how many pairs were asked for."""

    verdict = None

    def __init__(self, ratio=0.8):
        self.ratio = ratio
        self._asked = 0
        self._sizes = []

    def match_many(self, pairs):
        self._asked += len(pairs)
        self._sizes += [tuple(map(len, pair)) for pair in pairs]
        return NearestNeighbor(self.ratio).match_many(pairs)


def test_only_hard_pairs_are_asked_for(tmp_path):
    scene = Scene(tmp_path, 0, 1, 2, PLACES)
    first, second, third, stranger = scene.features.values()
    careful = Asked()
    cascade = Cascade(careful, enough=60)
    pairs = [(first, stranger), (first, second), (stranger, second), (second, third)]
    found = cascade.match_many(pairs)
    assert careful._asked == 2
    assert [len(matches.matches0) for matches in found] == [len(pair[0]) for pair in pairs]
    assert all(len(matches) >= 60 for matches in (found[1], found[3]))
    assert cascade.match_many(pairs[1:2])[0].matches0.equal(found[1].matches0)
    assert cascade.match_many([]) == []
    assert Cascade(careful, enough=1000).match_many(pairs[1:2])
    assert careful._asked == 3


def test_the_strongest_points_first(tmp_path):
    """All points are looked at only where the strongest do not do, and the photos may show the same thing."""
    scene = Scene(tmp_path, 0, 1, 2, PLACES)
    first, second, third, _ = (
        replace(each, scores=torch.rand(len(each), generator=torch.Generator().manual_seed(i)))
        for i, each in enumerate(scene.features.values())
    )
    pairs = [(first, second), (third, second)]
    careful = Asked(None)
    found = Cascade(careful, enough=1000, first=60).match_many(pairs)
    assert careful._sizes == [(60, 60)] * 2 + [(len(a), len(b)) for a, b in pairs]
    assert all(a.matches0.equal(b.matches0) for a, b in zip(found, NearestNeighbor().match_many(pairs), strict=True))
    careful.verdict = lambda matches: 0.001
    few = Cascade(careful, enough=1000, first=60).match_many(pairs)
    assert len(careful._sizes) == 6
    for (a, b), matches in zip(pairs, few, strict=True):
        strongest = [set(each.scores.topk(60).indices.tolist()) for each in (a, b)]
        assert len(matches.matches0) == len(a) and len(matches) > 5
        for index0, index1 in matches.indices.tolist():
            assert index0 in strongest[0] and index1 in strongest[1] and matches.matches1[index1] == index0
        (alone,) = NearestNeighbor().match_many([(a[a.scores.topk(60).indices], b[b.scores.topk(60).indices])])
        assert len(alone) == len(matches) and sorted(alone.scores.tolist()) == sorted(matches.scores.tolist())


def test_options_tell_the_careful_matcher():
    plain = matcher_options(Cascade(Asked()))
    assert plain["matcher"] == "Cascade"
    assert (plain["enough"], plain["first"], plain["resize"]) == (100, 1024, 1024)
    assert plain == matcher_options(Cascade(Asked()))
    assert plain != matcher_options(Cascade(Asked(0.7)))
