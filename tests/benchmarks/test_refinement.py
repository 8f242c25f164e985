"""A tiny run of refinement.py."""

import pytest


@pytest.mark.rare
def test_refinement(posed, tmp_path, capsys, started):
    import refinement

    started(refinement, f"{posed / 'imb_reichstag'} --methods sift+nn --seeds 1 --out {tmp_path / 'out'}")
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| imb_reichstag (1)")]
    assert len(rows) == 4
    assert rows[0].split(" | ")[-2:] == ["0 %", "– |"]
    assert float(rows[1].split(" | ")[7]) < 0.1
