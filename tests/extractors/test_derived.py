"""What is derived from weights follows them, and gets in nobody's way."""

import copy
import pickle

import torch

from photoglue.extractors.derived import Derived


def test_derived_is_made_once_for_each_state():
    derived, source = Derived(), torch.nn.Linear(2, 3).requires_grad_(False)
    made = []

    def get():
        return derived.get("half", (source.weight,), lambda: made.append(0) or source.weight.bfloat16())

    assert get() is get()
    assert len(made) == 1
    source.weight.mul_(2)
    assert torch.equal(get(), source.weight.bfloat16())
    assert len(made) == 2
    source.load_state_dict({"weight": torch.ones(3, 2), "bias": torch.ones(3)})
    assert torch.equal(get(), torch.ones(3, 2).bfloat16())
    source.weight = torch.nn.Parameter(torch.zeros(3, 2), requires_grad=False)
    assert torch.equal(get(), torch.zeros(3, 2).bfloat16())
    source.to("meta")
    assert get().is_meta


def test_derived_lets_gradients_through():
    derived, source = Derived(), torch.ones(3, requires_grad=True)
    with torch.no_grad():
        derived.get("double", (source,), lambda: 2 * source)
    derived.get("double", (source,), lambda: 2 * source).sum().backward()
    assert source.grad.tolist() == [2, 2, 2]


def test_derived_in_inference_mode_serves_outside_of_it():
    derived, source = Derived(), torch.ones(3)
    with torch.inference_mode():
        derived.get("double", (source,), lambda: 2 * source)
    found = derived.get("double", (source,), lambda: 2 * source)
    (found * torch.ones(3, requires_grad=True)).sum().backward()


def test_derived_is_not_copied():
    derived = Derived()
    derived.get("double", (torch.ones(3),), lambda: torch.ones(3))
    assert copy.deepcopy(derived)._remembered == {}
    assert pickle.loads(pickle.dumps(derived))._remembered == {}
