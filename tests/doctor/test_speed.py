import pytest
import torch
from doctor_cases import made_case, seen


@pytest.mark.weights
@pytest.mark.parametrize(("asked", "told"), [("bfloat16", True), ("float32", False), ("auto", False)])
def test_slow_precision(monkeypatch, asked, told):
    from dataclasses import replace

    from photoglue import LightGlue, LightGlueShape
    from photoglue.doctor import speed
    from photoglue.probe import Choice

    choice = Choice(name="matching", chosen="float32", reason="measured")
    monkeypatch.setattr(speed, "matching_choice", lambda device: choice)
    case = made_case(*seen())
    matcher = LightGlue(shape=LightGlueShape(input_dim=8, descriptor_dim=8, n_layers=1, num_heads=1))
    pipeline = replace(case.pipeline, matcher=matcher)
    case = replace(case, pipeline=pipeline, asked=replace(case.asked, options={"precision": asked}))
    finding = speed.slow(case)
    assert (finding is not None) == told
    if told:
        assert finding.cause == "slow"
        assert finding.command.endswith("--precision auto")


def test_slow_device(monkeypatch):
    from dataclasses import replace

    from photoglue.doctor.speed import slow

    case = made_case(*seen())
    on_cpu = replace(case, asked=replace(case.asked, options={"device": "cpu"}))
    assert slow(on_cpu) is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert slow(on_cpu).cause == "slow"
