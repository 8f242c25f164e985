"""No room, no permission, vanishing files: one line says why, what was there stays whole, with room it goes on."""

import random
import shutil
import subprocess

import pytest
from fuzzing import seeds
from long_jobs import JOBS, OUT, again, begin_anew, contents, left_over

pytestmark = pytest.mark.rare
LATER = ("8.png", "9.png")
"""Photos that are not there yet when a job first runs, where it is to find something from before."""
SINGLE = ["match", "photos/0.png", "photos/1.png", "--features", "sift", "--matcher", "nearest", "--resize", "None"]


def some(job, *in_ci):
    """Numbers of the inputs for a job; in CI one, and only for some jobs."""
    numbers = seeds(1 if job in in_ci else 0, 0.0005)
    return numbers or pytest.skip("only in the long run, for its time")


def started_before(commands, job):
    """Does a part of a job with room enough; what the finished files say then."""
    folder = commands.folder
    arguments = list(JOBS[job])
    if job == "evaluate":
        arguments.remove("sift+nn")
    if job == "train":
        return {}
    for name in LATER:
        (folder / "photos" / name).rename(folder / name)
    ended = commands(*arguments)
    for name in LATER:
        (folder / name).rename(folder / "photos" / name)
    assert ended.code == 0, ended.printed
    return contents(folder / OUT)


def largest(path):
    return max((file.stat().st_size for file in path.rglob("*") if file.is_file()), default=0)


def some_room(source, most):
    """Bytes, as often a few as many."""
    return int(2 ** source.uniform(9, most.bit_length()))


def whole_or_refused(result, before, wanted):
    """What was there is whole, and the same command, with room, makes all the rest."""
    ended, there, resumed, after, left = result
    assert not ended.complaint, ended.complaint
    for name, content in there.items():
        assert content in (before.get(name), wanted.get(name)), f"half written: {name}"
    assert before.keys() <= there.keys(), f"lost: {sorted(before.keys() - there.keys())}"
    assert resumed.code == 0, f"cannot go on: {resumed.printed[-300:]!r}"
    assert after == wanted, f"other content: {[name for name in wanted if after.get(name) != wanted[name]]}"
    assert not left, f"left {left}"


@pytest.mark.parametrize("job", JOBS)
def test_no_file_may_grow_further(commands, undisturbed, job, tries):
    folder, out = commands.folder, commands.folder / OUT
    _, wanted = undisturbed(job)
    most = {"train": 25 << 20}.get(job, 4 << 20)
    for number in seeds(1, 0.0005):
        begin_anew(folder)
        before = started_before(commands, job) if number % 2 else {}
        room = some_room(random.Random(number), most)

        def run(room=room):
            ended = commands(*JOBS[job], largest_file=room)
            there = contents(out)
            resumed = commands(*again(job, folder))
            return ended, there, resumed, contents(out), left_over(out)

        what = f"{job} {number}, files of at most {room} bytes"
        tries(run, what, lambda result, before=before: whole_or_refused(result, before, wanted))


@pytest.fixture
def small_disk(commands):
    """Mounts a disk of so many bytes as the folder of the results, or changes how it is mounted."""
    out = commands.folder / OUT

    def mount(*options):
        words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", out]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    if mount("size=1m").returncode:
        pytest.skip("a disk can be mounted by root alone, and not in every container")
    yield mount
    subprocess.run(["umount", "-l", out], check=False)


@pytest.mark.parametrize("job", JOBS)
def test_the_disk_is_full(commands, undisturbed, small_disk, job, tries):
    numbers = some(job, "extract")
    folder, out = commands.folder, commands.folder / OUT
    subprocess.run(["umount", "-l", out], check=True)
    _, wanted = undisturbed(job)
    for number in numbers:
        source = random.Random(number)
        begin_anew(folder)
        room = some_room(source, (60 << 20) if job == "train" else (6 << 20))
        small_disk("size=400m")
        before = started_before(commands, job) if source.random() < 0.5 else {}
        used = shutil.disk_usage(out).used
        small_disk("remount", f"size={(used + room) // 1024 + 4}k")

        def run():
            ended = commands(*JOBS[job])
            there = contents(out)
            small_disk("remount", "size=400m")
            resumed = commands(*again(job, folder))
            return ended, there, resumed, contents(out), left_over(out)

        what = f"{job} {number}, {room} bytes free"
        tries(run, what, lambda result, before=before: whole_or_refused(result, before, wanted))
        subprocess.run(["umount", "-l", out], check=True)
    small_disk("size=1m")


