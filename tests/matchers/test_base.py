"""What matchers refuse, and what they warn of."""

import itertools
import warnings

import pytest
import torch

from photoglue import LightGlueShape

SHAPE = LightGlueShape(input_dim=4, descriptor_dim=8, n_layers=1, num_heads=1)


def features(keypoints=((1.0, 2.0), (50.0, 20.0)), image_size=(60, 30), **changes):
    from photoglue.structs import Features

    points = torch.tensor(keypoints)
    n = len(points)
    fields = {"keypoints": points, "descriptors": torch.ones(n, 4), "scores": torch.ones(n), "image_size": image_size}
    return Features(**{**fields, **changes})


def match(*pair):
    from photoglue.matchers.nearest import NearestNeighbor

    return NearestNeighbor().match_many([pair])


class TestPairs:
    @pytest.mark.parametrize(
        ("pair", "message"),
        [
            (({"keypoints": 1}, {"keypoints": 2}), "is a tuple of dict, dict; .* dicts are for photoglue.compat"),
            ((), "is a tuple of nothing"),
        ],
    )
    def test_other_types(self, as_a_user, pair, message):
        from photoglue.errors import ShapeError

        with pytest.raises(ShapeError, match=message):
            match(*pair)

    @pytest.mark.parametrize("matcher", ["NearestNeighbor", "LightGlue"])
    def test_images_that_are_no_pair(self, as_a_user, matcher):
        import photoglue
        from photoglue.errors import ShapeError

        with pytest.raises(ShapeError, match=r"is a Features; .* match_many\(\[\(features0, features1\), …\]\)"):
            getattr(photoglue, matcher)().match_many([features(), features()])
        with pytest.raises(ShapeError, match="is a tuple of Features, Features, Features"):
            getattr(photoglue, matcher)().match_many([(features(), features(), features())])

    @pytest.mark.parametrize("matcher", ["NearestNeighbor", "LightGlue"])
    def test_pairs_may_come_from_an_iterator(self, as_a_user, matcher):
        import photoglue

        matcher = getattr(photoglue, matcher)(**({} if matcher == "NearestNeighbor" else {"shape": SHAPE}))
        images = [features(), features(((3.0, 4.0),), descriptors=torch.ones(1, 4), scores=torch.ones(1)), features()]
        wanted = matcher.match_many([(images[0], images[1]), (images[1], images[2])])
        found = matcher.match_many(itertools.pairwise(images))
        assert [each.indices.tolist() for each in found] == [each.indices.tolist() for each in wanted]
        assert len(found) == 2


class TestPoints:
    @pytest.mark.parametrize("field", ["keypoints", "descriptors", "scales", "orientations"])
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_values_that_are_not_finite(self, field, value):
        from photoglue.errors import ShapeError

        lengths = {"scales": torch.ones(2), "orientations": torch.ones(2)}
        whole = features(**lengths)
        getattr(whole, field)[1] = value
        with pytest.raises(ShapeError, match="1 of 2 points have a keypoint, descriptor, scale or orientation that is"):
            match(whole, features(**lengths))

    def test_points_outside(self):
        from photoglue.errors import PhotoGlueWarning

        with pytest.warns(PhotoGlueWarning, match=r"from \(1, 2\) to \(20, 50\), far outside .* width and height swap"):
            match(features(((1.0, 2.0), (20.0, 50.0))), features())
        with pytest.warns(PhotoGlueWarning, match=r"from \(-20, -5\) to \(1, 2\), .* those of another image"):
            match(features(((1.0, 2.0), (-20.0, -5.0))), features())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            match(features(((-0.5, -0.5), (60.5, 30.5))), features())


class TestOverlap:
    def test_unknown_unless_a_matcher_knows(self):
        from photoglue.matchers.nearest import NearestNeighbor

        (found,) = match(features(), features())
        assert NearestNeighbor().verdict is None
        assert NearestNeighbor().overlap_probability(found) is None

    def test_it_is_what_the_verdict_says(self):
        from dataclasses import replace

        from photoglue import LightGlue
        from photoglue.matchers.lightglue.verdict import VERDICTS

        (found,) = match(features(), features())
        found = replace(found, stop=9, n_layers=9)
        network = LightGlue()
        assert network.overlap_probability(found) is None  # random weights
        network.verdict = VERDICTS["aliked"]
        assert network.overlap_probability(found) == VERDICTS["aliked"](found) < 0.5
