"""What all stores share: files that are whole, and errors that say what to do."""

import signal
import subprocess
import sys

import pytest
import torch

from photoglue.errors import ConfigError, MissingExtra, OutputError, PhotoGlueWarning
from photoglue.store import FeatureStore, MatchStore, atomic_store
from photoglue.store.file import UNFINISHED
from photoglue.store.undo import UndoableFile
from photoglue.structs import Features

h5py = pytest.importorskip("h5py", exc_type=ImportError)

OPTIONS = {"extractor": "aliked", "config": {"max_keypoints": 2048, "resize": 1024}, "sizes": (1, 2)}


def _features(value=1.0, n=5):
    return Features(
        keypoints=torch.full((n, 2), value), descriptors=torch.rand(n, 8), scores=torch.rand(n), image_size=(640, 480)
    )


def _python(code):
    """A process that runs ``code`` and prints when it is ready."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    return process


def test_the_root_says_what_the_file_is_and_what_made_it(tmp_path):
    path = tmp_path / "features.h5"
    with FeatureStore.open(path, "w", options=OPTIONS) as store:
        assert store.options == {**OPTIONS, "sizes": [1, 2]}
    with h5py.File(path) as file:
        assert file.attrs["format"] == "photoglue-features"
        assert file.attrs["version"] == 1
        assert '"max_keypoints": 2048' in file.attrs["options"]
    assert not store._file  # the context manager closed it


def test_adding_keeps_what_is_there_and_beginning_anew_does_not(tmp_path):
    path = tmp_path / "features.h5"
    for mode, name, wanted in (("w", "a", ["a"]), ("a", "b", ["a", "b"]), ("w", "c", ["c"])):
        with FeatureStore.open(path, mode) as store:
            store.write(name, _features())
            assert store.names() == wanted


def test_other_options_are_refused_and_named(tmp_path):
    path = tmp_path / "features.h5"
    FeatureStore.open(path, "w", options=OPTIONS).close()
    FeatureStore.open(path, "a", options=OPTIONS).close()
    other = {"extractor": "disk", "config": {"max_keypoints": 4096, "resize": 1024}, "sizes": [1, 2], "fast": True}
    wanted = (
        r"config\.max_keypoints: 2048 there, 4096 now; extractor: 'aliked' there, 'disk' now; fast: 'absent' there, "
        r"True now\)\. Give another path, or remove the file\."
    )
    for mode in ("r", "a"):
        with pytest.raises(ConfigError, match=wanted):
            FeatureStore.open(path, mode, options=other)
    # The refused file is closed again and untouched.
    FeatureStore.open(path, "a", options=OPTIONS).close()


def test_an_unfinished_group_is_never_seen_and_is_cleaned_up(tmp_path):
    path = tmp_path / "features.h5"
    with FeatureStore.open(path, "w") as store:
        store.write("whole", _features())
    with h5py.File(path, "a") as file:  # what a process leaves that ends in the middle of writing
        file.create_group(UNFINISHED)["keypoints"] = [[0.0, 0.0]]
    with FeatureStore.open(path) as store:
        assert store.names() == ["whole"]
    FeatureStore.open(path, "a").close()
    with h5py.File(path) as file:
        assert list(file) == ["whole"]


def test_a_write_that_fails_leaves_the_old_group(tmp_path, monkeypatch):
    path = tmp_path / "features.h5"
    with FeatureStore.open(path, "w") as store:
        store.write("a", _features(1.0))
        create = h5py.Group.create_dataset

        def full(group, name, **kwargs):
            if name == "scores":
                raise OSError("No space left on device")
            return create(group, name, **kwargs)

        monkeypatch.setattr(h5py.Group, "create_dataset", full)
        with pytest.raises(OutputError, match=r"'a' cannot be written to .*disk full.*No space left on device"):
            store.write("a", _features(2.0))
        monkeypatch.undo()
        assert float(store["a"].keypoints[0, 0]) == 1.0
        store.write("a", _features(3.0))
        assert float(store["a"].keypoints[0, 0]) == 3.0
        assert store.names() == ["a"]


@pytest.mark.rare
def test_a_killed_process_loses_nothing_that_it_had_written(tmp_path):
    path = tmp_path / "features.h5"
    process = _python(f"""
import torch
from photoglue.store import FeatureStore, atomic_store
from photoglue.structs import Features
with atomic_store({str(path)!r}, {{"a": 1}}, FeatureStore) as store:
    for i in range(100_000):
        n = 500
        store.write(f"db/{{i}}.jpg", Features(keypoints=torch.full((n, 2), float(i)), descriptors=torch.rand(n, 128),
                                              scores=torch.rand(n), image_size=(640, 480)))
        if i == 20:
            print("ready", flush=True)
