"""A tiny run of adaptivity.py."""

import pytest


@pytest.mark.weights
@pytest.mark.rare
def test_adaptivity(posed, tmp_path, capsys, started):
    pytest.importorskip("matplotlib", exc_type=ImportError)
    import adaptivity

    (tmp_path / "images").mkdir()
    page = tmp_path / "quality.md"
    page.write_text("".join(f"<!-- {name}: begin -->\n<!-- {name}: end -->\n" for name in ("adaptivity", "sweep")))
    started(
        adaptivity,
        f"--data {posed} --sets imb_reichstag --out {tmp_path / 'out'} --threads 1 --cpu-time --every 1 "
        f"--sweep-every 1 --depths off 0.5 --widths off --docs {tmp_path}",
    )
    text = page.read_text()
    assert "1 of 1 pairs" in text
    assert "| all | 1 | " in text
    rows = {line.split(" | ")[0]: line.split(" | ")[1:] for line in text.splitlines() if line.startswith("| depth")}
    assert rows.keys() == {"| depth off, width off", "| depth 0.5, width off"}
    assert rows["| depth off, width off"][1] == "9.0"
    assert float(rows["| depth 0.5, width off"][1]) < 9
    assert (tmp_path / "images" / "tradeoff.png").stat().st_size < 60_000
    assert "photoglue" in capsys.readouterr().out


def test_adaptivity_names_sets_that_are_missing(posed):
    import adaptivity

    with pytest.raises(SystemExit, match="no pairs of entry, fountain"):
        adaptivity.known_poses(posed, ["imb_reichstag", "fountain", "entry"])
