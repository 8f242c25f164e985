"""A tiny run of map_labels.py, with a map that is right."""

import pytest
from rendered_map import write_map
from rendered_scene import write_scene

pytest.importorskip("cv2", exc_type=ImportError)


@pytest.mark.rare
def test_labels_of_a_map_without_errors_are_right(tmp_path, capsys, started):
    import map_labels

    write_scene(tmp_path / "data" / "wall", count=3)
    write_map(tmp_path / "maps" / "wall", count=3, photos=None, points=1000)
    started(map_labels, f"{tmp_path / 'data'} --features sift --keypoints 300 --out {tmp_path / 'maps'}")
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| wall | sift")]
    ((_, _, photos, pairs, matches, near, agreeing, _, _, unmatched, right),) = lines
    assert (photos, pairs) == ("3", "3")
    assert int(matches) > 50
    assert int(unmatched) > 50
    assert min(float(cell.strip(" |%")) for cell in (near, agreeing, right)) > 99
