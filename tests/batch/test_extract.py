"""Many photos into one file: resumed = uninterrupted, what changed is noticed, and bad photos stop nobody."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from tiny_photos import Bright, assert_same_features, write_photo

from photoglue import batch
from photoglue.errors import ConfigError, ImageError, OutputError
from photoglue.store import FeatureStore

h5py = pytest.importorskip("h5py", exc_type=ImportError)
COUNT = 20


@pytest.fixture
def photos(tmp_path):
    for number in range(COUNT):
        write_photo(tmp_path / "photos" / f"{number % 3}" / f"{number:02}.png", number, (32, 24 + number % 2))
    return tmp_path / "photos"


@pytest.fixture
def store(tmp_path):
    return tmp_path / "feats.h5"


@pytest.mark.slow
def test_each_photo_gets_what_it_would_get_alone(photos, store):
    told = []
    summary = batch.extract(photos, store, Bright(), progress=lambda *state: told.append(state))
    assert (summary.done, summary.kept, summary.failed, summary.again) == (COUNT, 0, {}, {})
    assert summary.lines() == [f"20 photos, {summary.size} points → {store}"]
    assert told[0] == (0, COUNT)
    assert told[-1] == (COUNT, COUNT)
    with FeatureStore.open(store) as opened:
        assert opened.names() == sorted(str(path.relative_to(photos)) for path in photos.rglob("*.png"))
        assert sum(len(opened[name]) for name in opened.names()) == summary.size
        for name in opened.names():
            alone = Bright().extract(photos / name)
            assert torch.equal(opened[name].keypoints, alone.keypoints)
            assert torch.equal(opened[name].descriptors, alone.descriptors)


def test_what_is_up_to_date_is_left_alone(photos, store):
    batch.extract(photos, store, Bright())
    before = store.stat().st_mtime_ns, store.read_bytes()
    os.utime(photos / "0/00.png", ns=(1, 1))  # the time is not the content
    extractor = Bright()
    summary = batch.extract(photos, store, extractor)
    assert (summary.done, summary.kept, extractor.batches) == (0, COUNT, [])
    assert summary.lines()[1] == "20 photos were there already"
    assert (store.stat().st_mtime_ns, store.read_bytes()) == before


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tiny_photos import Bright
from photoglue import batch

def die(done, count):
    if done >= 16:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    batch.extract(sys.argv[2], sys.argv[3], Bright(), progress=die)
"""


