import re

import pytest
import torch


@pytest.fixture
def checkpoint_of(tmp_path):
    """A small random network's tensors, and a way to write them in any naming."""
    from photoglue.matchers.lightglue import LightGlue, LightGlueShape

    net = LightGlue(shape=LightGlueShape(input_dim=64, descriptor_dim=32, n_layers=3, num_heads=2)).eval()

    def write(rename=lambda name: name, wrap=lambda state: state, extra=None, drop=()):
        state = {rename(name): tensor for name, tensor in net.state_dict().items() if name not in drop}
        path = tmp_path / "checkpoint.pth"
        torch.save(wrap({**state, **(extra or {})}), path)
        return path

    return net, write


def old_name(name):
    return re.sub(r"^transformers\.(\d+)\.(self_attn|cross_attn)\.", r"\2.\1.", name)


def check_same_tensors(a, b):
    assert a.state_dict().keys() == b.state_dict().keys()
    assert all(torch.equal(tensor, b.state_dict()[name]) for name, tensor in a.state_dict().items())


@pytest.mark.weights
@pytest.mark.parametrize(("name", "parameters"), [("aliked", 11_884_625), ("disk", 11_884_625)])
def test_official_models(official, name, parameters):
    """Both namings (aliked: new, disk: old), every tensor, without network."""
    from photoglue.matchers.lightglue import LightGlue

    net = LightGlue.pretrained(name)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    theirs = official.LightGlue(name).state_dict()
    for tensor_name, tensor in net.state_dict().items():
        assert torch.equal(tensor, theirs[tensor_name]), tensor_name


def test_constructor_is_random_and_offline(monkeypatch, tmp_path):
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig

    monkeypatch.setenv("PHOTOGLUE_CACHE", str(tmp_path))
    a, b = LightGlue(LightGlueConfig(n_layers=1)), LightGlue(LightGlueConfig(n_layers=1))
    assert not torch.equal(a.posenc.Wr.weight, b.posenc.Wr.weight)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rename", [lambda name: name, old_name, lambda name: f"module._orig_mod.{name}"])
def test_namings(checkpoint_of, rename):
    from photoglue.matchers.lightglue import LightGlue

    net, write = checkpoint_of
    loaded = LightGlue.from_checkpoint(write(rename))
    check_same_tensors(net, loaded)
    assert (loaded.shape.n_layers, loaded.shape.num_heads, loaded.shape.descriptor_dim) == (3, 2, 32)
    assert loaded.shape.input_dim == 64


def test_glue_factory(checkpoint_of):
    from photoglue.matchers.lightglue import LightGlue

    net, write = checkpoint_of
    path = write(
        lambda name: f"matcher.{name}",
        wrap=lambda state: {"model": state, "epoch": 3, "conf": {"lr": 1e-4}},
        extra={"extractor.conv.weight": torch.zeros(3)},
    )
    check_same_tensors(net, LightGlue.from_checkpoint(path))


def test_more_layers_than_usual_are_all_used(tmp_path):
    """A config that says nothing of layers must not cut them off."""
    from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, LightGlueShape

    LightGlue(shape=LightGlueShape(descriptor_dim=32, n_layers=11, num_heads=2)).save(tmp_path / "deep.safetensors")
    loaded = LightGlue.from_checkpoint(tmp_path / "deep.safetensors", LightGlueConfig(filter_threshold=0.2))
    assert (loaded.shape.n_layers, loaded.config.filter_threshold) == (11, 0.2)
    assert LightGlue.from_checkpoint(tmp_path / "deep.safetensors", LightGlueConfig(n_layers=4)).shape.n_layers == 4


@pytest.mark.slow
def test_eleven_layers_in_the_old_naming(tmp_path):
    """The official rename by substring confuses layers 1 and 10."""
    from photoglue.matchers.lightglue import LightGlue, LightGlueShape

    net = LightGlue(shape=LightGlueShape(descriptor_dim=32, n_layers=11, num_heads=2))
    torch.save({old_name(name): tensor for name, tensor in net.state_dict().items()}, tmp_path / "eleven.pth")
    check_same_tensors(net, LightGlue.from_checkpoint(tmp_path / "eleven.pth"))


def test_leftovers_of_official_files_are_known(checkpoint_of):
    from photoglue.matchers.lightglue import LightGlue

    net, write = checkpoint_of
    extra = {"log_assignment.0.r": torch.ones(1), "confidence_thresholds": torch.ones(3)}
    check_same_tensors(net, LightGlue.from_checkpoint(write(old_name, extra=extra)))


def test_missing_unexpected_and_misshapen_tensors_are_named(checkpoint_of):
    from photoglue.errors import WeightsError
    from photoglue.matchers.lightglue import LightGlue

    _, write = checkpoint_of
    path = write(
        drop=["transformers.1.cross_attn.to_v.bias", "token_confidence.0.token.0.weight"],
        extra={"surprise.weight": torch.zeros(2), "log_assignment.2.final_proj.bias": torch.zeros(7)},
    )
    with pytest.raises(WeightsError) as caught:
        LightGlue.from_checkpoint(path)
    message = str(caught.value)
    assert "2 missing: transformers.1.cross_attn.to_v.bias, token_confidence.0.token.0.weight" in message
    assert "1 unexpected: surprise.weight" in message
    assert "log_assignment.2.final_proj.bias is (7,), wanted (32,)" in message


