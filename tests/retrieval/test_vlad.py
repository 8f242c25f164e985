import pytest
import torch
from torch.nn.functional import normalize

from photoglue.errors import ConfigError, ShapeError
from photoglue.retrieval.vlad import VOCABULARY_OF_KIND, Vocabulary


def unit(count, dim=8, seed=0):
    return normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def plain_vlad(descriptors, centres):
    """By the definition, point by point."""
    sums = torch.zeros_like(centres)
    for point in descriptors:
        nearest = int((centres - point).norm(dim=1).argmin())
        sums[nearest] += (point - centres[nearest]) / (point - centres[nearest]).norm()
    rows = [row / row.norm() if row.norm() > 0 else row for row in sums]
    flat = torch.cat([row.sign() * row.abs().sqrt() for row in rows])
    return flat / flat.norm()


def test_as_defined_and_blind_to_order():
    vocabulary = Vocabulary(kind="own", centres=unit(5) * 0.7)
    points = unit(40, seed=1)
    vector = vocabulary.describe(points, "own")
    assert vector.shape == (vocabulary.dim,) == (40,)
    torch.testing.assert_close(vector, plain_vlad(points, vocabulary.centres))
    torch.testing.assert_close(vocabulary.describe(points.flip(0) * 3), vector)


def test_no_point_and_one():
    vocabulary = Vocabulary(kind=None, centres=unit(5))
    assert not vocabulary.describe(torch.zeros(0, 8)).any()
    assert vocabulary.describe(unit(1, seed=3)).norm() == pytest.approx(1)
    assert vocabulary.describe(vocabulary.centres).isfinite().all()  # residuals of length zero


def test_training_finds_clusters_and_is_repeatable():
    middles = unit(4, seed=5)
    points = (middles[:, None] + 0.01 * unit(200, seed=6).view(4, 50, 8)).flatten(0, 1)
    centres = Vocabulary.trained(points, "own", size=4, seed=1).centres
    repeated = Vocabulary.trained(points, "own", size=4, seed=1)
    assert torch.equal(centres, repeated.centres)
    many = Vocabulary.trained(
        points.repeat(1, 1)[:6].repeat(2, 1), "own", size=5
    )  # fewer different points than it seems
    assert many.centres.isfinite().all()
    assert repeated.name.startswith("vlad4/own/")
    assert repeated.name != many.name


def test_refusals(as_a_user):
    with pytest.raises(ConfigError, match="3 descriptors are too few for 128 centres"):
        Vocabulary.trained(unit(3), "own")
    with pytest.raises(ConfigError, match="no vocabulary for features 'superpoint'; there are some for aliked-n16"):
        Vocabulary.pretrained("superpoint")
    vocabulary = Vocabulary(kind="own", centres=unit(5))
    with pytest.raises(ConfigError, match="for 'own', and these features are 'disk'"):
        vocabulary.describe(unit(3), "disk")
    with pytest.raises(ShapeError, match="4 channels, and the vocabulary 8"):
        vocabulary.describe(unit(3, 4))


@pytest.mark.parametrize("kind", ["aliked-n16", "disk", "sift-opencv"])
def test_those_that_come_with_the_package(kind):
    vocabulary = Vocabulary.pretrained(kind)
    assert vocabulary.centres.shape == (128, 128)
    assert vocabulary.kind == kind
    assert (vocabulary.centres.norm(dim=1) <= 1).all()
    assert vocabulary.describe(unit(9, 128), kind).shape == (16384,)


def test_alikeds_share_a_vocabulary():
    vocabulary = Vocabulary.pretrained("aliked-n16")
    assert vocabulary.describe(unit(9, 128), "aliked-n32").any()
    assert {VOCABULARY_OF_KIND[kind] for kind in ("aliked-n16", "aliked-n16rot", "aliked-n32")} == {"aliked"}