@pytest.mark.slow
def test_killed_and_resumed_is_the_same_as_not_interrupted(photos, store, tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    helpers = Path(__file__).parents[1] / "helpers"
    done = subprocess.run([sys.executable, tmp_path / "killed.py", helpers, photos, store], check=False)
    assert done.returncode == -9
    assert not store.exists()
    extractor = Bright()
    summary = batch.extract(photos, store, extractor)
    assert (summary.kept, summary.done, sum(extractor.batches)) == (16, 4, 4)
    batch.extract(photos, tmp_path / "whole.h5", Bright())
    assert_same_features(store, tmp_path / "whole.h5")
    assert sorted(path.name for path in tmp_path.glob("*.h5*")) == ["feats.h5", "whole.h5"]


def test_a_photo_that_was_replaced_is_noticed(photos, store):
    batch.extract(photos, store, Bright())
    for number, name in enumerate(("0/00.png", "1/01.png", "2/02.png")):
        status = (photos / name).stat()
        write_photo(photos / name, 100 + number, (32, 24 + number % 2))
        os.utime(photos / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    write_photo(photos / "new.png", 200)
    extractor = Bright()
    summary = batch.extract(photos, store, extractor)
    assert (summary.done, summary.kept, dict(summary.again)) == (4, COUNT - 3, {"replaced since": 3})
    assert "3 photos replaced since: extracted again" in summary.lines()
    assert sum(extractor.batches) == 4
    with FeatureStore.open(store) as opened:
        assert torch.equal(opened["1/01.png"].keypoints, Bright().extract(photos / "1/01.png").keypoints)


def test_a_mask_that_changed_is_noticed(photos, store, tmp_path):
    masks = tmp_path / "masks"
    black_left = np.ones((24, 32), np.uint8) * 255
    black_left[:, :16] = 0
    for name in ("0/00.png", "2/02.png"):
        (masks / name).parent.mkdir(parents=True)
        PIL.Image.fromarray(black_left).save(masks / f"{name}.png")
    batch.extract(photos, store, Bright(), masks=masks)
    with FeatureStore.open(store) as opened:
        assert opened["0/00.png"].keypoints[:, 0].min() >= 16
        assert opened["1/01.png"].keypoints[:, 0].min() < 16
    PIL.Image.fromarray(255 - black_left).save(masks / "0/00.png.png")  # another
    (masks / "2/02.png.png").unlink()  # none any more
    PIL.Image.fromarray(np.pad(black_left, ((0, 1), (0, 0)))).save(masks / "0/03.png.png")  # one where there was none
    summary = batch.extract(photos, store, Bright(), masks=masks)
    assert dict(summary.again) == {"whose mask changed": 3}
    with FeatureStore.open(store) as opened:
        assert opened["0/00.png"].keypoints[:, 0].max() < 16
        assert opened["2/02.png"].keypoints[:, 0].min() < 16
        assert opened["0/03.png"].keypoints[:, 0].min() >= 16
    moved = {"0/00.png": shutil.copy(masks / "0/00.png.png", tmp_path / "m.png"), "0/03.png": masks / "0/03.png.png"}
    assert batch.extract(photos, store, Bright(), masks=moved).kept == COUNT  # what counts is what is in it


def test_masks_that_fit_no_photo_are_refused(photos, store, tmp_path):
    with pytest.raises(ConfigError, match=r"There is no folder of masks '.*absent'"):
        batch.extract(photos, store, Bright(), masks=tmp_path / "absent")
    write_photo(tmp_path / "masks" / "00.png", 0)
    with pytest.raises(ConfigError, match=r"None of the 20 photos has a mask .* '0/00\.png' would be '0/00\.png\.png"):
        batch.extract(photos, store, Bright(), masks=tmp_path / "masks")
    assert not store.exists()


@pytest.mark.parametrize(
    ("extractor", "options", "message"),
    [
        (lambda: Bright(replace(Bright().config, max_keypoints=30)), {}, "max_keypoints: 20 there, 30 now"),
        (lambda: Bright(replace(Bright().config, nms_radius=2)), {}, "nms_radius: 0 there, 2 now"),
        (lambda: Bright(weight=2.0), {}, r"weights: '\w+' there, '\w+' now"),
        (Bright, {"turned": True}, "turned: 'absent' there, True now"),
    ],
)
def test_other_options_and_weights_are_refused_and_named(photos, store, extractor, options, message):
    batch.extract(photos, store, Bright())
    before = store.read_bytes()
    with pytest.raises(ConfigError, match=rf"made with other options \({message}\)\. Give another path"):
        batch.extract(photos, store, extractor(), options=options)
    assert store.read_bytes() == before


def test_bad_photos_are_reported_and_the_others_go_on(photos, store):
    good = (photos / "0/00.png").read_bytes()
    (photos / "0/01.jpg").write_bytes(b"no photo")
    (photos / "0/02.png").write_bytes(good[: len(good) // 2])
    os.mkfifo(photos / "pipe.png")
    (photos / os.fsdecode(b"caf\xe9.png")).write_bytes(good)
    write_photo(photos / ".hidden.png", 0)
    summary = batch.extract(photos, store, Bright())
    assert (summary.done, summary.hidden) == (COUNT, 1)
    assert summary.failed.keys() == {"0/01.jpg", "0/02.png", "pipe.png", r"caf\xe9.png"}
    assert "is not an image that can be read" in summary.failed["0/01.jpg"]
    assert "damaged or cut off" in summary.failed["0/02.png"]
    assert summary.lines()[-1] == "1 hidden files and folders were left out"
    (photos / "0/02.png").write_bytes(good)
    again = batch.extract(photos, store, Bright())
    assert (again.done, again.kept, len(again.failed)) == (1, COUNT, 3)


def test_a_photo_that_is_gone_or_became_unreadable_is_reported(photos, store):
    names = {path.name: path for path in sorted(photos.rglob("*.png"))}
    batch.extract(names, store, Bright())
    names["00.png"].unlink()
    names["01.png"].write_bytes(b"no photo")
    summary = batch.extract(names, store, Bright())
    assert (summary.kept, summary.done, summary.again) == (COUNT - 2, 0, {})
    assert summary.failed.keys() == {"00.png", "01.png"}


def test_photos_without_points(photos, store):
    write_photo(photos / "black.png", None)
    summary = batch.extract([photos / "black.png", photos / "0"], store, Bright())
    assert summary.done == 8
    with FeatureStore.open(store) as opened:
        assert len(opened["black.png"]) == 0
        assert opened["black.png"].descriptors.shape == (0, 2)
    assert batch.extract([photos / "black.png", photos / "0"], store, Bright()).kept == 8


def test_damaged_entries_are_made_again(photos, store):
    batch.extract(photos, store, Bright())
    with h5py.File(store, "a") as file:
        del file["0/00.png/descriptors"]
    summary = batch.extract(photos, store, Bright())
    assert summary.lines()[-1] == "1 photo damaged in the file: extracted again"
    with FeatureStore.open(store) as opened:
        assert len(opened["0/00.png"]) == 20


def test_entries_of_earlier_and_later_versions_are_made_again(photos, store):
    """Of the earlier ones it cannot be known whether their photos are still the same."""
    batch.extract(photos, store, Bright())
    old = {"features": "bright", "max_keypoints": 20, "resize": None, "masks": None}
    import json

    with h5py.File(store, "a") as file:
        file.attrs["options"] = json.dumps(old)
        del file["0/00.png"].attrs["made_from"]
        file["1/01.png"].attrs["made_from"] = json.dumps({"version": 0})
    summary = batch.extract(photos / "..", store, Bright())
    assert summary.done == COUNT  # under other names: those of the earlier ones stay
    summary = batch.extract(photos, store, Bright())
    assert (summary.kept, summary.done) == (COUNT - 2, 2)
    assert summary.lines()[2:] == [
        "1 photo stored by another version: extracted again",
        "1 photo without a record of what it was made from: extracted again",
    ]


@pytest.mark.slow
def test_processes_give_the_same(photos, store, tmp_path):
    (photos / "0/bad.png").write_bytes(b"no photo")
    inline = batch.extract(photos, store, Bright())
    several = batch.extract(photos, tmp_path / "several.h5", Bright(), engine=batch.Processes(workers=2))
    assert replace(several, path=store) == inline
    assert_same_features(store, tmp_path / "several.h5")


def test_processes_are_for_cpus(photos, store):
    with pytest.raises(ConfigError, match="workers of Processes are for CPUs, and this is for meta"):
        batch.extract(photos, store, Bright().to("meta"), engine=batch.Processes(workers=2))


def test_nothing_to_extract(tmp_path, store):
    with pytest.raises(ImageError, match="There is no file or folder"):
        batch.extract(tmp_path / "absent", store, Bright())
    with pytest.raises(ConfigError, match="There are no photos below"):
        batch.extract(tmp_path, store, Bright())
    assert not store.exists()


FULL = """
import resource, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from tiny_photos import Bright
from photoglue import batch
from photoglue.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (1_100_000, 1_100_000))
try:
    batch.extract(sys.argv[2], sys.argv[3], Bright())
except OutputError as error:
    print(error)
"""


@pytest.mark.rare
def test_a_full_disk_is_an_error_and_what_was_done_is_kept(photos, store, tmp_path):
    """A limit on the size of files stands for a full disk."""
    (tmp_path / "full.py").write_text(FULL)
    helpers = Path(__file__).parents[1] / "helpers"
    done = subprocess.run(
        [sys.executable, tmp_path / "full.py", helpers, photos, store], capture_output=True, text=True, check=True
    )
    assert "feats.h5.partial' cannot grow by 1 MiB" in done.stdout
    assert not store.exists()
    summary = batch.extract(photos, store, Bright())
    assert summary.kept > 0
    assert summary.kept + summary.done == COUNT
    batch.extract(photos, tmp_path / "whole.h5", Bright())
    assert_same_features(store, tmp_path / "whole.h5")


def test_a_store_that_is_something_else_is_refused(photos, store):
    store.write_text("no HDF5")
    with pytest.raises(OutputError, match="is not an HDF5 file"):
        batch.extract(photos, store, Bright())
