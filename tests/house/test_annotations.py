"""The tests execute the shapes in signatures: what does not fit them is an error, at each call."""

import jaxtyping
import pytest
import torch
from jaxtyping import Float
from shape_checks import checked
from torch import Tensor


def test_of_the_package():
    from photoglue.geometry.homography import warp_points

    for _ in range(2):
        with pytest.raises(jaxtyping.TypeCheckError, match="points"):
            warp_points(torch.zeros(4, 3), torch.eye(3, dtype=torch.float64))


def test_of_arguments_and_results():
    @jaxtyping.jaxtyped(typechecker=checked)
    def twice(first: Float[Tensor, "n 2"], second: Float[Tensor, "n 2"]) -> Float[Tensor, "n 4"]:
        return torch.cat([first, second], dim=len(first) - 1)

    for _ in range(2):
        assert twice(torch.zeros(2, 2), torch.ones(2, 2)).shape == (2, 4)
        with pytest.raises(jaxtyping.TypeCheckError, match="second"):
            twice(torch.zeros(2, 2), torch.zeros(3, 2))
        with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
            twice(torch.zeros(1, 2), torch.zeros(1, 2))
