"""A small extractor and small photos, for tests of what is done with many of them."""

import numpy as np
import PIL.Image
import PIL.ImageDraw
import torch
from torch import nn

from photoglue.extractors.base import Extractor, ExtractorConfig
from photoglue.structs import Features


class Bright(Extractor):
    """The brightest pixels above a third; descriptors say how bright, times a weight."""

    kind = "bright"
    descriptor_dim = 2

    def __init__(self, config=None, weight=1.0):
        super().__init__(config or ExtractorConfig(max_keypoints=20, resize=None))
        self.weight = nn.Parameter(torch.tensor(weight), requires_grad=False)
        self.batches = []

    def detect(self, images, masks=None):
        self.batches.append(len(images))
        found = []
        for i, image in enumerate(images):
            gray = image.mean(dim=0)
            if masks is not None:
                gray = gray * masks[i]
            y, x = torch.nonzero(gray > 0.34, as_tuple=True)
            scores = gray[y, x]
            order = torch.argsort(scores, descending=True, stable=True)[: self.config.max_keypoints]
            x, y, scores = x[order], y[order], scores[order]
            found.append(
                Features(
                    keypoints=torch.stack([x, y], dim=-1).float(),
                    descriptors=torch.stack([scores, 1 - scores], dim=-1) * self.weight,
                    scores=scores,
                    image_size=(image.shape[2], image.shape[1]),
                    kind=self.kind,
                )
            )
        return found


def write_photo(path, seed, size=(32, 24)):
    """A photo of noise; black if ``seed`` is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0], 3)) if seed is None else np.random.default_rng(seed).random((*size[::-1], 3))
    PIL.Image.fromarray((pixels * 255).astype(np.uint8)).save(path)
    return path


def blobs(seed, shift=0):
    """A photo of coloured discs that lie elsewhere for another seed, and 3 pixels further on for each shift."""
    rng = np.random.default_rng(seed)
    picture = PIL.Image.new("RGB", (200, 160), tuple(rng.integers(90, 160, 3).tolist()))
    draw = PIL.ImageDraw.Draw(picture)
    for x, y, radius, *color in rng.integers(0, [200, 160, 12, 255, 255, 255], (60, 6)):
        place = (x + 3 * shift - radius - 2, y - radius - 2, x + 3 * shift + radius + 2, y + radius + 2)
        draw.ellipse(place, fill=tuple(int(value) for value in color))
    return picture


def assert_same_features(path0, path1):
    """Two stores hold the same, made from the same."""
    from photoglue.store import FeatureStore

    with FeatureStore.open(path0) as store0, FeatureStore.open(path1) as store1:
        assert store0.names() == store1.names()
        assert store0.options == store1.options
        for name in store0.names():
            assert store0.digest(name) == store1.digest(name)
            assert store0.made_from(name) == store1.made_from(name)
            assert torch.equal(store0[name].descriptors, store1[name].descriptors)
