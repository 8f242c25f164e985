"""A small network fitted to a larger one."""

import torch
from shrink_matcher import explained, shrunk

from photoglue import Features, LightGlue
from photoglue.matchers.lightglue import LightGlueShape


def photo(count: int, seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return Features(
        keypoints=torch.rand(count, 2, generator=generator) * 100,
        descriptors=torch.randn(count, 6, generator=generator),
        scores=torch.ones(count),
        image_size=(100, 100),
        kind="six",
    )


def wide() -> LightGlue:
    torch.manual_seed(3)
    return LightGlue(
        shape=LightGlueShape(input_dim=6, descriptor_dim=32, n_layers=2, num_heads=4, kinds=("six",))
    ).eval()


PAIRS = [(photo(60 + i, 2 * i), photo(50, 2 * i + 1)) for i in range(4)]


def test_a_network_of_the_same_shape_computes_nearly_the_same():
    net = wide()
    found, shares = shrunk(net, PAIRS, net.shape)
    assert min(shares) > 0.99
    new = [(photo(40, 100), photo(40, 101))]
    with torch.no_grad():
        for one, other in zip(found.all_layers(new).layers, net.all_layers(new).layers, strict=True):
            similarity, wanted = (d[:40] @ d[40:].T for d in (one.descriptors, other.descriptors))
            assert explained(similarity, wanted) > 0.95
            assert explained(one.matchability, other.matchability) > 0.95


def test_a_narrower_and_shorter_one_comes_close():
    shape = LightGlueShape(input_dim=6, descriptor_dim=16, n_layers=1, num_heads=2, kinds=("six",))
    found, shares = shrunk(wide(), PAIRS, shape)
    assert found.shape == shape
    assert len(shares) == 2
    assert 0.8 < min(shares) <= max(shares) <= 1
    assert found.match(*PAIRS[0]).matches0.shape == (60,)
