"""A tiny run of thresholds.py."""

import pytest


@pytest.mark.rare
def test_thresholds(posed, tmp_path, capsys, started):
    import thresholds

    started(
        thresholds,
        f"{posed / 'imb_reichstag'} --method sift+ratio --resize 256 512 --threshold-px 1 3 --seeds 2 "
        f"--out {tmp_path / 'out'}",
    )
    lines = capsys.readouterr().out.splitlines()
    assert "| long side | 1 px | 3 px |" in lines
    assert sum(line.startswith(("| 256 |", "| 512 |")) for line in lines) == 2
    single = [line for line in lines if line.startswith("| 0 | 0 |")]
    assert len(single) == 2
    assert all(line.split(" | ")[3] == "100%" for line in single)  # all matches lie on their epipolar lines
