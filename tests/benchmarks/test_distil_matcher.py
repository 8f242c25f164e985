"""Low-rank changes to a network, learned beside its teacher."""

import pytest
import safetensors.torch
import torch
from distil_matcher import Distillation, halves, opened, write

from photoglue import Features, LightGlue
from photoglue.matchers.lightglue import LightGlueShape
from photoglue.matchers.lightglue.adapted import adapted
from photoglue.training.losses import losses
from photoglue.training.pairs.base import HomographyPair

KIND = "aliked-t16"


def photo(count: int, seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return Features(
        keypoints=torch.rand(count, 2, generator=generator) * 100,
        descriptors=torch.randn(count, 64, generator=generator),
        scores=torch.ones(count),
        image_size=(100, 100),
        kind=KIND,
    )


def network(seed: int = 0) -> LightGlue:
    torch.manual_seed(seed)
    shape = LightGlueShape(input_dim=64, descriptor_dim=32, num_heads=2, n_layers=2, kinds=(KIND,))
    return LightGlue(shape=shape).eval()


@pytest.mark.slow
def test_what_was_learned_is_in_the_file(tmp_path):
    base, model, images = network(), network(), [(photo(9, 0), photo(7, 1))]
    opened(model, 4)
    before = base.all_layers(images).layers[-1].descriptors
    torch.testing.assert_close(model.all_layers(images).layers[-1].descriptors, before)  # nothing is learned yet
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_((parameter + 0.1 * torch.randn_like(parameter)).half())
    write(model, dict(model.named_parameters()), tmp_path / "changes.safetensors")
    again = network()
    again.load_state_dict(
        adapted(base.state_dict(), safetensors.torch.load_file(tmp_path / "changes.safetensors"), "x")
    )
    after = again.all_layers(images).layers[-1].descriptors
    torch.testing.assert_close(after, model.all_layers(images).layers[-1].descriptors, rtol=1e-3, atol=1e-4)
    assert (after - before).abs().max() > 0.01


def test_a_network_that_says_what_its_teacher_says_has_the_loss_of_labels_alone():
    teacher = network()
    twice = [photo(8, 0), photo(8, 1)]
    for number, each in enumerate(twice):
        twice[number] = Features(
            keypoints=each.keypoints,
            descriptors=torch.cat([each.descriptors, each.descriptors], dim=1),
            scores=each.scores,
            image_size=each.image_size,
            kind=KIND,
        )
    pair = HomographyPair(features0=twice[0], features1=twice[1], image1_from_image0=torch.eye(3, dtype=torch.float64))
    loss = Distillation(teacher)
    example = loss.prepare(pair, 0)
    with torch.no_grad():
        of_labels = losses(teacher.all_layers([halves(example, slice(64))]), [example.labels]).total
        assert float(loss(teacher, [example]).total) == pytest.approx(float(of_labels), abs=1e-5)
        other = network(1)
        of_labels = losses(other.all_layers([halves(example, slice(64))]), [example.labels]).total
        assert float(loss(other, [example]).total) > float(of_labels) + 0.1
