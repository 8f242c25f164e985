import shlex

import torch
from doctor_cases import made_case, seen


def test_numbers_of_a_case():
    case = made_case(*seen(), score=0.5)
    assert case.strength == 60
    assert int(case.inliers.sum()) == 120
    assert not case.doubtful
    assert made_case(*seen(count=20)).failed
    assert made_case(*seen(), probability=0.5).failed
    few = made_case(*seen(count=400), 40)
    assert few.doubtful
    assert not few.failed


def test_resize_of_photos_as_they_are():
    assert made_case(*seen(), resize=None).resize == 640


def test_commands_can_be_pasted():
    from dataclasses import replace

    asked = replace(made_case(*seen()).asked, names=("my photo's.jpg", "b.jpg"))
    words = ["photoglue", "match", "my photo's.jpg", "b.jpg", "--resize", "512"]
    assert shlex.split(asked.command("--resize", 512)) == words
    named = replace(asked, features_name="superpoint", options={"allow_noncommercial": True})
    assert named.command().endswith("b.jpg --features superpoint --allow-noncommercial")
    assert asked.extract_again().startswith("photoglue extract ")


def test_without_poselib(monkeypatch):
    import sys

    from photoglue.doctor.case import verified

    monkeypatch.setitem(sys.modules, "poselib", None)
    points = torch.rand(30, 2)
    assert verified((points, points), "fundamental", 1.0) is None
    case = made_case(*seen())
    assert case.fundamental is None
    assert int(case.inliers.sum()) == 120
