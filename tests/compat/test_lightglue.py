"""Against the official class, on points that need no extractor."""

import copy
import importlib
import pickle
from types import SimpleNamespace

import pytest
import torch

from photoglue.errors import ConfigError, PhotoGlueWarning, ShapeError

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def ours():
    from photoglue.compat import lightglue

    return lightglue


@pytest.fixture(scope="module")
def theirs(official):
    return importlib.import_module(f"{official.__name__}.lightglue")


@pytest.fixture(scope="module")
def pair(motorcycle):
    """A photo and its right part, as the official dict."""
    from photoglue.compat import ALIKED, load_image

    extractor = ALIKED(max_num_keypoints=150).eval()
    image = load_image(motorcycle[0], resize=400)
    return {"image0": extractor.extract(image), "image1": extractor.extract(image[:, :, 90:])}


@pytest.fixture(scope="module")
def aliked(ours):
    return ours.LightGlue("aliked").eval()


@pytest.fixture
def matcher(aliked):
    return copy.deepcopy(aliked)


@pytest.fixture
def their_matcher(theirs):
    return theirs.LightGlue("aliked").eval()


def assert_same(found, expected):
    assert found["stop"] == expected["stop"]
    assert torch.equal(found["matches"][0], expected["matches"][0])
    for name in ("matches0", "matches1", "matching_scores0", "matching_scores1", "prune0", "prune1"):
        assert found[name].dtype == expected[name].dtype, name
        torch.testing.assert_close(found[name], expected[name], atol=1e-4, rtol=0, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"filter_threshold": 0.95},
        {"depth_confidence": -1, "width_confidence": -1},
        {"depth_confidence": 0.5},
        {"depth_confidence": -1, "width_confidence": 0.9},
        {"flash": False},
        {"width_confidence": 0},
    ],
    ids=str,
)
def test_conf_is_live(matcher, their_matcher, pair, change):
    with torch.no_grad():
        before = matcher(pair)
        for name, value in change.items():
            setattr(matcher.conf, name, value)
            setattr(their_matcher.conf, name, value)
        found, expected = matcher(pair), their_matcher(pair)
    assert_same(found, expected)
    if "flash" not in change and change != {"width_confidence": 0}:
        assert len(found["matches"][0]) != len(before["matches"][0]) or found["stop"] != before["stop"]
    for name, value in vars(type(matcher)).get("default_conf").items():
        if name in change:
            setattr(matcher.conf, name, value)
    assert torch.equal(matcher(pair)["matching_scores0"], before["matching_scores0"])


@pytest.mark.slow
def test_conf_like_theirs(matcher, their_matcher):
    assert vars(matcher.conf) == vars(their_matcher.conf)
    assert matcher.default_conf == their_matcher.default_conf
    for name in ("version", "required_data_keys", "static_lengths", "pruning_keypoint_thresholds"):
        assert getattr(matcher, name) == getattr(their_matcher, name), name
    assert matcher.features.items() <= their_matcher.features.items()
    assert matcher.pruning_min_kpts(torch.device("cpu")) == their_matcher.pruning_min_kpts(torch.device("cpu"))
    assert matcher.confidence_threshold(3) == pytest.approx(their_matcher.confidence_threshold(3))


@pytest.mark.slow
def test_its_own_conf_makes_another(ours, matcher):
    assert vars(ours.LightGlue("aliked", **vars(matcher.conf)).conf) == vars(matcher.conf)


