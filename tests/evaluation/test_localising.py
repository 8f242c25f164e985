"""Localisation is measured on a scene of known truth, and goes on where it was."""

import json
import math

import numpy as np
import pytest
from mapped_scene import FOCAL, PLACES, SIZE, write
from placed_scene import Landscape, true_pose

from photoglue.errors import ConfigError
from photoglue.evaluation import LocalisationOptions, localising, measure_localisation
from photoglue.matchers.nearest import NearestNeighbor

for package in ("pycolmap", "h5py", "poselib"):
    pytest.importorskip(package, exc_type=ImportError)


@pytest.fixture
def scene(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "scene"
    write(folder / "images", *range(6))
    matrix = [[FOCAL, 0, SIZE[0] / 2 - 0.5], [0, FOCAL, SIZE[1] / 2 - 0.5], [0, 0, 1]]
    frames = {f"images/{i:03}.png": {"K": matrix, "T_w2c": true_pose(i).tolist()} for i in range(6)}
    (folder / "cameras.json").write_text(json.dumps({"unit": "metres", "frames": frames}))
    monkeypatch.setattr(localising._Run, "_tools", lambda self: (Landscape(), NearestNeighbor(0.8)))
    return folder


@pytest.mark.slow
def test_one_scene(scene, tmp_path, monkeypatch):
    strangers = write(tmp_path / "others", PLACES, PLACES + 1)
    options = LocalisationOptions(intrinsics=("known", "unknown"), strangers=(strangers,))
    told = []
    found = measure_localisation(
        [tmp_path / "data"], ["sift+ratio"], tmp_path / "out", options, progress=lambda *each: told.append(each)
    )
    assert [(each.intrinsics, each.placed, each.wrong) for each in found] == [("known", 1, 0), ("unknown", 1, 0)]
    known = found[0]
    assert [query.name for query in known.queries] == ["002.png"]
    assert known.position < 0.02 and known.rotation_deg < 0.2 and known.metres and known.limits == (0.05, 0.25, 1.0)
    assert [known.share(level) for level in range(3)] == [1, 1, 1]
    assert (known.strangers, known.accepted) == (2, 0)
    assert ("scene, sift+ratio: queries", 1, 1) in told
    row = localising.row_of(known)
    assert len(row) == len(localising.COLUMNS) and row[4] == "100% ≤ 0.05 m" and row[10] == "0 of 2"
    assert "| scene (K unknown) | sift+ratio | 1 | 1 |" in (tmp_path / "out" / "localisation.md").read_text()
    monkeypatch.setattr(localising._Run, "result", None)  # would fail
    again = measure_localisation([scene], ["sift+ratio"], tmp_path / "out", options)
    assert again == found


def test_levels_and_units():
    def query(position, rotation):
        return localising.QueryResult(
            name="a", position=position, rotation_deg=rotation, inliers=5, reason=None, cpu_seconds=1.0
        )

    values = [(0.04, 0.4), (0.04, 1.0), (0.5, 3.0), (2.0, 0.1), (math.inf, math.inf)]
    result = localising.LocalisationResult(
        scene="s", method="m", intrinsics="known", queries=tuple(query(*value) for value in values),
        limits=(0.05, 0.25, 1.0), metres=False, strangers=0, accepted=0, map_cpu_seconds=1.0, made_from="x",
    )  # fmt: skip
    np.testing.assert_allclose([result.share(level) for level in range(3)], [0.2, 0.4, 0.6])
    assert (result.placed, result.wrong, result.position, result.rotation_deg) == (4, 1, 0.5, 1.0)
    assert localising.row_of(result)[10] == "–" and localising.row_of(result)[8] == "0.5"


def test_nothing_to_measure(tmp_path):
    with pytest.raises(ConfigError, match="holds no scenes"):
        measure_localisation([tmp_path], ["sift+ratio"], tmp_path / "out")
    write(tmp_path / "scene" / "images", 0, 1)
    with pytest.raises(ConfigError, match="has 0 photos with known poses; 5 are wanted"):
        measure_localisation([tmp_path], ["sift+ratio"], tmp_path / "out")
    with pytest.raises(ConfigError, match="is no method"):
        measure_localisation([tmp_path], ["fast"], tmp_path / "out")
