import pytest
import torch

from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, LightGlueShape
from photoglue.structs import Features


@pytest.fixture
def small():
    return LightGlue(shape=LightGlueShape(input_dim=16, descriptor_dim=32, n_layers=3, num_heads=2))


def features(n, dim=16, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return Features(
        keypoints=torch.rand(n, 2, generator=rng) * torch.tensor([200.0, 100.0]),
        descriptors=torch.nn.functional.normalize(torch.randn(n, dim, generator=rng), dim=1),
        scores=torch.ones(n),
        image_size=(200, 100),
    )


def test_every_layer_has_heads_and_the_last_no_confidence(small):
    found = small.all_layers([(features(7), features(5, seed=1))])
    assert found.segments.lengths == (7, 5)
    assert [output.confidence is None for output in found.layers] == [False, False, True]
    assert found.layers[0].descriptors.shape == (12, 32)


def test_matching_reads_the_same_states(small):
    """The last layer of the training pass gives the matches that inference finds at full depth."""
    pair = (features(40), features(30, seed=1))
    small.config = LightGlueConfig.accurate(filter_threshold=0.0)
    matches = small.eval().match(*pair)
    last = small.all_layers([pair]).layers[-1]
    similarity = last.descriptors[:40] @ last.descriptors[40:].T
    z0, z1 = torch.nn.functional.logsigmoid(last.matchability).split([40, 30])
    log_probability = similarity.log_softmax(1) + similarity.log_softmax(0) + z0[:, None] + z1
    best = log_probability.argmax(1)
    mutual = log_probability.argmax(0)[best] == torch.arange(40)
    assert torch.equal(matches.matches0, torch.where(mutual, best, -1))
    torch.testing.assert_close(
        matches.matching_scores0[mutual], log_probability.amax(1).exp()[mutual].detach(), atol=1e-6, rtol=1e-4
    )


def test_a_batch_of_pairs_equals_each_alone(small):
    pairs = [(features(9), features(4, seed=1)), (features(4, seed=2), features(6, seed=3))]
    together = small.all_layers(pairs)
    alone = [small.all_layers([pair]) for pair in pairs]
    for number, output in enumerate(together.layers):
        rows = torch.cat([one.layers[number].descriptors for one in alone])
        torch.testing.assert_close(output.descriptors, rows, atol=1e-5, rtol=1e-5)


def test_checkpointing_changes_no_gradient(small):
    pair = (features(12), features(8, seed=1))
    gradients = []
    for checkpointed in (False, True):
        small.zero_grad()
        sum(
            output.descriptors.square().sum() for output in small.all_layers([pair], checkpointed=checkpointed).layers
        ).backward()
        gradients.append([p.grad.clone() for p in small.transformers.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


def test_confidence_teaches_only_its_own_head(small):
    found = small.all_layers([(features(6), features(6, seed=1))])
    found.layers[1].confidence.sum().backward()
    assert small.token_confidence[1].token[0].weight.grad.abs().sum() > 0
    assert small.input_proj.weight.grad is None


def test_under_autocast_positions_stay_exact(small):
    pair = (features(20), features(20, seed=1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = small.all_layers([pair])
    exact = small.all_layers([pair])
    assert half.layers[0].descriptors.dtype == torch.float32
    torch.testing.assert_close(half.layers[-1].descriptors, exact.layers[-1].descriptors, atol=0.05, rtol=0.05)
