"""Easy pairs are matched by nearest neighbours, others by the careful matcher; the order stays."""

import pytest
from mapped_scene import PLACES, Scene

from photoglue.batch.match import matcher_options
from photoglue.matchers.base import Matcher
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.sfm.cascade import Cascade

pytest.importorskip("poselib", exc_type=ImportError)
pytest.importorskip("h5py", exc_type=ImportError)


class Asked(Matcher):
    """Nearest neighbours with a ratio test, and how many pairs were asked for."""

    def __init__(self, ratio=0.8):
        self.ratio = ratio
        self._asked = 0

    def match_many(self, pairs):
        self._asked += len(pairs)
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


def test_options_tell_the_careful_matcher():
    plain = matcher_options(Cascade(Asked()))
    assert plain["matcher"] == "Cascade"
    assert (plain["enough"], plain["resize"]) == (100, 1024)
    assert plain == matcher_options(Cascade(Asked()))
    assert plain != matcher_options(Cascade(Asked(0.7)))
