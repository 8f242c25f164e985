"""The plain network of padded batches against the packed one; no ONNX here."""

import pytest
import torch
from exported_files import small_lightglue

from photoglue.export.cases import made_up, plain_reference
from photoglue.export.graph import PlainMatcher
from photoglue.matchers.onnx import NAMES, graph_inputs


def plain_of(model, features0, features1, extra=(0, 0)):
    """The plain network's answer, with so many padded points of noise in each image."""
    arrays = {}
    for i, features in enumerate((features0, features1)):
        for name, array in graph_inputs(features, i).items():
            tensor = torch.from_numpy(array)
            if name.startswith("mask"):
                tensor = torch.cat([tensor, torch.zeros(1, extra[i], dtype=torch.bool)], dim=1)
            elif not name.startswith("image_size"):
                noise = 100 * torch.randn(1, extra[i], *tensor.shape[2:])
                tensor = torch.cat([tensor, noise], dim=1)
            arrays[name] = tensor
    if not model.shape.add_scale_ori:
        arrays = {name: tensor for name, tensor in arrays.items() if not name.startswith(("scales", "oris"))}
    return dict(zip(NAMES, PlainMatcher(model)(**arrays), strict=True))


@pytest.mark.parametrize("scales", [True, False])
@pytest.mark.parametrize("sizes", [(30, 40), (1, 1), (1, 5), (2, 2), (0, 3), (4, 0), (0, 0)])
def test_is_the_packed_network(sizes, scales):
    model = small_lightglue(scales=scales)
    pair = made_up(model, *sizes)
    expected = plain_reference(model).match(*pair)
    found = plain_of(model, *pair)
    for name, field in NAMES.items():
        assert torch.allclose(found[name][0], getattr(expected, field), atol=1e-5, rtol=0), name
    assert sizes != (30, 40) or len(expected) > 3


def test_padding_is_not_seen():
    model = small_lightglue()
    pair = made_up(model, 30, 40)
    alone, padded = plain_of(model, *pair), plain_of(model, *pair, extra=(7, 12))
    for name, length in zip(NAMES, (30, 40, 30, 40), strict=True):
        assert torch.allclose(padded[name][:, :length], alone[name], atol=1e-6, rtol=0)
        assert (padded[name][:, length:] == (-1 if "matches" in name else 0)).all()


def test_an_image_of_padding_alone():
    model = small_lightglue()
    features0, features1 = made_up(model, 30, 0)
    found = plain_of(model, features0, features1, extra=(0, 9))
    assert (found["matches0"] == -1).all() and (found["mscores0"] == 0).all() and (found["matches1"] == -1).all()
