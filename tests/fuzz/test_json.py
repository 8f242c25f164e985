"""JSON that somebody edited, in files of their own and inside others: it is read, or one error says what is wrong."""

import json
import random

import numpy as np
import pytest
import torch
from fuzzing import edited, seeds

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("as_a_user")]


def tries_all(tries, document, path, read, *, check=None, least_refused=0.3):
    """Reads a file with each edited document; most must be refused, and some be read."""
    numbers = seeds(60, 0.01)
    for number in numbers:
        path.write_text(json.dumps(edited(document, random.Random(number))))
        tries(lambda: read(path), f"{path.name} {number}", check)
    assert tries.outcomes["refused"] >= least_refused * len(numbers)


def is_result(result):
    from photoglue.evaluation.results import Result

    assert isinstance(result, Result)
    assert all(isinstance(value, float) for value in result.values.values())
    assert all(isinstance(record.name0, str) for record in result.records)


def test_evaluation_results(tmp_path, tries, make):
    from photoglue.evaluation.results import PairRecord, Result, read_result, write_result

    path = tmp_path / "result.json"
    records = [PairRecord(scene="a", name0="1.png", name1=f"{i}.png", values={"pose_error_deg": 0.5}) for i in (2, 3)]
    result = Result(
        benchmark="relative_pose", dataset="d", method="m", card=make.card(versions={"torch": "2"}),
        values={"AUC@5": 0.5}, scenes={"a": {"AUC@5": 0.5}}, records=tuple(records), images="/images",
    )  # fmt: skip
    write_result(result, path)
    tries_all(tries, json.loads(path.read_text()), path, read_result, check=is_result)


def test_cameras_of_a_data_set(tmp_path, tries, plain):
    from photoglue.datasets.layouts import load_dataset

    path = plain / "cameras.json"
    tries_all(tries, json.loads(path.read_text()), path, lambda _: load_dataset(plain), check=has_finite_poses)


def test_cameras_of_a_scene_to_train_on(tmp_path, tries):
    from tiny_training import write_flat_scene

    from photoglue.datasets.scenes import read_scene

    scene = write_flat_scene(tmp_path / "scene")
    path = scene / "cameras.json"
    tries_all(tries, json.loads(path.read_text()), path, lambda _: read_scene(scene))


def test_pairs_of_a_data_set(tmp_path, tries, make):
    from photoglue.datasets.layouts import load_dataset

    matrix = make.matrix(50, 19.5, 14.5).tolist()
    for i in range(3):
        make.image(tmp_path / "images" / f"{i}.png", seed=i)
    rows = [
        {"image0": "0.png", "image1": f"{i}.png", "K0": matrix, "K1": matrix, "T_0to1": make.pose().tolist()}
        for i in (1, 2)
    ]
    tries_all(tries, rows, tmp_path / "pairs.json", lambda _: load_dataset(tmp_path), check=has_finite_poses)


def has_finite_poses(dataset):
    for pair in dataset.pairs:
        assert np.isfinite(pair.truth.cam1_from_cam0).all()
        rotation = pair.truth.cam1_from_cam0[:3, :3]
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-2)


def test_recipe_of_a_run(tmp_path, tries):
    from photoglue.files import as_json, from_json
    from photoglue.training import RECIPES, HomographyRecipe
    from photoglue.training.folder import RECIPE, RunRecord, read_record, write_record

    record = RunRecord(name="homography", recipe=as_json(HomographyRecipe(images=tmp_path)), started_from="random")
    (tmp_path / "last.pt").touch()
    write_record(tmp_path, record)

    def read(path):
        found = read_record(tmp_path)
        return from_json(RECIPES["homography"], found.recipe, origin=repr(str(path)))

    tries_all(tries, json.loads((tmp_path / RECIPE).read_text()), tmp_path / RECIPE, read)


def test_checkpoint_of_a_run(tmp_path, tries):
    """Its structure is a dictionary as that of JSON."""
    from photoglue import LightGlueShape
    from photoglue.training import TrainingConfig
    from photoglue.training.checkpoint import Checkpoint, Position, load_checkpoint, save_checkpoint

    path = tmp_path / "last.pt"
    whole = Checkpoint(
        config=TrainingConfig(pairs=8), network=LightGlueShape(input_dim=4), position=Position(step=1), model={},
        averaged=None, optimizer={}, scaler=None, random={},
    )  # fmt: skip
    save_checkpoint(whole, path)
    content = torch.load(path, weights_only=True)
    content |= {name: json.loads(content[name]) for name in ("config", "network")}
    for number in seeds(60, 0.01):
        odd = edited(content, random.Random(number))
        if isinstance(odd, dict):
            odd |= {name: json.dumps(odd[name]) for name in ("config", "network") if isinstance(odd.get(name), dict)}
        torch.save(odd, path)
        tries(lambda: load_checkpoint(path), f"checkpoint {number}")
    assert tries.outcomes["refused"] > 20


