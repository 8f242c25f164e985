"""What every fuzz test asks: does it give a right result, or one error of this package that says why not."""

from collections import Counter
from functools import cache

import pytest


class Tries:
    """Counts what came of all inputs, and fails at the end with everything that it found."""

    def __init__(self):
        self.finds = []
        self.tried = 0
        self.outcomes = Counter()

    def __call__(self, action, what, check=None):
        """Run it: what it gives, or None if it refuses in one line. ``check`` raises if the result is wrong."""
        from photoglue.errors import PhotoGlueError

        self.tried += 1
        try:
            result = action()
        except PhotoGlueError as error:
            self.outcomes["refused"] += 1
            if len(str(error)) < 10 or "\n" in str(error).strip():
                self.finds.append(f"{what}: the error is not one line that says something: {error!r}")
            return None
        except Exception as error:  # noqa: BLE001
            self.finds.append(f"{what}: {type(error).__name__}: {error}")
            return None
        self.outcomes["accepted"] += 1
        try:
            if check is not None:
                check(result)
        except AssertionError as error:
            self.finds.append(f"{what}: wrong result: {str(error).splitlines()[0] if str(error) else 'see check'}")
        return result


@pytest.fixture
def tries(request):
    counter = Tries()
    yield counter
    name, found = request.node.name, len(counter.finds)
    refused, accepted = counter.outcomes["refused"], counter.outcomes["accepted"]
    # Finds may be among those that were accepted.
    line = f"{name}: tried {counter.tried}, refused {refused}, accepted {accepted}, finds {found}"
    request.node.user_properties.append(("fuzz", line))
    listed = f"{found} finds in {counter.tried} inputs:\n" + "\n".join(counter.finds[:20])
    if found:
        pytest.fail(listed)


@pytest.fixture(scope="session")
def commands(tmp_path_factory, astronaut):
    """Runs commands in processes of their own, in a folder with photos and a data set."""
    from commands_apart import Commands
    from long_jobs import write_inputs

    for package in ("cv2", "h5py", "poselib"):
        pytest.importorskip(package, exc_type=ImportError)
    with Commands(write_inputs(tmp_path_factory.mktemp("commands"), astronaut)) as started:
        yield started


@pytest.fixture(scope="session")
def undisturbed(commands):
    """How a job ends that nothing disturbs, and what it makes, by its name."""
    from long_jobs import JOBS, OUT, begin_anew, contents

    @cache
    def run(job):
        begin_anew(commands.folder)
        ended = commands(*JOBS[job], at_change=0)
        assert ended.code == 0, ended.printed
        return ended, contents(commands.folder / OUT)

    return run


def pytest_terminal_summary(terminalreporter):
    """A line for each test, and one for all."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind if hasattr(report, "when")]
    properties = [report.user_properties for report in reports if report.when == "teardown"]
    lines = sorted(line for each in properties for name, line in each if name == "fuzz")
    if lines:
        counts = Counter()
        for line in lines:
            for part in line.rpartition(": ")[2].split(", "):
                word, number = part.split()
                counts[word] += int(number)
        terminalreporter.section("fuzz")
        terminalreporter.write_line("\n".join(lines))
        terminalreporter.write_line("all: " + ", ".join(f"{word} {number}" for word, number in counts.items()))
