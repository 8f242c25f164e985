"""A file with changes is the model that it changes, changed."""

import pytest
import safetensors.torch
import torch

from photoglue.errors import WeightsError
from photoglue.matchers.lightglue.adapted import adapted


def base():
    return {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.tensor([1.0, 2.0])}


def test_what_is_not_changed_is_kept_and_a_new_tensor_may_have_another_shape():
    found = adapted(base(), {"a.weight": torch.ones(2, 5, dtype=torch.float16)}, "changes")
    assert found["a.weight"].equal(torch.ones(2, 5))
    assert found["a.bias"].equal(base()["a.bias"])


def test_a_product_of_thin_matrices_is_added():
    up, down = torch.tensor([[1.0], [10.0]]), torch.tensor([[1.0, 0.0, 2.0]])
    found = adapted(base(), {"a.weight.up": up.half(), "a.weight.down": down.half()}, "changes")
    assert found["a.weight"].tolist() == [[1, 1, 4], [13, 4, 25]]
    assert base()["a.weight"][0, 0] == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"b.weight": (2, 3)}, "changes changes 'b.weight', which its model does not have"),
        ({"a.weight.up": (2, 1)}, "by half a change"),
        ({"a.weight.down": (1, 3)}, "by half a change"),
        ({"a.weight.up": (2, 1), "a.weight.down": (1, 4)}, r"'a.weight' of \(2, 3\) by \(2, 1\) times \(1, 4\)"),
        ({"a.weight.up": (3, 1), "a.weight.down": (1, 3)}, "do not fit"),
        ({"a.weight.up": (2, 2), "a.weight.down": (1, 3)}, "do not fit"),
    ],
)
def test_changes_that_do_not_fit(changes, said):
    with pytest.raises(WeightsError, match=said):
        adapted(base(), {name: torch.zeros(shape) for name, shape in changes.items()}, "changes")


def test_a_file_that_changes_a_model_that_nobody_knows(tmp_path):
    from photoglue import LightGlue

    safetensors.torch.save_file(base(), tmp_path / "odd.safetensors", {"base": "of-others"})
    with pytest.raises(WeightsError, match=r"odd\.safetensors' changes the model 'of-others', which is unknown here"):
        LightGlue.from_checkpoint(tmp_path / "odd.safetensors")