@pytest.mark.slow
def test_a_whole_new_conf(matcher, pair):
    matcher.conf = SimpleNamespace(filter_threshold=0.99)
    assert len(matcher(pair)["matches"][0]) < 100
    matcher.conf = {**vars(matcher.conf), "filter_threshold": 0.0}
    assert len(matcher(pair)["matches"][0]) > 80


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("filter_threshold", 1.5, r"filter_threshold is 1\.5; it must be in \[0, 1\)"),
        ("filter_threshold", None, "filter_threshold is None; it must be a number"),
        ("depth_confidence", "high", "depth_confidence is 'high'; it must be a number"),
        ("width_confidence", 3, r"width_confidence is 3.*; it must be in \(0, 1\]"),
        ("filter_treshold", 0.5, r"LightGlue has no option 'filter_treshold'\. Did you mean 'filter_threshold'"),
        ("n_layers", 5, r"n_layers was set to 5, but this LightGlue was built with 9.*LightGlue\(…, n_layers=5\)"),
        ("input_dim", 256, "input_dim was set to 256"),
        ("weights", "mine.pth", "weights was set to 'mine.pth'"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_next_call(matcher, pair, name, value, message):
    setattr(matcher.conf, name, value)
    with pytest.raises(ConfigError, match=message):
        matcher(pair)


@pytest.mark.slow
def test_mixed_precision_is_live(matcher, pair):
    matcher.conf.mp = True
    fast = matcher(pair)
    assert matcher.net.precision == "auto"
    matcher.conf.mp = False
    exact = matcher(pair)
    assert matcher.net.precision == "float32"
    assert abs(len(fast["matches"][0]) - len(exact["matches"][0])) < 10


@pytest.mark.slow
def test_pruning_thresholds_are_live(matcher, their_matcher, pair):
    for one in (matcher, their_matcher):
        one.pruning_keypoint_thresholds = {**one.pruning_keypoint_thresholds, "cpu": 10_000}
        one.conf.depth_confidence = -1
    with torch.no_grad():
        assert_same(matcher(pair), their_matcher(pair))
    assert (matcher(pair)["prune0"] == 1).all()


def test_compile_changes_nothing(matcher, pair):
    before = matcher(pair)
    matcher.compile(mode="reduce-overhead", static_lengths=[256, 512])
    assert matcher.static_lengths == [256, 512]
    assert torch.equal(matcher(pair)["matches0"], before["matches0"])


class TestMessages:
    """They speak of the user's pixels, not of an inner frame."""

    def test_outside(self, matcher, pair):
        width, height = (int(side) for side in pair["image0"]["image_size"][0])
        swapped = {**pair["image0"], "image_size": torch.tensor([[height, width]])}
        message = (
            rf"image of {height} × {width} pixels\. All fit into {width} × {height}: were width and height swapped"
        )
        with pytest.warns(PhotoGlueWarning, match=message) as warned:
            matcher({"image0": swapped, "image1": pair["image1"]})
        points = pair["image0"]["keypoints"][0]
        assert f"to ({points[:, 0].max():.0f}, {points[:, 1].max():.0f})" in str(warned[0].message)

    @pytest.mark.slow
    def test_sizes_that_are_no_whole_numbers(self, matcher, their_matcher, pair):
        data = {name: {**image, "image_size": image["image_size"] - 0.37} for name, image in pair.items()}
        with torch.no_grad():
            assert_same(matcher(data), their_matcher(data))

    @pytest.mark.parametrize("size", [(0.0, 10.0), (float("nan"), 10.0), (10.0, float("inf")), (-3.0, 4.0)])
    def test_no_size(self, matcher, pair, size):
        data = {**pair, "image1": {**pair["image1"], "image_size": torch.tensor([size])}}
        with pytest.raises(ShapeError, match=r"image1\['image_size'\] is .*; it must be \(width, height\) in pixels"):
            matcher(data)

    def test_descriptors_of_hloc(self, matcher, pair):
        image = {**pair["image0"], "descriptors": pair["image0"]["descriptors"].transpose(1, 2)}
        with pytest.raises(ShapeError, match=r"d × n, as hloc stores them\? Pass descriptors\.transpose\(-1, -2\)"):
            matcher({**pair, "image0": image})

    def test_empty_batch(self, matcher, pair):
        nothing = {name: value[:0] for name, value in pair["image0"].items()}
        with pytest.raises(ShapeError, match="with b at least 1"):
            matcher({"image0": nothing, "image1": nothing})


@pytest.mark.slow
def test_arrays_and_doubles(matcher, pair):
    expected = matcher(pair)
    for convert in (lambda x: x.numpy(), lambda x: x.double()):
        data = {key: {name: convert(value) for name, value in image.items()} for key, image in pair.items()}
        torch.testing.assert_close(matcher(data)["matching_scores0"], expected["matching_scores0"], atol=1e-5, rtol=0)


class TestWeights:
    def test_names(self, matcher, their_matcher):
        ours, official = matcher.state_dict(), their_matcher.state_dict()
        assert set(official) - set(ours) == {"confidence_thresholds"}
        assert set(ours) <= set(official)

    @pytest.mark.slow
    def test_official_state(self, ours, their_matcher, matcher, pair):
        """Official names, old ones too, go into a matcher that was made without weights."""
        state = their_matcher.state_dict()
        old = {
            name.replace("transformers.0.self_attn", "self_attn.0").replace(
                "transformers.0.cross_attn", "cross_attn.0"
            ): x
            for name, x in state.items()
        }
        assert old.keys() != state.keys()
        expected = matcher(pair)
        for some in (state, old, matcher.state_dict()):
            own = ours.LightGlue(None, input_dim=128).eval()
            own(pair)
            own.load_state_dict(some)
            torch.testing.assert_close(own(pair)["matching_scores0"], expected["matching_scores0"], atol=1e-5, rtol=0)

    @pytest.mark.slow
    def test_a_file(self, ours, their_matcher, matcher, pair, tmp_path):
        path = tmp_path / "mine.pth"
        torch.save(their_matcher.state_dict(), path)
        own = ours.LightGlue(features=None, weights=path, input_dim=128)
        assert own.conf.weights == path
        assert torch.equal(own(pair)["matches0"], matcher(pair)["matches0"])

    def test_refused(self, ours):
        with pytest.raises(
            ConfigError, match=r"weights is 'mine.pth', but features='aliked' .* LightGlue\(features=None"
        ):
            ours.LightGlue("aliked", weights="mine.pth")
        with pytest.raises(ConfigError, match=r"descriptor_dim is 128; the weights have 256\. Leave it out"):
            ours.LightGlue("aliked", descriptor_dim=128)

    @pytest.mark.slow
    def test_fewer_layers(self, ours, theirs, pair):
        conf = {"n_layers": 4, "depth_confidence": -1}
        with torch.no_grad():
            expected = theirs.LightGlue("aliked", **conf).eval()(pair)
        found = ours.LightGlue("aliked", **conf)(pair)
        assert found["stop"] == 4
        assert_same(found, expected)

    def test_custom_features(self, ours, theirs):
        conf = {"input_dim": 64, "descriptor_dim": 96, "num_heads": 3, "n_layers": 2, "add_scale_ori": True}
        matcher, official = ours.LightGlue(None, **conf).eval(), theirs.LightGlue(None, **conf).eval()
        assert vars(matcher.conf) == vars(official.conf)
        matcher.load_state_dict(official.state_dict())
        image = {
            "keypoints": torch.rand(1, 30, 2) * 300,
            "descriptors": torch.randn(1, 30, 64),
            "image_size": torch.tensor([[301, 340]]),
            "scales": torch.rand(1, 30) * 9,
            "oris": torch.rand(1, 30),
        }
        with torch.no_grad():
            found, expected = (one({"image0": image, "image1": image}) for one in (matcher, official))
        torch.testing.assert_close(found["matching_scores0"], expected["matching_scores0"], atol=1e-5, rtol=0)


@pytest.mark.slow
def test_copies(matcher, pair):
    matcher.conf.filter_threshold = 0.5
    expected = matcher(pair)["matches0"]
    for other in (copy.deepcopy(matcher), pickle.loads(pickle.dumps(matcher))):
        assert torch.equal(other(pair)["matches0"], expected)
        other.load_state_dict(matcher.state_dict())


@pytest.mark.parametrize("size", [None, (640.0, 427.0), torch.tensor([[640.0, 427.0]])], ids=["guessed", "one", "each"])
def test_normalize_keypoints(ours, theirs, size):
    points = torch.rand(1, 20, 2) * 400
    assert torch.equal(ours.normalize_keypoints(points, size), theirs.normalize_keypoints(points, size))


def test_sift_means_the_official_file_or_says_what_else_there_is(ours, monkeypatch, tmp_path):
    """The official file is on no package index, so that a machine without network has none."""
    from photoglue.errors import WeightsError

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setenv("PHOTOGLUE_CACHE", str(tmp_path))
    monkeypatch.setattr("pooch.retrieve", offline)
    with pytest.raises(WeightsError, match=r"sift-official-lightglue.*download.*features=\"sift-photoglue\""):
        ours.LightGlue("sift")
    assert ours.LightGlue("sift-photoglue").net.shape.add_scale_ori
