"""The network is the official one: the same matches, scores, exit layers and pruning on real features."""

import functools

import pytest
import torch

pytestmark = pytest.mark.slow

OFF = {"depth_confidence": -1, "width_confidence": -1}
MODES = {"full": OFF, "adaptive": {}, "exit only": {"width_confidence": -1}, "prune only": {"depth_confidence": -1}}


@functools.cache
def official_model(official, features, mode):
    return official.LightGlue(features, **MODES[mode]).eval()


@functools.cache
def our_model(features, mode, precision=None):
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig

    return LightGlue.pretrained(features, LightGlueConfig(**dict.fromkeys(MODES[mode])), precision=precision)


def as_official(features):
    return {
        "keypoints": features.keypoints[None],
        "descriptors": features.descriptors[None],
        "image_size": torch.tensor([features.image_size], dtype=torch.float32),
    }


def run_official(official, name, mode, features0, features1):
    with torch.no_grad():
        return official_model(official, name, mode)(
            {"image0": as_official(features0), "image1": as_official(features1)}
        )


def check_same(theirs, ours, mode):
    assert torch.equal(theirs["matches0"][0], ours.matches0)
    assert torch.equal(theirs["matches1"][0], ours.matches1)
    assert torch.equal(theirs["matches"][0], ours.indices)
    torch.testing.assert_close(theirs["matching_scores0"][0], ours.matching_scores0, atol=1e-4, rtol=0)
    torch.testing.assert_close(theirs["matching_scores1"][0], ours.matching_scores1, atol=1e-4, rtol=0)
    assert theirs["stop"] == ours.stop
    assert torch.equal(theirs["prune0"][0].long(), ours.prune0)
    assert torch.equal(theirs["prune1"][0].long(), ours.prune1)
    assert ours.n_layers == 9


@pytest.mark.weights
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [1, 17, 512])
@pytest.mark.parametrize("name", ["aliked", "disk"])
def test_demo_pair(official, photos, motorcycle, name, count, mode):
    pair = [photos(name, path, count=count) for path in motorcycle]
    check_same(run_official(official, name, mode, *pair), our_model(name, mode).match(*pair), mode)


@pytest.mark.weights
@pytest.mark.data
@pytest.mark.parametrize(("mode", "count"), [("full", 1024), ("adaptive", 2048)])
@pytest.mark.parametrize("name", ["aliked", "disk"])
def test_many_points(official, photos, strecha, name, mode, count):
    precision = {"aliked": None, "disk": "float32"}[name]
    pair = [photos(name, path, "half", count) for path in strecha]
    assert [len(features) for features in pair] == [count, count]
    ours = our_model(name, mode, precision).match(*pair)
    check_same(run_official(official, name, mode, *pair), ours, mode)
    assert len(ours) > 300


@pytest.mark.weights
@pytest.mark.data
@pytest.mark.parametrize("mode", ["full", "adaptive"])
@pytest.mark.parametrize("crops", [("square", "whole"), ("3:1", "3:1"), ("portrait", "3:1"), ("portrait", "portrait")])
def test_shapes(official, photos, reichstag, crops, mode):
    pair = [photos("aliked", path, crop, 512) for path, crop in zip(reichstag, crops, strict=True)]
    check_same(run_official(official, "aliked", mode, *pair), our_model("aliked", mode).match(*pair), mode)


@pytest.mark.weights
@pytest.mark.data
@pytest.mark.parametrize("mode", ["full", "adaptive"])
def test_two_places(official, photos, strecha, reichstag, mode):
    """Photos of different places: late exit, much pruning, few matches."""
    pair = [photos("aliked", strecha[0], "half", 700), photos("aliked", reichstag[0], count=512)]
    ours = our_model("aliked", mode).match(*pair)
    check_same(run_official(official, "aliked", mode, *pair), ours, mode)
    assert len(ours) < 40


@pytest.mark.weights
def test_fewer_layers(official, photos, motorcycle):
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig

    pair = [photos("aliked", path, count=300) for path in motorcycle]
    theirs = official.LightGlue("aliked", n_layers=5).eval()
    with torch.no_grad():
        expected = theirs({"image0": as_official(pair[0]), "image1": as_official(pair[1])})
    ours = LightGlue.pretrained("aliked", LightGlueConfig(n_layers=5), precision=None).match(*pair)
    assert torch.equal(expected["matches0"][0], ours.matches0)
    assert expected["stop"] == ours.stop


