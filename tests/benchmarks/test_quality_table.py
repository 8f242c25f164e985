"""Cells of the tables of quality.py."""

from quality_table import markdown


def test_cells_by_hand():
    values = {"AUC@5": 0.7512, "AUC@10": 0.5, "AUC@20": 0.25, "epipolar_precision@5e-4": 0.9, "matches": 812.4}
    row = {"set": "s", "benchmark": "relative_pose", "pairs": 3, "method": "m", "values": values,
           "spread": {"AUC@5": 0.0123, "AUC@10": 0.0, "matches": 0.0}}  # fmt: skip
    lines = markdown({"rows": [row], "skipped": {"x": "no weights"}}).splitlines()
    assert "| s (3) | m | 75.1 ± 1.2 | 50.0 | 25.0 | 90.0 | 812 |" in lines
    assert lines[-1] == "Left out: `x`: no weights"
    assert "exit layer" not in "".join(lines)  # no row has one
