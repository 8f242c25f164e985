"""The tests execute the types and shapes in signatures: what does not fit them is an error, at each call."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import beartype
import jaxtyping
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float
from shape_checks import has_shapes
from torch import Tensor

WRONG = (jaxtyping.TypeCheckError, BeartypeCallHintViolation)


def test_shapes_of_the_package():
    from photoglue.geometry.homography import warp_points

    for _ in range(2):
        with pytest.raises(jaxtyping.TypeCheckError, match="points"):
            warp_points(torch.zeros(4, 3), torch.eye(3, dtype=torch.float64))


def test_types_of_the_package():
    from photoglue.files import digest_of_file
    from photoglue.image import Resize
    from photoglue.structs import Features

    some = Features(keypoints=torch.zeros(2, 2), descriptors=torch.zeros(2, 8), scores=torch.ones(2), image_size=(4, 3))
    for _ in range(2):
        assert Resize.long_side((4, 3), None)
        with pytest.raises(WRONG, match="length"):
            Resize.long_side((4, 3), "2")
        with pytest.raises(WRONG, match="path"):
            digest_of_file("a name")
        with pytest.raises(WRONG, match="kind"):
            replace(some, kind=3)


@jaxtyping.jaxtyped
@dataclass
class Box:
    corners: Float[Tensor, "n 2"]
    marks: Float[Tensor, " n"]

    @jaxtyping.jaxtyped
    @property
    def name(self) -> str:
        return len(self.marks)

    @jaxtyping.jaxtyped
    @classmethod
    def of(cls, corners: Float[Tensor, "n 2"]) -> "Box":
        return cls(corners, corners[:, 0])

    @jaxtyping.jaxtyped
    @staticmethod
    def side(name: Literal["left", "right"]) -> str:
        return name


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Box(torch.zeros(2, 2), torch.zeros(3)),
        lambda: Box.of(torch.zeros(2, 3)),
        lambda: Box.side("up"),
        lambda: Box.of(torch.zeros(2, 2)).name,
    ],
)
def test_of_classes(wrong):
    for _ in range(2):
        assert len(Box.of(torch.zeros(2, 2)).marks) == 2 and Box.side("left") == "left"
        with pytest.raises(WRONG):
            wrong()


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        (Float[Tensor, "n 2"], True),
        (list[Float[Tensor, "n 2"]] | None, True),
        (Callable[[Float[Tensor, "n 2"]], None], True),
        ("Float[Tensor, 'n 2']", True),
        (dict[str, "tuple[Float[Tensor, 'n 2'], int]"], True),
        (Tensor, False),
        ("Box", True),
        (Literal["a b"] | None, False),
        (Callable[..., list[int]], False),
    ],
)
def test_where_shapes_are(annotation, found):
    assert has_shapes(annotation) is found


def test_of_arguments_and_results():
    @jaxtyping.jaxtyped(typechecker=beartype.beartype)
    def twice(first: Float[Tensor, "n 2"], second: Float[Tensor, "n 2"]) -> Float[Tensor, "n 4"]:
        return torch.cat([first, second], dim=len(first) - 1)

    for _ in range(2):
        assert twice(torch.zeros(2, 2), torch.ones(2, 2)).shape == (2, 4)
        with pytest.raises(jaxtyping.TypeCheckError, match="second"):
            twice(torch.zeros(2, 2), torch.zeros(3, 2))
        with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
            twice(torch.zeros(1, 2), torch.zeros(1, 2))
