"""`kill -9` at random moments, then the same again: nothing is lost or half written, and the result is the same."""

import pytest
from fuzzing import seeds
from long_jobs import (
    IN_PROCESSES,
    JOBS,
    OUT,
    again,
    begin_anew,
    contents,
    entries,
    left_over,
    moment,
)

pytestmark = pytest.mark.rare


@pytest.mark.parametrize("job", JOBS)
def test_killed_and_run_again_is_as_if_never_killed(commands, undisturbed, job, tries):
    folder, out = commands.folder, commands.folder / OUT
    whole, wanted = undisturbed(job)
    for number in seeds(2, 0.0005):
        begin_anew(folder)
        other = IN_PROCESSES[job] if number % 4 == 3 else []
        when = moment(number, whole.seconds, whole.changes)

        def killed_and_resumed(other=other, when=when, job=job):
            ended = commands(*JOBS[job], *other, **when)
            there = contents(out)
            kept = entries(out / "s.h5") if job == "extract" else 0
            resumed = commands(*again(job, folder))
            return ended, there, kept, resumed, contents(out)

        def check(result):
            ended, there, kept, resumed, after = result
            assert not ended.orphans, f"left processes {ended.orphans}"
            half = [name for name in there if there[name] != wanted.get(name)]
            assert not half, f"half written: {half}"
            assert resumed.code == 0, f"cannot go on: {resumed.printed[-300:]!r}"
            assert after.keys() == wanted.keys(), f"other files: {sorted(after.keys() ^ wanted.keys())}"
            assert after == wanted, f"other content: {[name for name in wanted if after[name] != wanted[name]]}"
            assert not left_over(out), f"left {left_over(out)}"
            assert not kept or f"{kept} photos were there already" in resumed.printed, f"{kept} were kept and are lost"

        tries(killed_and_resumed, f"{job}, kill {number} ({when})", check)
