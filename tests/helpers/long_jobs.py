"""Commands that work for long and may be interrupted, on photos so small that each takes a second; what they make."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import PIL.Image

OUT = "out"
"""The folder that all of them write to, and nothing else."""
JOBS = {
    "extract": [
        "extract", "photos", "--store", "out/s.h5", "--features", "sift", "--max-keypoints", 80, "--resize", "None",
    ],
    "match-pairs": [
        "match-pairs", "photos", "--features-store", "out/f.h5", "--store", "out/m.h5", "--features", "sift",
        "--max-keypoints", 80, "--resize", "None", "--matcher", "nearest",
    ],
    "evaluate": [
        "evaluate", "evd", "--methods", "sift+ratio", "sift+nn", "--protocol", "glue-factory", "--workers", 0, "--out",
        "out/runs",
    ],
    "train": [
        "train", "homography", "--images", "photos", "--features", "sift", "--model", "edge", "--views", 2,
        "--patch-size", 128, 96, "--difficulty", 0.2, "--keypoints", 16,
        "--pairs", 8, "--batch-size", 4, "--warmup-steps", 1, "--precision",
        "float32", "--workers", 0, "--build-workers", 0, "--save-every", 4, "--validate-every", 4, "--device", "cpu",
        "--out", "out/run",
    ],
}  # fmt: skip
"""By name, the arguments of a command."""
IN_PROCESSES = {
    "extract": ["--jobs", 1], "match-pairs": ["--jobs", 1], "evaluate": ["--workers", 1],
    "train": ["--workers", 1, "--build-workers", 1],
}  # fmt: skip
"""What has a command use other processes, too."""
TEMPORARY = (".partial", ".undo")


def write_inputs(folder: Path, astronaut: Path) -> Path:
    """The photos and the data set that the jobs work on."""
    (folder / "photos").mkdir()
    with PIL.Image.open(astronaut) as picture:
        for i in range(10):
            left, top = 30 * i, 25 * i
            picture.crop((left, top, left + 170, top + 165)).save(folder / "photos" / f"{i}.png")
        scene = folder / "evd" / "scene"
        scene.mkdir(parents=True)
        for i in range(1, 5):
            picture.crop((60 + 5 * i, 30 + 3 * i, 200 + 5 * i, 130 + 3 * i)).save(scene / f"{i}.png")
            (scene / f"H_1_{i}").write_text(f"1 0 {5 - 5 * i}\n0 1 {3 - 3 * i}\n0 0 1\n")
    (folder / OUT).mkdir()
    return folder


def again(job: str, folder: Path) -> list:
    """What a user types after an interruption: the same, or as training says."""
    return ["train", "resume", "out/run"] if job == "train" and (folder / "out/run/last.pt").exists() else JOBS[job]


def begin_anew(folder: Path) -> None:
    """Removes what jobs have made."""
    shutil.rmtree(folder / OUT)
    (folder / OUT).mkdir()


def contents(folder: Path) -> dict[str, object]:
    """What the finished files in a folder say, by path; all but times. A file that is not whole raises.

    Of files for people, and those that other files are made from, it is only said that they are there.
    """
    found: dict[str, object] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in TEMPORARY):
        if path.parent.name != "unfinished" and not path.name.startswith("events.out"):
            reader = {".h5": _stored, ".json": _json, ".safetensors": _tensors}.get(path.suffix, lambda _: None)
            found[path.relative_to(folder).as_posix()] = reader(path)
    return found


def left_over(folder: Path) -> list[str]:
    """What should have been cleaned up when all is done."""
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix in TEMPORARY or path.parent.name == "unfinished"
    ]


def entries(path: Path) -> int:
    """How many entries are safely in a store that is being filled, or was when its process was killed."""
    from photoglue.store import FeatureStore

    partial = path.with_name(path.name + ".partial")
    if not partial.exists():
        return 0
    copy = path.parent / f"copy-of-{path.name}"
    shutil.copyfile(partial, copy)
    log = partial.with_name(partial.name + ".undo")
    if log.exists():
        shutil.copyfile(log, copy.with_name(copy.name + ".undo"))
    try:
        with FeatureStore.open(copy) as store:
            return len(store.names())
    except Exception:  # noqa: BLE001  (it was killed before anything was committed)
        return 0
    finally:
        copy.unlink(missing_ok=True)
        copy.with_name(copy.name + ".undo").unlink(missing_ok=True)


def moment(number: int, seconds: float, changes: int) -> dict[str, float]:
    """When to interrupt a job that takes so long and changes the disk so often."""
    source = random.Random(number)
    if number % 2:
        return {"kill_after_s": seconds * source.random()}
    return {"at_change": source.randrange(1, changes + 1)}


def _stored(path: Path) -> dict[str, object]:
    import h5py

    found: dict[str, object] = {}

    def add(name: str, item: object) -> None:
        attributes = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
        values = [item.dtype.str, item[()].tobytes()] if isinstance(item, h5py.Dataset) else []
        found[name] = [attributes, values]

    with h5py.File(path, "r") as file:
        add("/", file)
        file.visititems(add)
    return found


def _json(path: Path) -> object:
    def timeless(value: object) -> object:
        if isinstance(value, dict):
            return {key: timeless(item) for key, item in value.items() if key not in ("match_s", "match time")}
        return [timeless(item) for item in value] if isinstance(value, list) else value

    return timeless(json.loads(path.read_text()))


def _tensors(path: Path) -> dict[str, bytes]:
    from safetensors.numpy import load_file

    return {name: array.tobytes() for name, array in load_file(path).items()}
