"""DISK by way of the native kernels against the layers in torch."""

import pytest
import torch
from threads_agree import assert_threads_agree
from torch.nn import functional

from photoglue.extractors import disk_native
from photoglue.extractors.disk import DISK, DISKConfig
from photoglue.extractors.disk_layers import UNet
from photoglue.native import extract as native

pytestmark = pytest.mark.skipif(not native.has_kernels(), reason="the native library was not built")


@pytest.fixture(scope="module")
def network() -> DISK:
    torch.manual_seed(1)
    return DISK(DISKConfig(precision="float32")).eval().requires_grad_(False)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (50, 37), (1, 1), (17, 90)])
def test_logits_and_descriptors_equal_those_of_torch(network, height, width, monkeypatch):
    image = torch.rand(3, height, width)
    found = network._joined(image)
    assert found.native
    with monkeypatch.context() as patch:
        patch.setattr(native, "has_kernels", lambda: False)
        wanted = network._joined(image)
    for name in ("norm_below", "norm_beside"):
        for one, other in zip(getattr(found, name), getattr(wanted, name), strict=True):
            torch.testing.assert_close(one, other, atol=1e-2, rtol=2e-3)
    logits, plain = disk_native.logits(network.unet, found), UNet.logits(network.unet, wanted)
    torch.testing.assert_close(logits, plain, atol=2e-3, rtol=1e-2)
    pixels = torch.stack([torch.arange(40) % width, torch.arange(40) % height], dim=1)
    cosines = functional.cosine_similarity(network._describe(found, pixels), network._describe(wanted, pixels))
    assert (cosines > 0.9999).all()


def test_any_number_of_threads_and_a_second_photo_change_nothing(network):
    assert_threads_agree(network, torch.rand(3, 60, 80))