@pytest.mark.weights
def test_scale_and_orientation(official, photos, motorcycle):
    """No released SIFT weights are at hand: random ones, shared. Scales are officially raw pixels at 1024."""
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, LightGlueShape
    from photoglue.structs import Features

    theirs = official.LightGlue(None, input_dim=128, add_scale_ori=True, **OFF).eval()
    shape = LightGlueShape(input_dim=128, add_scale_ori=True)
    ours = LightGlue(LightGlueConfig.accurate(filter_threshold=0.0), shape=shape).eval()
    theirs.conf.filter_threshold = 0.0
    state = {name: tensor for name, tensor in theirs.state_dict().items() if name != "confidence_thresholds"}
    ours.load_state_dict(state)
    pair, data = [], {}
    for i, path in enumerate(motorcycle):
        features = photos("aliked", path, count=200)
        scales, orientations = torch.rand(200) * 3, torch.rand(200) * 6 - 3
        unit = max(features.image_size) / 1024
        data[f"image{i}"] = as_official(features) | {"scales": scales[None], "oris": orientations[None]}
        pair.append(
            Features(
                keypoints=features.keypoints,
                descriptors=features.descriptors,
                scores=features.scores,
                image_size=features.image_size,
                scales=scales * unit,
                orientations=orientations,
            )
        )
    with torch.no_grad():
        expected = theirs(data)
    matches = ours.match(*pair)
    torch.testing.assert_close(expected["matching_scores0"][0], matches.matching_scores0, atol=1e-5, rtol=0)
    same = (expected["matches0"][0] == matches.matches0).float().mean()
    assert same > 0.98  # random weights: rows without a clear maximum may fall either way


class TestWhereTheOfficialCodeMisbehaves:
    """What happens there, and the sensible answer here."""

    @pytest.mark.weights
    @pytest.mark.parametrize("counts", [(0, 100), (100, 0), (0, 0)])
    def test_zero_keypoints_change_its_types(self, official, photos, motorcycle, counts):
        pair = [photos("aliked", path, count=n) for path, n in zip(motorcycle, counts, strict=True)]
        theirs = run_official(official, "aliked", "adaptive", *pair)
        assert isinstance(theirs["matches"], torch.Tensor)  # a list for every other input
        ours = our_model("aliked", "adaptive").match(*pair)
        assert ours.indices.shape == (0, 2)
        assert ours.scores.shape == (0,)
        assert ours.stop == theirs["stop"] == 1
        assert torch.equal(ours.prune0, theirs["prune0"][0])
        assert torch.equal(ours.matches0, theirs["matches0"][0])
        assert torch.equal(ours.matches1, theirs["matches1"][0])

    @pytest.mark.weights
    def test_batches_cannot_be_pruned(self, official, photos, motorcycle):
        pair = [photos("aliked", path, count=64) for path in motorcycle]
        batch = {
            f"image{i}": {key: value.expand(2, *value.shape[1:]) for key, value in as_official(features).items()}
            for i, features in enumerate(pair)
        }
        with pytest.raises(IndexError), torch.no_grad():
            official_model(official, "aliked", "adaptive")(batch)
        alone = our_model("aliked", "adaptive").match(*pair)
        for matches in our_model("aliked", "adaptive").match_many([tuple(pair), tuple(pair)]):
            assert torch.equal(matches.matches0, alone.matches0)
            assert matches.stop == alone.stop

    @pytest.mark.weights
    def test_a_batch_exits_as_one(self, official, photos, motorcycle):
        """Pairs that stop early alone run on together there; here each stops where it would alone."""
        pair = [photos("aliked", path, count=256) for path in motorcycle]
        model = our_model("aliked", "exit only")
        alone = model.match(*pair).stop
        assert [matches.stop for matches in model.match_many([tuple(pair)] * 4)] == [alone] * 4
        four = [{k: v.expand(4, *v.shape[1:]) for k, v in as_official(features).items()} for features in pair]
        with torch.no_grad():
            theirs = official_model(official, "aliked", "exit only")({"image0": four[0], "image1": four[1]})
        assert theirs["stop"] > alone
