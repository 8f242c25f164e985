import pytest
import torch
from torch.nn.functional import normalize

from photoglue.errors import ConfigError
from photoglue.retrieval import Describer, Vocabulary
from photoglue.retrieval.describer import POINTS
from photoglue.structs import Features


class Network(torch.nn.Module):
    """Gives the mean colour."""

    name = "colour/1"

    def describe(self, image):
        return normalize(image.mean(dim=(1, 2)), dim=0)


def features(count=20, kind="own"):
    return Features.from_arrays(
        torch.rand(count, 2) * 9, torch.randn(count, 4), (10, 10), scores=torch.rand(count), kind=kind
    )


@pytest.fixture
def vocabulary():
    return Vocabulary(kind="own", centres=torch.randn(3, 4))


def test_one_behind_the_other(vocabulary, as_a_user):
    both = Describer(vocabulary=vocabulary, network=Network())
    points, image = features(), torch.rand(3, 8, 8)
    vector = both.describe(points, image)
    assert vector.norm() == pytest.approx(1)
    part0, part1 = vector[:12], vector[12:]
    assert part1.norm() / part0.norm() == pytest.approx(0.7)
    torch.testing.assert_close(normalize(part0, dim=0), Describer(vocabulary=vocabulary).describe(points, None))
    torch.testing.assert_close(
        normalize(part1, dim=0), Describer(vocabulary=None, network=Network()).describe(None, image)
    )
    assert both.name == f"{vocabulary.name} + 0.7 × colour/1"


def test_the_best_points_count(vocabulary):
    many = features(POINTS + 300)
    best = many[many.scores.topk(POINTS).indices]
    describer = Describer(vocabulary=vocabulary)
    torch.testing.assert_close(describer.describe(many, None), describer.describe(best, None))


def test_refusals(vocabulary, as_a_user):
    with pytest.raises(ConfigError, match="a vocabulary, a network, or both"):
        Describer(vocabulary=None)
    with pytest.raises(ConfigError, match="needs the local features"):
        Describer(vocabulary=vocabulary).describe(None, None)
    with pytest.raises(ConfigError, match="needs the photo itself"):
        Describer(vocabulary=vocabulary, network=Network()).describe(features(), None)
    with pytest.raises(ConfigError, match="for 'own', and these features are 'disk'"):
        Describer(vocabulary=vocabulary).describe(features(kind="disk"), None)


def test_by_the_name_in_an_index(vocabulary):
    known = Describer.pretrained("sift-opencv")
    assert Describer.of_name(known.name).name == known.name
    assert known.kind == "sift-opencv"
    for name, said in ((vocabulary.name, "none for its features"), (known.name + "0", "make the index anew")):
        with pytest.raises(ConfigError, match=said):
            Describer.of_name(name)
