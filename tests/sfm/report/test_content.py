"""Numbers of the page: weighted means, partners, kinds of pairs, settings as text."""

from base64 import b64decode

import numpy as np
import pytest
import torch
from tiny_model import write_tiny_model

from photoglue.sfm.report.content import columns_of, facts_of, gather, settings_of
from photoglue.solvers.colmap_model import read_model

pytest.importorskip("pycolmap", exc_type=ImportError)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"), blind=("b.jpg",))


def test_rows(tiny):
    model = read_model(tiny.model)
    verified = [("a.jpg", "sub/c.jpg", 7, "planar"), ("b.jpg", "x.jpg", 2, "calibrated")]
    rows, scene, pictures, pairs = gather(model, (tiny.photos, {}), verified, {"y.jpg": "in another model"}, [])
    assert [row.name for row in rows] == ["a.jpg", "b.jpg", "sub/c.jpg", "x.jpg", "y.jpg"]
    assert [row.placed for row in rows] == [True, True, True, False, False]
    assert [row.points for row in rows] == [12, 0, 12, 0, 0]
    assert [row.track for row in rows] == [2, 0, 2, 0, 0]
    assert [row.partners for row in rows] == [1, 1, 1, 1, 0]
    assert (
        rows[0].error == pytest.approx(float(model.reprojection_errors(model.images[0]).mean())) and rows[1].error == 0
    )
    assert rows[3].reason.startswith("not in this model There is no file")
    assert rows[4].reason.startswith("in another model")
    assert (scene.total, pairs) == (12, verified)
    # Only pairs inside the model hold it together.
    assert [(picture.name0, picture.inliers) for picture in pictures] == [("a.jpg", 7)]
    facts = {fact.words: fact.value for fact in facts_of(model, rows)}
    assert facts["photos placed"] == "3 of 5"
    assert facts["photos see a point, on average"] == "2.0"
    every = torch.cat([model.reprojection_errors(image) for image in model.images])
    assert facts["mean reprojection error"] == f"{float(every.mean()):.2f} px"
    assert facts["camera"] == "1"


def test_kinds_by_frequency(tiny):
    rows = gather(read_model(tiny.model), (tiny.photos, {}), None, {}, [])[0]
    pairs = [("a.jpg", "b.jpg", 1, "planar"), ("a.jpg", "sub/c.jpg", 70_000, "calibrated")]
    kinds, columns = columns_of([*pairs, ("b.jpg", "sub/c.jpg", 3, "calibrated")], rows)
    assert kinds == ("calibrated", "planar")
    assert np.frombuffer(b64decode(columns["k"]), "u1").tolist() == [1, 0, 0]
    assert np.frombuffer(b64decode(columns["n"]), "<u4").tolist() == [1, 70_000, 3]


def test_settings_are_text_with_versions():
    rows = dict(settings_of({"seed": 0, "masks": None, "resize": 1024}))
    assert (rows["seed"], rows["masks"], rows["resize"]) == ("0", "–", "1024")
    assert "pycolmap" in rows and rows["made by"].startswith("photoglue")
