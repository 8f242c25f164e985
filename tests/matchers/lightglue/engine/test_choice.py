"""What "auto" means for LightGlue."""

import pytest
import torch

from photoglue import probe
from photoglue.errors import ConfigError
from photoglue.matchers.lightglue import LightGlue
from photoglue.matchers.lightglue.config import LightGlueShape
from photoglue.matchers.lightglue.engine import choice
from photoglue.native.library import int16_supported
from photoglue.probe import Choice
from photoglue.structs import Features

CPU = torch.device("cpu")


@pytest.fixture
def machine(monkeypatch):
    """A machine of which everything is said: sets what it has and how many milliseconds each precision takes."""

    def of(*, int16: bool, half: bool, amx: bool = False, ms: dict[str, float] | None = None) -> None:
        choice._on_this_cpu.cache_clear()
        monkeypatch.setenv(probe.VARIABLE, "rules")
        monkeypatch.setattr(choice, "int16_supported", lambda: int16)
        monkeypatch.setattr(choice, "cpu_has_bfloat16", lambda: half)
        monkeypatch.setattr(choice, "bfloat16_by_rule", lambda: "bfloat16" if amx else "float32")
        if ms is not None:
            monkeypatch.delenv(probe.VARIABLE, raising=False)
            monkeypatch.setattr(choice, "fastest", lambda name, _, rounds, **rule: probe._chosen(name, ms, **rule))

    yield of
    choice._on_this_cpu.cache_clear()


@pytest.mark.parametrize(
    ("int16", "half", "amx", "wanted"),
    [(0, 0, 0, "float32"), (1, 0, 0, "int16"), (1, 1, 1, "int16"), (0, 1, 1, "bfloat16"), (0, 1, 0, "float32")],
)
def test_by_rule(machine, int16, half, amx, wanted):
    machine(int16=bool(int16), half=bool(half), amx=bool(amx))
    assert choice.matching_choice(CPU).chosen == wanted


@pytest.mark.parametrize(
    ("int16", "ms", "wanted"),
    [
        (True, {"int16": 10.0, "bfloat16": 7.0}, "int16"),
        (True, {"int16": 10.0, "bfloat16": 6.0}, "bfloat16"),
        (False, {"float32": 10.0, "bfloat16": 7.0}, "float32"),
        (False, {"float32": 10.0, "bfloat16": 5.0}, "bfloat16"),
    ],
)
def test_as_measured(machine, int16, ms, wanted):
    """bfloat16 must be half as fast again as what is more exact."""
    machine(int16=int16, half=True, ms=ms)
    found = choice.matching_choice(CPU)
    assert (found.name, found.chosen) == ("matching", wanted)
    assert "bfloat16" in found.reason


def test_a_name_wins_and_a_network_without_int16_gets_none(machine, as_a_user):
    machine(int16=True, half=False)
    assert choice.matching_precision("bfloat16", CPU) == "bfloat16"
    assert choice.matching_precision("auto", CPU) == "int16"
    assert choice.matching_precision("auto", CPU, LightGlueShape.edge(num_heads=8)) == "float32"
    assert choice.matching_precision("auto", torch.device("meta")) == "float32"
    with pytest.raises(ConfigError, match="precision is 'half'"):
        choice.matching_precision("half", CPU)


def test_the_environment_wins(machine, monkeypatch):
    machine(int16=False, half=True, amx=True)
    monkeypatch.setenv(probe.VARIABLE, "matching=float32")
    assert choice.matching_choice(CPU) == Choice(
        name="matching", chosen="float32", reason="PHOTOGLUE_AUTO=matching=float32"
    )


@pytest.mark.slow
def test_what_is_measured_runs_and_leaves_the_generator_alone():
    before = torch.random.get_rng_state()
    precisions = ("float32", *(["int16"] if int16_supported() else []))
    for precision, match in choice._networks(*precisions).items():
        assert match().precision == precision
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_network_takes_it(machine):
    machine(int16=False, half=False)
    features = Features(
        keypoints=torch.rand(5, 2),
        descriptors=torch.rand(5, 256),
        scores=torch.ones(5),
        image_size=(9, 9),
        kind="drawn",
    )
    network = LightGlue(shape=LightGlueShape(n_layers=1)).eval().prepare("auto")
    assert network.match(features, features).precision == "float32"
