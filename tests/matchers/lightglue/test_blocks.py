"""The transformer layer treats the pairs of a pack, and the points of an image, as if they were alone."""

import torch

from photoglue.matchers.lightglue.blocks import TransformerLayer
from photoglue.matchers.lightglue.encoding import FourierEncoding
from photoglue.matchers.lightglue.packing import Segments


def layer_and_input(lengths):
    torch.manual_seed(0)
    total = sum(lengths)
    encoding = FourierEncoding(2, 16)(torch.rand(total, 2)).detach()
    return TransformerLayer(32, 2), torch.randn(total, 32), encoding


def test_pairs_do_not_see_each_other():
    layer, x, encoding = layer_and_input((3, 4, 6, 2))
    together = layer(x, encoding, Segments((3, 4, 6, 2)))
    alone = [layer(x[:7], encoding[:, :7], Segments((3, 4))), layer(x[7:], encoding[:, 7:], Segments((6, 2)))]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=1e-5)


def test_images_of_a_pair_do():
    layer, x, encoding = layer_and_input((3, 4))
    before = layer(x, encoding, Segments((3, 4)))
    x[5] += 1
    after = layer(x, encoding, Segments((3, 4)))
    assert ((before - after).abs().amax(dim=1) > 1e-6).all()


def test_swapped_images_swap_the_states():
    layer, x, encoding = layer_and_input((3, 4))
    swap = torch.tensor([3, 4, 5, 6, 0, 1, 2])
    swapped = layer(x[swap], encoding[:, swap], Segments((4, 3)))
    torch.testing.assert_close(swapped, layer(x, encoding, Segments((3, 4)))[swap], atol=1e-6, rtol=1e-5)