def test_metrics_of_a_run(tmp_path, tries):
    from photoglue.training.log import METRICS, RunLog

    rows = [{"kind": kind, "pairs": 4 * i, "loss": 0.5} for i, kind in enumerate(("train", "validation", "skipped"))]
    for number in seeds(60, 0.01):
        lines = edited(rows, random.Random(number))
        lines = lines if isinstance(lines, list) else [lines]
        (tmp_path / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
        tries(lambda: RunLog(tmp_path, pairs=4, tensorboard=False).close(), f"metrics {number}")


def test_journal_of_an_evaluation(tmp_path, tries):
    """Lines that make no sense are measured again; numbers that are not those that were measured are not used."""
    from photoglue.evaluation.journal import Journal

    rows = [{"run": {"method": "m"}}, *({"pair": i, "values": [{"pose_error_deg": 1.5}]} for i in range(3))]
    path = tmp_path / "run.jsonl"

    def read():
        with Journal(path, {"method": "m"}) as journal:
            return journal.done

    def check(done):
        for pair, values in done.items():
            assert isinstance(pair, int)
            assert all(isinstance(value, float) for each in values for value in each.values())

    for number in seeds(60, 0.01):
        lines = edited(rows, random.Random(number))
        lines = lines if isinstance(lines, list) else [lines]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        tries(read, f"journal {number}", check)


def test_calibration_of_weights(tmp_path, tries):
    from photoglue.files import as_json, from_json
    from photoglue.matchers.lightglue.verdict import VERDICTS, PairVerdict

    def read(path):
        return from_json(PairVerdict, path.read_text(), origin=str(path))

    def check(verdict):
        assert np.isfinite([verdict.offset, verdict.evidence, verdict.calibration.slope]).all()

    tries_all(tries, as_json(VERDICTS["aliked"]), tmp_path / "verdict.json", read, check=check)


@pytest.mark.slow
def test_options_and_records_inside_stores(tmp_path, tries):
    h5py = pytest.importorskip("h5py", exc_type=ImportError)
    from tiny_photos import Bright, write_photo

    from photoglue import batch
    from photoglue.store import FeatureStore

    write_photo(tmp_path / "photos" / "a.png", 1)
    store = tmp_path / "s.h5"
    batch.extract(tmp_path / "photos", store, Bright())
    with FeatureStore.open(store) as opened:
        wanted = opened["a.png"]
    attributes = (("/", "options"), ("a.png", "made_from"), ("/", "version"), ("/", "format"), ("a.png", "kind"))
    whole = store.read_bytes()
    for number in seeds(60, 0.01):
        source = random.Random(number)
        store.write_bytes(whole)
        group, name = source.choice(attributes)
        with h5py.File(store, "r+") as file:
            old = file[group].attrs.get(name)
            if name in ("options", "made_from"):
                new = json.dumps(edited(json.loads(old), source))
            else:
                new = source.choice([-1, 2.5, "x", "", 99, [1, 2], np.zeros((2, 2)), b"\xff", "9" * 40])
            file[group].attrs[name] = new

        def run():
            summary = batch.extract(tmp_path / "photos", store, Bright())
            with FeatureStore.open(store) as opened:
                return summary, opened["a.png"]

        def check(result):
            summary, features = result
            assert not summary.failed
            assert torch.equal(features.keypoints, wanted.keypoints)
            assert torch.equal(features.descriptors, wanted.descriptors)

        tries(run, f"store {number}, {name} of {group!r}: {new!r:.80}", check)
    assert tries.outcomes["refused"] > 5


def test_arrays_of_other_kinds_in_a_store(tmp_path, tries):
    """Other types, lengths and numbers, as another program may write them."""
    h5py = pytest.importorskip("h5py", exc_type=ImportError)
    from photoglue.store import FeatureStore

    path = tmp_path / "s.h5"
    for number in seeds(60, 0.01):
        source = random.Random(number)
        values = np.random.default_rng(number)
        n = source.choice([0, 1, 5])
        arrays = {
            "keypoints": values.random((n, 2)), "descriptors": values.random((4, n)), "scores": values.random(n),
            "image_size": np.array([30, 20]),
        }  # fmt: skip
        name = source.choice(list(arrays))
        array = arrays[name]
        arrays[name] = source.choice(
            [array[..., None], array[:-1], array.astype("S5"), array.astype(complex), array * np.nan, array.T,
             array.astype(np.int8), array > 0, np.float32(3), array.astype(np.float16), -array, array * 1e300]
        )  # fmt: skip
        with h5py.File(path, "w") as file:
            for key, item in arrays.items():
                file.create_dataset(f"a.jpg/{key}", data=item)

        def read():
            with FeatureStore.open(path) as store:
                return store["a.jpg"]

        def check(features):
            assert features.keypoints.shape == (len(features), 2)
            assert len(features.descriptors) == len(features.scores) == len(features)

        tries(read, f"arrays {number}, {name}", check)
    assert tries.outcomes["refused"] > 10
