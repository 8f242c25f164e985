"""A small network that learns what a large one says."""

import pytest
import torch
from distil_small import Imitation, disagreement

from photoglue import Features, LightGlue
from photoglue.matchers.lightglue import LightGlueShape
from photoglue.matchers.lightglue.states import LayerOutput
from photoglue.training.losses import losses
from photoglue.training.pairs.base import HomographyPair

KIND = "aliked-t16"


def photo(seed):
    """t16's descriptors of 8 points, and room for those of n16."""
    generator = torch.Generator().manual_seed(seed)
    descriptors = torch.nn.functional.pad(torch.randn(8, 64, generator=generator), (0, 128))
    return Features.from_arrays(torch.rand(8, 2, generator=generator) * 100, descriptors, (100, 100), kind=KIND)


def network(seed):
    torch.manual_seed(seed)
    shape = LightGlueShape(input_dim=64, descriptor_dim=32, num_heads=2, n_layers=2, kinds=(KIND,))
    return LightGlue(shape=shape).eval()


def output(descriptors, matchability):
    return LayerOutput(torch.tensor(descriptors), torch.tensor(matchability), None)


def test_nobody_disagrees_less_than_one_who_says_the_same():
    sure = output([[9.0, 0], [0, 9], [9, 0], [0, 9]], [6.0, 6, 6, 6])
    swapped = output([[9.0, 0], [0, 9], [0, 9], [9, 0]], [6.0, 6, 6, 6])
    unsure = output([[0.1, 0], [0, 0.1], [0.1, 0], [0, 0.1]], [6.0, 6, 6, 6])
    lonely = output([[9.0, 0], [0, 9], [9, 0], [0, 9]], [-6.0, -6, -6, -6])
    same, *others = (float(disagreement(each, sure, (2, 2))) for each in (sure, unsure, lonely, swapped))
    assert same < 0.05
    assert min(others) > 0.5
    # What the teacher does not match may be matched to anything.
    free = float(disagreement(swapped, lonely, (2, 2)))
    assert free == pytest.approx(6, abs=0.5)  # the matchabilities alone
    two = output([*sure.descriptors.tolist(), *swapped.descriptors.tolist()], [6.0] * 8)
    both = output([*sure.descriptors.tolist() * 2], [6.0] * 8)
    assert float(disagreement(two, both, (2, 2, 2, 2))) == pytest.approx((same + others[2]) / 2)


def test_the_loss_has_labels_and_the_teacher_in_it():
    teacher, student = network(0), network(1)
    pair = HomographyPair(features0=photo(0), features1=photo(1), image1_from_image0=torch.eye(3, dtype=torch.float64))
    loss = Imitation(teacher)
    example = loss.prepare(pair, 0)
    assert example.features0.descriptors.shape == (8, 64)
    images = [(example.features0, example.features1)]
    with torch.no_grad():
        found, wanted = student.all_layers(images), teacher.all_layers(images).layers[-1]
        apart = sum(float(disagreement(layer, wanted, (8, 8))) for layer in found.layers) / len(found.layers)
        of_labels = float(losses(found, [example.labels]).total)
        assert float(loss(student, [example]).total) == pytest.approx(of_labels + apart, abs=1e-4)
    loss(student, [example]).total.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert (
        sum(float(parameter.grad.abs().sum()) for parameter in student.parameters() if parameter.grad is not None) > 0
    )