""")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not path.exists()
    with atomic_store(path, {"a": 1}, FeatureStore) as store:
        names = store.names()
        assert {f"db/{i}.jpg" for i in range(21)} <= set(names)
        for name in names:
            features = store[name]
            assert len(features) == 500
            assert bool((features.keypoints == float(name[3:-4])).all())
        store.write("last", _features())
    with FeatureStore.open(path) as store:
        assert store.names() == [*names, "last"]


@pytest.mark.rare
@pytest.mark.parametrize("limit", [90, 2_000_000])
def test_a_store_that_cannot_grow_is_an_error_and_not_the_end_of_the_process(tmp_path, limit):
    """A limit on the size of files stands for a full disk. What was written before is still there."""
    path = tmp_path / "features.h5"
    code = f"""
import resource, sys, torch
sys.dont_write_bytecode = True
from photoglue.errors import OutputError
from photoglue.store import FeatureStore
from photoglue.structs import Features
print("ready", flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
features = Features(keypoints=torch.ones(300, 2), descriptors=torch.ones(300, 128), scores=torch.ones(300),
                    image_size=(640, 480))
written = 0
for _ in range(2):
    try:
        with FeatureStore.open({str(path)!r}, "a") as store:
            while True:
                store.write(f"{{written}}.jpg", features)
                written += 1
    except OutputError as error:
        print(written, error, flush=True)
"""
    process = _python(code)
    with process:  # communicate() with a timeout would lose what was read with "ready"
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    assert process.returncode == 0
    assert len(lines) == 2
    assert all("features.h5" in line for line in lines)
    written = int(lines[0].split()[0])
    assert (written > 0) == (limit > 1_200_000)
    if written:
        assert "cannot grow by 1 MiB: File too large. Make room and run the same again" in lines[0]
        with FeatureStore.open(path) as store:
            assert len(store.names()) == written
            assert all(bool((store[name].keypoints == 1).all()) for name in store.names())


def test_what_a_group_was_made_from_can_be_recorded(tmp_path):
    with FeatureStore.open(tmp_path / "features.h5", "w") as store:
        store.write("a", _features(), made_from={"photo": "12ab", "sizes": (1, 2)})
        store.write("b", _features())
        assert store.made_from("a") == {"photo": "12ab", "sizes": [1, 2]}
        assert store.made_from("b") is None


@pytest.mark.slow
def test_a_file_in_use_by_another_process_is_left_alone(tmp_path):
    path = tmp_path / "features.h5"
    process = _python(f"""
import sys, time
from photoglue.store import FeatureStore, atomic_store
with atomic_store({str(path)!r}, {{}}, FeatureStore) as store:
    print("ready", flush=True)
    time.sleep(60)
""")
    try:
        with (
            pytest.raises(OutputError, match=r"h5\.partial' is in use by another process: wait for it"),
            atomic_store(path, {}, FeatureStore),
        ):
            pass
        assert path.with_name("features.h5.partial").exists()
    finally:
        process.kill()
        process.communicate()


def test_an_atomic_store_appears_when_it_is_done(tmp_path):
    path = tmp_path / "features.h5"
    with atomic_store(path, OPTIONS, FeatureStore) as store:
        store.write("a", _features())
        assert not path.exists()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["features.h5"]
    with FeatureStore.open(path) as store:
        assert store.names() == ["a"]


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    path = tmp_path / "features.h5"
    with pytest.raises(KeyboardInterrupt), atomic_store(path, OPTIONS, FeatureStore) as store:
        store.write("a", _features())
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["features.h5.partial"]
    with atomic_store(path, OPTIONS, FeatureStore) as store:
        assert store.names() == ["a"]
        store.write("b", _features())
    assert [file.name for file in tmp_path.iterdir()] == ["features.h5"]


def test_a_finished_store_is_added_to_on_a_copy(tmp_path):
    path = tmp_path / "features.h5"
    with atomic_store(path, OPTIONS, FeatureStore) as store:
        store.write("a", _features())
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), atomic_store(path, OPTIONS, FeatureStore) as store:
        assert store.names() == ["a"]
        store.write("b", _features())
        raise KeyboardInterrupt
    assert path.read_bytes() == before
    with atomic_store(path, OPTIONS, FeatureStore) as store:
        assert store.names() == ["a", "b"]
    with FeatureStore.open(path) as store:
        assert store.names() == ["a", "b"]


@pytest.mark.parametrize("left", ["features.h5", "features.h5.partial"])
def test_a_store_made_with_other_options_is_not_added_to(tmp_path, left):
    FeatureStore.open(tmp_path / left, "w", options=OPTIONS).close()
    before = (tmp_path / left).read_bytes()
    with (
        pytest.raises(
            ConfigError, match=rf"{left}' was made with other options \(extractor: 'aliked' there, 'disk' now"
        ),
        atomic_store(tmp_path / "features.h5", {**OPTIONS, "extractor": "disk"}, FeatureStore),
    ):
        pass
    assert (tmp_path / left).read_bytes() == before
    with atomic_store(tmp_path / "features.h5", {"extractor": "disk"}, FeatureStore, overwrite=True) as store:
        assert store.names() == []
    assert [file.name for file in tmp_path.iterdir()] == ["features.h5"]


def test_an_unreadable_rest_begins_anew_with_a_warning(tmp_path):
    path = tmp_path / "features.h5"
    with FeatureStore.open(path, "w", options=OPTIONS) as store:
        store.write("a", _features())
    (tmp_path / "features.h5.partial").write_bytes(path.read_bytes()[:2000])  # a copy that was cut off
    with (
        pytest.warns(PhotoGlueWarning, match=r"h5\.partial', left by an interrupted run, cannot be read"),
        atomic_store(path, OPTIONS, FeatureStore) as store,
    ):
        assert store.names() == ["a"]


def test_a_rest_to_which_nothing_was_committed_is_no_rest(tmp_path):
    """A process was killed between making the file and its first commit."""
    path = tmp_path / "features.h5"
    killed = UndoableFile(tmp_path / "features.h5.partial", "x+b")
    killed._file.close()
    killed._log.close()
    assert (tmp_path / "features.h5.partial.undo").exists()
    with atomic_store(path, OPTIONS, FeatureStore) as store:  # a warning would be an error
        store.write("a", _features())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["features.h5"]


@pytest.mark.parametrize("length", [245, 300])
def test_a_name_that_is_too_long_is_said_to_be(tmp_path, length):
    with (
        pytest.raises(OutputError, match="File name too long"),
        atomic_store(tmp_path / ("a" * length), {}, FeatureStore),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_names_that_are_no_text_are_damage(tmp_path):
    path = tmp_path / "features.h5"
    with FeatureStore.open(path, "w") as store:
        store.write("abcdefgh", _features())
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcd\xffefg"))
    with FeatureStore.open(path) as store, pytest.raises(OutputError, match="is damaged"):
        store.names()


@pytest.mark.parametrize("odd", [[1, 2], b"\xff", 7.5])
def test_a_format_that_is_no_text_is_another_format(tmp_path, odd):
    path = tmp_path / "features.h5"
    FeatureStore.open(path, "w").close()
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = odd
    with pytest.raises(OutputError, match="'photoglue-features' was wanted"):
        FeatureStore.open(path)


@pytest.mark.parametrize("store", [FeatureStore, MatchStore])
def test_files_that_cannot_be_opened_say_why(tmp_path, store):
    (tmp_path / "text.h5").write_text("this is not HDF5")
    (tmp_path / "empty.h5").touch()
    store.open(tmp_path / "good.h5", "w", options={"long": "x" * 3000}).close()
    (tmp_path / "cut.h5").write_bytes((tmp_path / "good.h5").read_bytes()[:1500])
    for name in ("text.h5", "empty.h5", "cut.h5"):
        with pytest.raises(OutputError, match=rf"{name}' is not an HDF5 file, or it is damaged .*Move it away"):
            store.open(tmp_path / name, "r")
    with pytest.raises(OutputError, match=r"There is no file '.*none\.h5'"):
        store.open(tmp_path / "none.h5")
    with pytest.raises(OutputError, match="is a folder"):
        store.open(tmp_path, "a")
    for mode in ("a", "w"):
        with pytest.raises(OutputError, match=r"there is no folder '.*absent'\. Create it first"):
            store.open(tmp_path / "absent" / "new.h5", mode)
    with (
        pytest.raises(OutputError, match=r"text\.h5' is not an HDF5 file"),
        atomic_store(tmp_path / "text.h5", {}, store),
    ):
        pass
    assert (tmp_path / "text.h5").read_text() == "this is not HDF5"


def test_a_file_of_another_kind_or_a_later_version_is_refused(tmp_path):
    MatchStore.open(tmp_path / "matches.h5", "w").close()
    with pytest.raises(OutputError, match=r"holds 'photoglue-matches'; 'photoglue-features' was wanted"):
        FeatureStore.open(tmp_path / "matches.h5", "a")
    with h5py.File(tmp_path / "matches.h5", "a") as file:
        file.attrs["version"] = 2
    with pytest.raises(OutputError, match=r"format version 2, and this PhotoGlue knows 1\. Update it"):
        MatchStore.open(tmp_path / "matches.h5")


def test_writing_to_a_store_that_is_open_to_read_says_so(tmp_path):
    FeatureStore.open(tmp_path / "a.h5", "w").close()
    with FeatureStore.open(tmp_path / "a.h5") as store, pytest.raises(OutputError, match="is it open to write"):
        store.write("a", _features())


def test_a_missing_h5py_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"photoglue\[store\]"):
        FeatureStore.open(tmp_path / "a.h5", "w")
