"""The pipeline in torch: images of one size to matches, for one pair and for two."""

import numpy as np
import pytest
import torch
from exported_files import small_lightglue
from jaxtyping import Float
from torch import Tensor, nn

from photoglue import Features
from photoglue.errors import ConfigError
from photoglue.export import export_pipeline
from photoglue.export.cases import plain_reference
from photoglue.export.graph import PlainMatcher
from photoglue.export.pipeline import Pipeline


class Painted(nn.Module):
    """An extractor that reads its points off the image: x, y, score and descriptor are a row of pixels each."""

    def forward(self, image: Float[Tensor, "1 3 h w"]):
        """Keypoints, scores and descriptors."""
        rows = image[0, 0]
        return 30 * rows[None, :, :2], rows[None, :, 2], rows[None, :, 3:19]


def painted(count, seed):
    """An image of 40 rows with so many points."""
    image = torch.rand(3, 40, 64, generator=torch.Generator().manual_seed(seed))
    image[0, :, 3:19] = torch.nn.functional.normalize(image[0, :, 3:19] - 0.5, dim=1)
    image[0, count:, 2] = 0
    return image


def pairs_of(number):
    """Two images that have most in common."""
    first = painted(30, number)
    second = first.clone()
    second[0, :, :2] += 0.05
    return first, second


@pytest.mark.parametrize("count", [1, 2])
def test_is_extraction_and_matching(count):
    model = small_lightglue(scales=False)
    images = torch.stack([each for number in range(count) for each in pairs_of(number)])
    points, matches, scores = Pipeline(Painted(), PlainMatcher(model), count)(images)
    assert points.shape == (2 * count, 40, 2) and matches.dtype == torch.int64
    for number in range(count):
        both = []
        for image in images[2 * number : 2 * number + 2]:
            keypoints, found, descriptors = (each[0, :30] for each in Painted()(image[None]))
            both.append(Features(keypoints=keypoints, descriptors=descriptors, scores=found, image_size=(64, 40)))
        expected = plain_reference(model).match(*both)
        rows = matches[:, 0] == number
        assert matches[rows, 1:].tolist() == expected.indices.tolist() and len(expected) > 3
        wanted = expected.matching_scores0[expected.indices[:, 0]]
        assert torch.allclose(scores[rows], wanted, atol=1e-5)


def test_what_cannot_be_had(tmp_path):
    for options in ({"max_keypoints": 4000}, {"pairs": 0}):
        with pytest.raises(ConfigError, match="they must be 1 to 3840"):
            export_pipeline(tmp_path / "a.onnx", **options)


@pytest.mark.rare
@pytest.mark.weights
def test_file_agrees(tmp_path, monkeypatch, motorcycle):
    """DISK, as it is exported in seconds, and the first layer of its matcher."""
    pytest.importorskip("onnxscript", exc_type=ImportError)
    from exported_files import untyped

    from photoglue import LightGlue, LightGlueConfig
    from photoglue.export import lint, pipeline, verify

    monkeypatch.setattr(pipeline, "SMALL", 160)
    model = LightGlue.pretrained("disk", LightGlueConfig(n_layers=1), precision=None)
    path = tmp_path / "pipeline.onnx"
    with untyped():
        certificate = export_pipeline(path, "disk", model, max_keypoints=100, photos=motorcycle)
    assert certificate.faults == [] and certificate.checks[0].count > 10
    assert lint(path, "lightglue-onnx") == [] and lint(path, "tensorrt")
    assert [port.name for port in certificate.outputs] == ["keypoints", "matches", "mscores"]
    assert verify(path).checks == certificate.checks
    assert np.isfinite(certificate.checks[0].max_error)
