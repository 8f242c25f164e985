"""Tiny runs of quality.py."""

import argparse
import json
import shutil

import pytest

PAGE = "# T\n\n<!-- quality: begin -->\nold\n<!-- quality: end -->\n\nafter\n"


@pytest.mark.rare
def test_quality_is_written_and_not_measured_twice(planar, tmp_path, monkeypatch, capsys, started):
    import quality

    page = tmp_path / "quality.md"
    page.write_text(PAGE)
    options = (
        f"--data {planar} --out {tmp_path / 'out'} --sets evd --methods sift+ratio --processes 1 --docs {tmp_path}"
    )
    started(quality, options)
    report = json.loads((tmp_path / "quality.json").read_text())
    (row,) = report["rows"]
    assert (row["set"], row["method"], row["pairs"]) == ("evd", "sift+ratio", 2)
    assert row["values"]["AUC@5"] > 0.8
    assert row["cpu_s"] > 0
    assert report["protocols"]["homography"]["seeds"] == 5
    text = page.read_text()
    assert "| evd (2) | sift+ratio |" in text
    assert "old" not in text
    assert text.startswith("# T\n\n<!-- quality: begin -->\n")
    assert text.endswith("<!-- quality: end -->\n\nafter\n")
    monkeypatch.setattr(quality, "measure_all", None)  # would fail if it were called
    started(quality, options)
    assert json.loads((tmp_path / "quality.json").read_text())["rows"] == [row]
    capsys.readouterr()


@pytest.mark.rare
def test_quality_in_processes(planar, tmp_path, capsys, started):
    """Two sets in two processes give what they give one after the other."""
    import quality

    shutil.copytree(planar / "evd", planar / "oxford_affine")
    rows = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        (folder / "quality.md").write_text(PAGE)
        options = f"--data {planar} --sets evd oxford_affine --methods sift+ratio sift+nn --out {folder / 'out'}"
        started(quality, f"{options} --processes {processes} --docs {folder}")
        report = json.loads((folder / "quality.json").read_text())
        assert all(row.pop("cpu_s") > 0 for row in report["rows"])
        rows.append(report["rows"])
    assert rows[0] == rows[1]
    assert [(row["set"], row["method"]) for row in rows[1]] == [
        (name, method) for name in ("evd", "oxford_affine") for method in ("sift+ratio", "sift+nn")
    ]
    capsys.readouterr()


def test_quality_splits_the_work_into_parts_without_a_common_file(planar, tmp_path):
    import quality

    names = ["sift+nn", "aliked+nn", "official", "opencv", "aliked+nn@float32"]
    args = argparse.Namespace(data=planar, sets=["evd"], methods=names, max_pairs=1, out=tmp_path / "out")
    groups = quality.groups_of(args, names)
    # The official code gets the features that ours in float32 has.
    assert [group.names for group in groups] == [("aliked+nn", "official", "opencv", "aliked+nn@float32"), ("sift+nn",)]
    assert len({group.ledger for group in groups}) == 2
    assert [len(group.dataset.pairs) for group in groups] == [1, 1]


def test_quality_has_full_depth_by_default_only_for_poses(planar, posed, tmp_path):
    import quality

    names = ["aliked+lightglue", "aliked+nn"]
    for data, name, expected in ((planar, "evd", names[1:]), (posed, "imb_reichstag", names)):
        args = argparse.Namespace(data=data, sets=[name], methods=None, max_pairs=None, out=tmp_path / "out")
        (group,) = quality.groups_of(args, names)
        assert list(group.names) == expected
        args.methods = names
        assert list(quality.groups_of(args, names)[0].names) == names


@pytest.mark.rare
def test_quality_leaves_out_what_it_would_have_to_download(planar, tmp_path, monkeypatch, capsys, started):
    import quality

    from photoglue import weights

    monkeypatch.setattr(weights, "locate", lambda record: None)
    started(
        quality,
        f"--data {planar} --out {tmp_path / 'out'} --sets evd --methods sift+lightglue sift+nn --processes 1 "
        "--peers transformers-lightglue kornia-loftr",
    )
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if line.startswith("left out: sift+lightglue"))
    assert line.endswith("are not on this machine")
    assert "| evd (2) | sift+nn |" in printed
    for peer in ("transformers-lightglue", "kornia-loftr"):
        assert f"left out: {peer}: " in printed


def test_unrelated_pairs_are_of_different_places(tmp_path):
    import PIL.Image
    import quality

    for place in ("evd/graf", "oxford_affine/graf", "evd/cat", "boat"):
        for i in range(3):
            path = tmp_path / place / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.new("RGB", (20, 10)).save(path)
    dataset = quality.unrelated(tmp_path)
    pairs = {frozenset(pair.scene.split(" | ")) for pair in dataset.pairs}
    assert len(pairs) == len(dataset.pairs) == 5  # six pairs of four places, without the one place shown twice
    assert frozenset({"evd/graf", "oxford_affine/graf"}) not in pairs
    assert len({pair.name0 for pair in dataset.pairs}) > 3  # not always the first photo
    assert len(quality.unrelated(tmp_path, 2).pairs) == 2
