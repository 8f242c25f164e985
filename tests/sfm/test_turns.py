"""Photos that lie on their side or upside down: found, told, and mapped with the others."""

import json

import numpy as np
import PIL.Image
import pytest
from mapped_scene import PLACES, SIZE, Told, position_error, write

from photoglue import sfm
from photoglue.geometry.frames import StoredFrame
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.sfm.turns import Turns, groups_apart, told_turns
from photoglue.sfm.unplaced import PairRow
from photoglue.store import FeatureStore
from photoglue.structs import Features

pytest.importorskip("h5py", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)
pytest.importorskip("pycolmap", exc_type=ImportError)

CORNERS = [(0, 0), (-1, 0), (-1, -1), (0, -1)]
"""Row and column of the top left corner of a photo once it is turned by 0, 1, 2 and 3 quarters counterclockwise."""


class Upright(Told):
    """As Told, but descriptors of a turned photo are others; which corner is the top left one is seen by its colour."""

    def _features(self, image):
        quarters = int(np.argmax([float(image[0, row, column]) for row, column in CORNERS]))
        told = super()._features(image)
        frame = StoredFrame.of_turned(quarters, SIZE)
        return Features.from_arrays(
            frame.from_upright(told.keypoints),
            np.roll(told.descriptors.numpy(), quarters, axis=1),
            (image.shape[2], image.shape[1]),
            kind=self.kind,
        )


def write_turned(folder, turns):
    """Photos by number, each turned counterclockwise by quarters."""
    write(folder, *turns)
    for number, quarters in turns.items():
        path = folder / f"{number:03}.png"
        pixels = np.asarray(PIL.Image.open(path)).copy()
        pixels[0, 0] += 1
        PIL.Image.fromarray(np.rot90(pixels, quarters)).save(path)
    return folder


def mapped(folder, **options):
    told = []
    summary = sfm.map_photos(
        folder / "photos",
        folder / "out",
        sfm.MapOptions(**options),
        extractor=Upright(),
        matcher=NearestNeighbor(0.8),
        progress=lambda *state: told.append(state),
    )
    return summary, told


@pytest.mark.slow
def test_turned_photos_are_mapped_with_the_others(tmp_path):
    turns = {0: 0, 1: 0, 2: 1, 3: 0, 4: 2, 5: 0}
    write_turned(tmp_path / "photos", turns)
    summary, told = mapped(tmp_path)
    assert len(summary.model.placed) == 6
    assert position_error(summary.model.path) < 0.05
    said = "2 photos turned against the others, counterclockwise by 180°: 004.png; by 270°: 002.png"
    assert said in summary.notes
    assert ("turn", 2, 2) in told
    assert json.loads((tmp_path / "out" / "run.json").read_text())["turns"] == {"002.png": 3, "004.png": 2}
    with FeatureStore.open(tmp_path / "out" / "features.h5") as store:
        assert [store[f"{number:03}.png"].quarters for number in turns] == [0, 0, 3, 0, 2, 0]
        assert store["002.png"].image_size == SIZE[::-1]
    again, told = mapped(tmp_path)
    assert {"6 photos were there already", "15 pairs were there already", said} <= set(again.notes)
    assert "turn" not in {stage for stage, *_ in told}


def test_off_leaves_photos_as_they_are(tmp_path):
    write_turned(tmp_path / "photos", {0: 0, 1: 0, 2: 1, 3: 0})
    summary, told = mapped(tmp_path, rotation="off", mapper=None)
    assert sum(row.good for row in summary.pairs) == 3
    assert "turn" not in {stage for stage, *_ in told}


@pytest.mark.slow
def test_photos_of_something_else_are_looked_at_once(tmp_path):
    write_turned(tmp_path / "photos", {0: 0, 1: 0, 2: 0, PLACES: 0})
    _, told = mapped(tmp_path, mapper=None)
    assert ("turn", 1, 1) in told
    summary, told = mapped(tmp_path, mapper=None)
    assert "turn" not in {stage for stage, *_ in told}
    assert not any("turned" in note for note in summary.notes)


def test_a_group_has_one_turn(tmp_path):
    """Two groups that hang together among themselves: all photos of the smaller one are turned, all alike."""
    turns = {0: 0, 1: 0, 2: 0, 3: 3, 4: 3}
    photos = write_turned(tmp_path / "photos", turns)
    paths = {path.name: path for path in sorted(photos.iterdir())}
    names = list(paths)
    rows = [
        PairRow(name0=a, name1=b, matches=100, inliers=90 if turns[i] == turns[j] else 16, kind="uncalibrated")
        for i, a in enumerate(names)
        for j, b in enumerate(names)
        if i < j
    ]
    assert groups_apart(rows) == [("000.png", "001.png", "002.png"), ("003.png", "004.png")]
    finder = Turns(photos=paths, extractor=Upright(), matcher=NearestNeighbor(0.8))
    assert finder.find(rows) == {"003.png": 1, "004.png": 1}
    known = {"000.png": 1, "001.png": 1, "002.png": 1}  # by an older run; the others are turned to fit these
    assert finder.find(rows, known) == {**known, "003.png": 2, "004.png": 2}


@pytest.mark.parametrize(
    ("matches", "inliers", "connected"), [(400, 100, True), (98, 42, False), (60, 40, True), (29, 29, False)]
)
def test_few_inliers_among_many_matches_do_not_connect(matches, inliers, connected):
    """Of photos upside down against each other, some forty of a hundred matches may agree."""
    row = PairRow(name0="a", name1="b", matches=matches, inliers=inliers, kind="uncalibrated")
    assert groups_apart([row]) == ([("a", "b")] if connected else [("a",), ("b",)])


def test_what_is_told_of_many():
    assert told_turns({f"{i}.jpg": 1 for i in range(7)}) == (
        "7 photos turned against the others, counterclockwise by 90°: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, …"
    )
