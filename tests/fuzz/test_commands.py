"""Arguments of every command, sensible and not: the job is done (0), or one line says why not (1, 2)."""

import random
import shutil

import numpy as np
import PIL.Image
import pytest
from fuzzing import seeds

pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("h5py", exc_type=ImportError)

PHOTOS = ["a.jpg", "b.png", "gray.png", "tiny.png", "absent.jpg", "broken.jpg", "photos", "-dash.jpg", "text.txt", ""]
NUMBERS = ["1", "0", "-1", "64", "None", "1e3", "nan", "x", "99999999999999999999"]
OUTPUTS = ["m.json", "m.npz", "m.csv", "m", "m.xyz", "photos", "absent/m.json", "a" * 300 + ".json", "[x].json", "/"]
PICTURES = ["p.png", "p.svg", "p.txt", "absent/p.png", "photos"]
OPTIONS = {
    "match": {
        "--features": ["sift", "sift", "sift", "aliked", "nothing", ""],
        "--max-keypoints": NUMBERS,
        "--resize": NUMBERS,
        "--out": OUTPUTS,
        "--plot": PICTURES,
        "--plot-pruning": PICTURES,
        "--verify": ["homography", "fundamental", "essential", "x"],
        "--intrinsics": ["50", "50,50,32,24", "1,2", "x", "0", "nan,1,1,1"],
        "--threshold": NUMBERS,
        "--mask0": ["mask.png", "a.jpg", "absent.png", "photos"],
        "--matcher": ["nearest", "lightglue", "x"],
        "--preset": ["accurate", "realtime", "x"],
        "--weights": ["absent.pth", "text.txt", "a.jpg"],
        "--precision": ["float32", "bfloat16", "int3"],
        "--device": ["cpu", "cuda:7", "x"],
        "--allow-noncommercial": [],
    },
    "extract": {
        "--store": ["s.h5", "s.h5", "absent/s.h5", "photos", "text.txt", "a" * 300],
        "--features": ["sift", "sift", "x"],
        "--max-keypoints": NUMBERS,
        "--resize": NUMBERS,
        "--masks": ["masks", "absent", "a.jpg", "empty"],
        "--device": ["cpu", "x"],
    },
    "evaluate": {
        "--methods": ["sift+ratio", "sift+nearest", "x+y", "sift", ""],
        "--protocol": ["photoglue", "x"],
        "--out": ["runs", "a.jpg", "absent/deep/runs"],
        "--max-pairs": NUMBERS,
    },
    "weights": {"--to": ["fetched", "a.jpg"]},
}
POSITIONAL = {
    "match": lambda source: [source.choice(PHOTOS) for _ in range(source.choice([0, 1, 2, 2, 2, 2, 2, 3]))],
    "extract": lambda source: [source.choice(PHOTOS) for _ in range(source.choice([0, 1, 1, 2]))],
    "evaluate": lambda source: [source.choice(["evd", "photos", "absent", "a.jpg", "empty"])],
    "weights": lambda source: [source.choice(["list", "verify", "x", ""])],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder: good photos, and what else lies about."""
    values = np.random.default_rng(0)
    small = PIL.Image.fromarray(values.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((64, 48))
    small.save(tmp_path / "a.jpg")
    small.save(tmp_path / "-dash.jpg")
    small.rotate(5).save(tmp_path / "b.png")
    small.convert("L").save(tmp_path / "gray.png")
    PIL.Image.new("RGB", (1, 1)).save(tmp_path / "tiny.png")
    PIL.Image.new("L", (64, 48), 255).save(tmp_path / "mask.png")
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:200])
    (tmp_path / "text.txt").write_text("not an image")
    for name in ("photos", "masks", "empty"):
        (tmp_path / name).mkdir()
    shutil.copy(tmp_path / "a.jpg", tmp_path / "photos" / "a.jpg")
    shutil.copy(tmp_path / "mask.png", tmp_path / "masks" / "a.jpg.png")
    (tmp_path / "evd" / "cafe").mkdir(parents=True)
    for name in ("1.png", "2.png"):
        shutil.copy(tmp_path / "b.png", tmp_path / "evd" / "cafe" / name)
    (tmp_path / "evd" / "cafe" / "H_1_2").write_text("1 0 0\n0 1 0\n0 0 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments_of(number: int) -> list[str]:
    source = random.Random(number)
    command = source.choice(["match", "match", "match", "extract", "extract", "evaluate", "weights"])
    arguments = [command, *POSITIONAL[command](source)]
    options = OPTIONS[command]
    for name in source.sample(sorted(options), min(len(options), source.choice([0, 1, 1, 2, 3]))):
        arguments += [name, source.choice(options[name])] if options[name] else [name]
    for needed in ({"extract": "--store", "match": "--features"}.get(command),):
        if needed and needed not in arguments:
            arguments += [needed, options[needed][0]]
    return arguments


def complaints(arguments, code, printed, folder):
    """What is wrong with how a command ended; nothing if it ended well."""
    found = [f"says {sign!r}" for sign in ("Unexpected", "Traceback", "bug of PhotoGlue") if sign in printed]
    if code not in (0, 1, 2):
        found.append(f"exit code {code}")
    if code and not printed.strip():
        found.append("failed without a word")
    if code == 0 and "--out" in arguments and arguments[0] == "match":
        out = folder / arguments[arguments.index("--out") + 1]
        if not out.stat().st_size:
            found.append("wrote nothing")
    left = [path.name for path in folder.iterdir() if ".partial" in path.name and path.suffix != ".partial"]
    return found + [f"left {name}" for name in left]


def tidied(folder, before):
    for path in folder.iterdir():
        if path.name not in before:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.weights
@pytest.mark.rare
@pytest.mark.filterwarnings("ignore")
def test_every_command_ends_well(folder, capfd, as_a_user, not_enlarged, tries):
    from photoglue.cli import main

    before = {path.name for path in folder.iterdir()}
    for number in seeds(60, 0.03):
        arguments = arguments_of(number)
        what = f"command {number}: photoglue {' '.join(arguments)}"

        def run(arguments=arguments):
            try:
                return main(arguments)
            except SystemExit as ended:  # the parser's way
                return ended.code

        code = tries(run, what)
        printed = "".join(capfd.readouterr())
        tries.finds += [f"{what}: {it}: {printed[-300:]}" for it in complaints(arguments, code, printed, folder)]
        tidied(folder, before)
    assert tries.outcomes["accepted"] > 10