@pytest.mark.parametrize("job", ["extract", "evaluate"])
def test_a_read_only_folder(commands, small_disk, job):
    out = commands.folder / OUT
    subprocess.run(["umount", "-l", out], check=True)
    begin_anew(commands.folder)
    small_disk("size=400m")
    before = started_before(commands, job)
    small_disk("remount", "ro")
    ended = commands(*JOBS[job])
    assert ended.code == 1
    assert not ended.complaint
    assert contents(out) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["extract", "photos", "--features", "sift", "--store", "photos/0.png/s.h5"],
        ["evaluate", "evd", "--methods", "sift+nn", "--workers", 0, "--out", "photos/0.png"],
        ["evaluate", "evd", "--methods", "sift+nn", "--workers", 0, "--out", "photos/0.png/runs"],
        [*JOBS["train"][:-1], "photos/0.png/run"],
        [*JOBS["train"][:-1], "photos/0.png"],
        [*SINGLE, "--out", "photos/0.png/m.json"],
        [*SINGLE, "--plot", "photos/0.png/p.png"],
    ],
    ids=lambda arguments: f"{arguments[0]}-{arguments[-1]}",
)
def test_a_file_where_a_folder_is_wanted(commands, arguments):
    ended = commands(*arguments)
    assert ended.code == 1
    assert not ended.complaint


@pytest.mark.parametrize("output", [("--out", "m.json"), ("--out", "m.npz"), ("--out", "m.csv"), ("--plot", "p.png")])
def test_a_match_without_room_leaves_what_was_there(commands, output):
    begin_anew(commands.folder)
    option, name = output
    path = commands.folder / OUT / name
    path.write_text("from before")
    ended = commands(*SINGLE, option, path, largest_file=200)
    assert ended.code == 1
    assert not ended.complaint
    assert path.read_text() == "from before"
    assert [other.name for other in path.parent.iterdir()] == [name]
    assert commands(*SINGLE, option, path).code == 0
    assert path.read_bytes() != b"from before"


VANISHING = {
    "extract": [("unlink", "photos/9.png"), ("unlink", "out/s.h5.partial"), ("rename", "photos", "aside")],
    "match-pairs": [("unlink", "out/f.h5"), ("unlink", "out/m.h5.partial"), ("rename", "photos", "aside")],
    "evaluate": [("unlink", "evd/scene/4.png"), ("rename", "evd", "aside"), ("rename", "out/runs", "aside")],
    "train": [("unlink", "photos/9.png"), ("unlink", "out/run/cache.h5"), ("rename", "out/run", "aside")],
}


@pytest.mark.parametrize("job", JOBS)
def test_files_that_vanish_meanwhile(commands, undisturbed, job, tries):
    numbers = some(job, "extract", "evaluate")
    folder, out = commands.folder, commands.folder / OUT
    whole, wanted = undisturbed(job)
    inputs = folder.parent / "inputs"
    shutil.copytree(folder, inputs, dirs_exist_ok=True)
    for number in numbers:
        begin_anew(folder)
        source = random.Random(1000 + number)
        action, moment = source.choice(VANISHING[job]), source.randrange(1, whole.changes + 1)

        def run(action=action, moment=moment):
            ended = commands(*JOBS[job], at_change=moment, action=action)
            aside = folder / "aside"
            if aside.exists():  # whoever moved it brings it back
                shutil.rmtree(folder / action[1], ignore_errors=True)
                aside.rename(folder / action[1])
            for place in ("photos", "evd"):
                shutil.copytree(inputs / place, folder / place, dirs_exist_ok=True)
            return ended, commands(*again(job, folder)), contents(out)

        def check(result, action=action):
            ended, resumed, after = result
            assert not ended.complaint, ended.complaint
            if job == "train" and action[0] == "unlink":  # the cache is of other photos now: it is refused, or kept
                assert not resumed.complaint, resumed.complaint
                return
            assert resumed.code == 0, f"cannot go on: {resumed.printed[-300:]!r}"
            assert after == wanted, f"other content: {[name for name in wanted if after.get(name) != wanted[name]]}"

        tries(run, f"{job} {number}, {action} at change {moment}", check)
