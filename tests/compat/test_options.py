from types import SimpleNamespace

import pytest
import torch
from torch import nn

from photoglue.errors import ConfigError


@pytest.fixture
def options():
    from photoglue.compat import options

    return options


def test_known(options):
    assert options.known({"a": 1}, {"a": 0, "b": 0}, "X") == {"a": 1}
    with pytest.raises(ConfigError, match=r"X has no option 'thresold'\. Did you mean 'threshold'\?"):
        options.known({"thresold": 1}, {"threshold": 0}, "X")
    with pytest.raises(ConfigError, match=r"X has no option 'q'\. It has: threshold\."):
        options.known({"q": 1}, {"threshold": 0}, "X")


@pytest.mark.parametrize("conf", [{"a": 2}, SimpleNamespace(a=2)], ids=["mapping", "namespace"])
def test_current(options, conf):
    """A whole new conf may have been assigned; what it leaves out is as built."""
    assert options.current(conf, {"a": 1, "size": 3}, ("size",), "X") == {"a": 2, "size": 3}


def test_what_is_built_in_cannot_change(options):
    with pytest.raises(ConfigError, match=r"conf.size was set to 4, but this X was built with 3.*X\(…, size=4\)"):
        options.current({"size": 4}, {"size": 3}, ("size",), "X")
    with pytest.raises(ConfigError, match="no option 'sise'"):
        options.current({"sise": 4}, {"size": 3}, ("size",), "X")


@pytest.mark.parametrize("value", [0.5, "0.5", torch.tensor(0.5)])
def test_number(options, value):
    assert options.number({"a": value}, "a") == options.number_or_off({"a": value}, "a") == 0.5


@pytest.mark.parametrize("value", [None, "much", float("nan"), (1, 2)])
def test_not_a_number(options, value):
    with pytest.raises(ConfigError, match=r"a is .*; it must be a number"):
        options.number({"a": value}, "a")


@pytest.mark.parametrize("value", [None, -1, 0, -0.5])
def test_off(options, value):
    assert options.number_or_off({"a": value}, "a") is None
    assert options.whole_or_off({"a": value}, "a") is None


def test_whole(options):
    assert options.whole_or_off({"a": 3.0}, "a") == 3
    with pytest.raises(ConfigError, match=r"a is 3\.5; it must be a whole number"):
        options.whole_or_off({"a": 3.5}, "a")


class Wrapper(nn.Module):
    def __init__(self, options, official):
        super().__init__()
        self.net = nn.Linear(2, 1)
        options.use_official_names(self, "net.", official)


@pytest.mark.parametrize("official", ["", "model."])
def test_official_names(options, official):
    """Alone, inside another module, and from a state dict with the names that there were before."""
    wrapper, other = Wrapper(options, official), Wrapper(options, official)
    state = wrapper.state_dict()
    assert set(state) == {f"{official}weight", f"{official}bias"}
    other.load_state_dict(state)
    assert torch.equal(other.net.weight, wrapper.net.weight)
    assert set(state) == {f"{official}weight", f"{official}bias"}

    outer, outer2 = nn.Sequential(Wrapper(options, official)), nn.Sequential(Wrapper(options, official))
    assert set(outer.state_dict()) == {f"0.{official}weight", f"0.{official}bias"}
    outer2.load_state_dict(outer.state_dict())
    assert torch.equal(outer2[0].net.weight, outer[0].net.weight)

    wrapper.load_state_dict({"net.weight": torch.ones(1, 2), "net.bias": torch.ones(1)})
    assert torch.equal(wrapper.net.weight, torch.ones(1, 2))


def test_names_are_checked(options):
    with pytest.raises(RuntimeError, match=r"Unexpected key.*net\.wight"):
        Wrapper(options, "").load_state_dict({"wight": torch.ones(1, 2), "bias": torch.ones(1)})