def test_not_a_lightglue(tmp_path):
    from photoglue.errors import WeightsError
    from photoglue.matchers.lightglue import LightGlue

    torch.save({"conv1a.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"holds no LightGlue: it has conv1a\.weight"):
        LightGlue.from_checkpoint(tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        LightGlue.from_checkpoint(tmp_path / "text.pth")
    with pytest.raises(WeightsError, match="There is no weight file"):
        LightGlue.from_checkpoint(tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        (5, torch.zeros(3)),
        ("posenc.Wr.weight", torch.zeros(0, 2)),
        ("posenc.Wr.weight", torch.zeros(3)),
        ("posenc.Wr.weight", torch.zeros(32, 2)),
        ("transformers.0.self_attn.out_proj.weight", torch.tensor(1.0)),
        ("input_proj.weight", torch.zeros(3)),
    ],
)
def test_names_and_shapes_that_are_none(tmp_path, name, tensor):
    from photoglue.errors import WeightsError
    from photoglue.matchers.lightglue import LightGlue, LightGlueShape

    shape = LightGlueShape(input_dim=128, descriptor_dim=32, n_layers=1, num_heads=2)
    torch.save({**LightGlue(shape=shape).state_dict(), name: tensor}, tmp_path / "own.pth")
    with pytest.raises(WeightsError, match="LightGlue"):
        LightGlue.from_checkpoint(tmp_path / "own.pth")


@pytest.mark.parametrize(
    "options",
    [{"depth_confidence": {}}, {"filter_threshold": "x"}, {"kinds": [1.5]}, {"n_layers": "9"}, {"input_dim": None}, []],
)
def test_stored_options_of_other_types(tmp_path, options):
    import json

    import safetensors.torch

    from photoglue.errors import WeightsError
    from photoglue.matchers.lightglue import LightGlue, LightGlueShape

    net = LightGlue(shape=LightGlueShape(input_dim=128, descriptor_dim=32, n_layers=1, num_heads=2))
    metadata = {"config": json.dumps(options)}
    safetensors.torch.save_file(net.state_dict(), tmp_path / "own.safetensors", metadata)
    if options == []:
        assert LightGlue.from_checkpoint(tmp_path / "own.safetensors").config == net.config
        return
    with pytest.raises(WeightsError, match="options stored with the weights"):
        LightGlue.from_checkpoint(tmp_path / "own.safetensors")


def test_pickles_that_run_code_are_refused(tmp_path):
    from photoglue.errors import WeightsError
    from photoglue.matchers.lightglue import LightGlue

    class Evil:
        def __reduce__(self):
            return (print, ("this ran",))

    torch.save({"transformers.0.x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="hold more than tensors"):
        LightGlue.from_checkpoint(tmp_path / "evil.pth")


def test_saved_and_loaded_is_the_same(checkpoint_of, tmp_path):
    from dataclasses import replace

    from photoglue.matchers.lightglue import LightGlue

    net, _ = checkpoint_of
    net.config, net.shape = replace(net.config, filter_threshold=0.25), replace(net.shape, kinds=("mine",))
    net.save(tmp_path / "mine.safetensors")
    loaded = LightGlue.from_checkpoint(tmp_path / "mine.safetensors")
    check_same_tensors(net, loaded)
    assert (loaded.config, loaded.shape) == (net.config, net.shape)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]


class TestVerdict:
    @pytest.fixture
    def verdict(self):
        from photoglue.matchers.lightglue.verdict import PairVerdict, ScoreCalibration

        calibration = ScoreCalibration(slope=1 / 3, offset=0.1)
        return PairVerdict(calibration=calibration, offset=-1 / 7, evidence=5.1, failures=0.2)

    @pytest.fixture
    def saved(self, checkpoint_of, tmp_path, verdict):
        """Weights with a verdict."""
        checkpoint_of[0].verdict = verdict
        checkpoint_of[0].save(tmp_path / "mine.safetensors")
        return tmp_path / "mine.safetensors"

    def test_it_is_stored_with_the_weights_exactly(self, checkpoint_of, saved, verdict, tmp_path):
        from photoglue.matchers.lightglue import LightGlue, LightGlueConfig

        loaded = LightGlue.from_checkpoint(saved)
        assert loaded.verdict == verdict
        check_same_tensors(checkpoint_of[0], loaded)
        assert LightGlue.from_checkpoint(saved, LightGlueConfig.accurate()).verdict == verdict
        loaded.save(tmp_path / "again.safetensors")
        assert LightGlue.from_checkpoint(tmp_path / "again.safetensors").verdict == verdict

    def test_other_weights_have_none(self, checkpoint_of, saved):
        from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
        from photoglue.matchers.nearest import NearestNeighbor

        net, write = checkpoint_of
        assert LightGlue.from_checkpoint(write()).verdict is None
        assert LightGlue(shape=net.shape).verdict is None
        assert NearestNeighbor().verdict is None
        assert LightGlue.from_checkpoint(saved, LightGlueConfig(n_layers=2)).verdict is None  # other scores
        loaded = LightGlue.from_checkpoint(saved)
        loaded.load_state_dict(LightGlue(shape=loaded.shape).state_dict())
        assert loaded.verdict is None

    def test_it_does_not_survive_training(self, saved, verdict):
        from photoglue.matchers.lightglue import LightGlue

        loaded = LightGlue.from_checkpoint(saved)
        assert loaded.eval().verdict == verdict
        assert loaded.train().eval().verdict is None

    @pytest.mark.slow
    @pytest.mark.weights
    def test_released_models_have_that_of_the_table(self):
        from photoglue.matchers.lightglue import LightGlue
        from photoglue.matchers.lightglue.verdict import VERDICTS

        for features, model in (("aliked-n16rot", "aliked"), ("disk", "disk"), ("sift-opencv", "sift-photoglue")):
            assert LightGlue.pretrained(features).verdict is VERDICTS.get(model)
        assert LightGlue.pretrained("aliked").verdict is not None

    @pytest.mark.parametrize("text", ["", "{", '{"temperature": 2.0}'])
    def test_a_foreign_one_is_left_out_with_a_notice(self, checkpoint_of, tmp_path, text):
        import safetensors.torch

        from photoglue.errors import PhotoGlueWarning
        from photoglue.matchers.lightglue import LightGlue

        net = checkpoint_of[0]
        safetensors.torch.save_file(net.state_dict(), tmp_path / "odd.safetensors", {"verdict": text})
        with pytest.warns(
            PhotoGlueWarning, match=r"odd\.safetensors' are used without the calibration .* holds no PairVerdict"
        ):
            loaded = LightGlue.from_checkpoint(tmp_path / "odd.safetensors")
        assert loaded.verdict is None
        check_same_tensors(net, loaded)


@pytest.mark.parametrize("text", ["{", "[1, 2]", "null"])
def test_damaged_options_are_told_of(checkpoint_of, tmp_path, text):
    import safetensors.torch

    from photoglue.errors import WeightsError
    from photoglue.matchers.lightglue import LightGlue

    safetensors.torch.save_file(checkpoint_of[0].state_dict(), tmp_path / "odd.safetensors", {"config": text})
    with pytest.raises(WeightsError, match=r"options stored .* cannot be read: .*odd\.safetensors' holds no"):
        LightGlue.from_checkpoint(tmp_path / "odd.safetensors")


def test_half_precision_files_load(checkpoint_of, tmp_path):
    import safetensors.torch

    from photoglue.matchers.lightglue import LightGlue

    net, _ = checkpoint_of
    safetensors.torch.save_file({k: v.half() for k, v in net.state_dict().items()}, tmp_path / "half.safetensors")
    loaded = LightGlue.from_checkpoint(tmp_path / "half.safetensors")
    assert loaded.posenc.Wr.weight.dtype == torch.float32
    torch.testing.assert_close(loaded.posenc.Wr.weight, net.posenc.Wr.weight, atol=2e-3, rtol=0)


def test_unwritable(checkpoint_of, tmp_path):
    from photoglue.errors import OutputError

    with pytest.raises(OutputError, match="cannot be written"):
        checkpoint_of[0].save(tmp_path / "absent" / "mine.safetensors")


class TestConfig:
    def test_the_weights_decide_the_shape(self, checkpoint_of):
        from photoglue.errors import ConfigError
        from photoglue.matchers.lightglue import LightGlue, LightGlueConfig

        _, write = checkpoint_of
        path = write()
        assert LightGlue.from_checkpoint(path, LightGlueConfig.accurate()).shape.n_layers == 3
        assert LightGlue.from_checkpoint(path, LightGlueConfig(n_layers=2)).shape.n_layers == 2
        with pytest.raises(ConfigError, match="n_layers is 5; the network has 3 layers"):
            LightGlue.from_checkpoint(path, LightGlueConfig(n_layers=5))
        with pytest.raises(ConfigError, match="n_layers is 9; the network has 3 layers"):
            LightGlue.from_checkpoint(path, LightGlueConfig(n_layers=9))

    def test_unknown_features(self):
        from photoglue.errors import ConfigError
        from photoglue.matchers.lightglue import LightGlue

        with pytest.raises(ConfigError, match=r"no released LightGlue for 'orb-opencv'\. There are: aliked, disk"):
            LightGlue.pretrained("orb-opencv")


def test_saved_weights_may_be_read_by_others(tmp_path):
    """As any file that is written here: what the umask says."""
    import os

    from photoglue.matchers.lightglue import LightGlue, LightGlueShape

    before = os.umask(0o022)
    try:
        LightGlue(shape=LightGlueShape(descriptor_dim=32, input_dim=16, n_layers=1, num_heads=2)).save(
            tmp_path / "w.safetensors"
        )
    finally:
        os.umask(before)
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o777 == 0o644
