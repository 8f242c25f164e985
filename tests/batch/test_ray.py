"""A cluster of Ray on this machine: the same stores as in one process, whatever dies meanwhile."""

import os
import signal
import sys
from itertools import combinations
from pathlib import Path

import pytest
import torch
from tiny_photos import Bright, assert_same_features, write_photo

from photoglue import batch
from photoglue.batch.ray import CHUNKS_AT_ONCE, _grouped
from photoglue.errors import ConfigError, MissingExtra
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.store import MatchStore

COUNT = 40


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two CPUs of this machine as a cluster, which ``Ray`` finds connected."""
    pytest.importorskip("h5py", exc_type=ImportError)
    ray = pytest.importorskip("ray", exc_type=ImportError)
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    helpers = str(Path(__file__).parents[1] / "helpers")
    paths = {"PYTHONPATH": os.pathsep.join([helpers, *sys.path])}
    options = {"include_dashboard": False, "log_to_driver": False, "object_store_memory": 80 << 20}
    ray.init("local", num_cpus=2, runtime_env={"env_vars": paths}, **options)
    yield ray
    ray.shutdown()


class Deadly(Bright):
    """Kills its process at the first photo of a chunk, once."""

    def __init__(self, once):
        super().__init__()
        self._once = str(once)

    def detect(self, images, masks=None):
        try:
            os.close(os.open(self._once, os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)
        except FileExistsError:
            pass
        return super().detect(images, masks)


@pytest.mark.rare
@pytest.mark.filterwarnings("ignore")
def test_stores_are_those_of_one_process_also_when_a_worker_is_killed(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(COUNT):
        write_photo(tmp_path / "photos" / f"{number:02}.png", number)
    (tmp_path / "photos" / "bad.png").write_text("not a photo")
    engine = batch.Ray(workers=2)
    told = []
    summary = batch.extract(
        "photos", "ray.h5", Deadly(tmp_path / "died"), engine=engine, progress=lambda *state: told.append(state)
    )
    alone = batch.extract("photos", "alone.h5", Deadly(tmp_path / "died"))
    assert (tmp_path / "died").exists()
    assert (summary.done, summary.failed) == (COUNT, alone.failed)
    assert list(summary.failed) == ["bad.png"]
    assert told[-1] == (COUNT + 1, COUNT + 1)
    assert_same_features(tmp_path / "ray.h5", tmp_path / "alone.h5")
    pairs = list(combinations([f"{number:02}.png" for number in range(9)], 2))
    for path, where in (("ray-m.h5", engine), ("alone-m.h5", batch.Inline())):
        assert batch.match(pairs, "alone.h5", path, NearestNeighbor(), engine=where).done == 36
    with MatchStore.open("ray-m.h5") as found, MatchStore.open("alone-m.h5") as wanted:
        for pair in pairs:
            assert found.made_from_pair(*pair) == wanted.made_from_pair(*pair)
            group, other = found._file["/".join(pair)], wanted._file["/".join(pair)]
            assert {name: item[()].tobytes() for name, item in group.items()} == {
                name: item[()].tobytes() for name, item in other.items()
            }
    again = batch.extract("photos", "ray.h5", Bright(), engine=engine)
    assert (again.done, again.kept) == (0, COUNT)


@pytest.mark.rare
@pytest.mark.filterwarnings("ignore")
def test_what_a_worker_raises_and_too_many_workers(cluster):
    with pytest.raises(ConfigError, match="this chunk is bad"):
        list(batch.Ray(workers=1).map(_fails, None, {"a": 1}))
    with pytest.raises(ConfigError, match="3 workers need as many CPUs, and the cluster has 2"):
        list(batch.Ray(workers=3).map(_fails, None, {"a": 1}))


def _fails(state, chunk):
    raise ConfigError("this chunk is bad")


def test_all_workers_get_something():
    chunks = [(str(i), i) for i in range(100)]
    for count, workers, size in ((100, 2, CHUNKS_AT_ONCE), (3, 2, 1), (20, 2, 5), (1, 8, 1)):
        groups = list(_grouped(chunks[:count], workers))
        assert [chunk for group in groups for chunk in group] == chunks[:count]
        assert len(groups[0]) == size


def test_bad_numbers_and_no_ray(monkeypatch):
    with pytest.raises(ConfigError, match="workers is 0; it must be at least 1"):
        batch.Ray(workers=0)
    with pytest.raises(ConfigError, match="The workers of Ray are for CPUs, and this is for meta"):
        batch.Ray(workers=1).checked_for(torch.device("meta"))
    monkeypatch.setitem(sys.modules, "ray", None)
    assert list(batch.Ray(workers=1).map(_fails, None, {})) == []
    with pytest.raises(MissingExtra, match=r"photoglue\[ray\]"):
        list(batch.Ray(workers=1).map(_fails, None, {"a": 1}))
