"""A model says what is in it."""

import pytest

from photoglue.errors import ConfigError
from photoglue.solvers.colmap_facts import has_depth, model_facts, numbers_in, opened


def test_no_model(tmp_path):
    pytest.importorskip("pycolmap", exc_type=ImportError)
    for read in (model_facts, numbers_in):
        with pytest.raises(ConfigError, match="no COLMAP model"):
            read(tmp_path)


def test_a_model_says_what_is_in_it(tmp_path):
    """Two photos and one point, in COLMAP's text format."""
    pytest.importorskip("pycolmap", exc_type=ImportError)
    (tmp_path / "cameras.txt").write_text("3 PINHOLE 100 80 90 90 50 40\n")
    (tmp_path / "images.txt").write_text("7 1 0 0 0 0 0 0 3 b.jpg\n50 43 5\n2 1 0 0 0 -1 0 0 3 a.jpg\n5 40 5 1 2 -1\n")
    (tmp_path / "points3D.txt").write_text("5 0 0 2 255 0 0 0.5 7 0 2 0\n")
    model = model_facts(tmp_path)
    assert (model.path, model.placed, model.points) == (tmp_path, ("a.jpg", "b.jpg"), 1)
    assert (model.mean_track, model.observations) == (2.0, {"a.jpg": 1, "b.jpg": 1})
    assert numbers_in(tmp_path) == {"a.jpg": (2, 3), "b.jpg": (7, 3)}


@pytest.mark.parametrize(
    ("away", "count", "depth"), [(2, 20, True), (70, 20, True), (90, 20, False), (1e7, 20, False), (2, 14, False)]
)
def test_points_at_infinity_have_no_depth(tmp_path, away, count, depth):
    pytest.importorskip("pycolmap", exc_type=ImportError)
    seen = " ".join(f"50 43 {number}" for number in range(1, count + 1))
    (tmp_path / "cameras.txt").write_text("3 PINHOLE 100 80 90 90 50 40\n")
    (tmp_path / "images.txt").write_text(f"7 1 0 0 0 0 0 0 3 b.jpg\n{seen}\n2 1 0 0 0 -2 0 0 3 a.jpg\n{seen}\n")
    points = (f"{number} 1 0 {away} 255 0 0 0.5 7 {number - 1} 2 {number - 1}\n" for number in range(1, count + 1))
    (tmp_path / "points3D.txt").write_text("".join(points))
    assert has_depth(opened(tmp_path)) is depth
