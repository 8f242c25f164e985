"""Commands in processes that may be killed, have no room on the disk, or lose files while they run.

They are forked from a process that has imported everything: that takes milliseconds, and not seconds, each.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CHANGES_DISK = frozenset(
    ("write", "open", "truncate", "fsync", "mkdir", "rename", "replace", "unlink", "remove", "rmdir", "posix_fallocate",
     "sendfile", "copy_file_range", "close")
)  # fmt: skip
"""Before any of these builtin functions an action may happen, such as the process being killed."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    """The exit code; minus the signal if a signal ended it."""
    printed: str
    seconds: float
    changes: int
    """How often it was about to change something on the disk; 0 if it did not end by itself, or was not to count."""
    orphans: list[int]
    """Processes that it left behind and that did not end within a minute."""

    @property
    def complaint(self) -> str:
        """What is wrong with how it ended: not the job done, and not one line that says why. Empty: nothing."""
        signs = ("Unexpected", "Traceback", "bug of PhotoGlue", "Fatal", "Exception ignored", "Segmentation")
        errors = sum(line.startswith("error: ") for line in self.printed.splitlines())
        said = errors == 1 or (errors == 0 and "skipped: " in self.printed)
        well = self.code == 0 or (self.code == 1 and said)
        if well and not self.orphans and not any(sign in self.printed for sign in signs):
            return ""
        return f"exit code {self.code}, left processes {self.orphans}, printed {self.printed[-600:]!r}"


class Commands:
    """Starts commands; a context manager.

    Args:
        folder: The current folder of all of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> "Commands":
        self.process = subprocess.Popen(
            [sys.executable, __file__, self.folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()

    def __call__(
        self, *arguments: object, kill_after_s: float | None = None, at_change: int | None = None,
        action: tuple[str, ...] = ("kill",), largest_file: int | None = None,
    ) -> Ended:  # fmt: skip
        """Run `photoglue ARGUMENTS`.

        Args:
            arguments: Of the command line.
            kill_after_s: Kill it (SIGKILL) after so many seconds.
            at_change: Before it changes something on the disk for the so manieth time, do ``action``; 0: only count.
            action: ("kill",), ("unlink", FILE) or ("rename", FROM, TO).
            largest_file: No file may get larger, bytes.
        """
        request = {
            "arguments": [str(argument) for argument in arguments], "kill_after_s": kill_after_s,
            "at_change": at_change, "action": action, "largest_file": largest_file,
        }  # fmt: skip
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the process that starts the commands has died"
        return Ended(**json.loads(answer))


def _serve(folder: str) -> None:
    os.chdir(folder)
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        place = Path(tempfile.mkdtemp())
        start = time.monotonic()
        child = os.fork()
        if child == 0:
            _become(request, place)  # does not come back
        status = _wait(child, request["kill_after_s"])
        counted = place / "changes"
        answer = {
            "code": os.waitstatus_to_exitcode(status),
            "printed": (place / "printed").read_text(errors="replace") if (place / "printed").exists() else "",
            "seconds": time.monotonic() - start,
            "changes": int(counted.read_text()) if counted.exists() else 0,
            "orphans": _orphans(child),
        }
        shutil.rmtree(place)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _wait(child: int, kill_after_s: float | None) -> int:
    end = time.monotonic() + (300 if kill_after_s is None else kill_after_s)
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _become(request: dict, place: Path) -> None:
    """This process becomes the command."""
    os.setpgid(0, 0)
    output = os.open(place / "printed", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    if request["largest_file"] is not None:
        sys.dont_write_bytecode = True  # Python takes half a compiled module for a whole one, for ever
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"], resource.RLIM_INFINITY))
    changes = 0

    def about_to(_frame: object, event: str, function: object) -> None:
        nonlocal changes
        if event == "c_call" and getattr(function, "__name__", "") in CHANGES_DISK:
            changes += 1
            if changes == request["at_change"]:
                _act(*request["action"])

    from photoglue.cli import main

    if request["at_change"] is not None:  # it makes everything slower; 0 only counts
        sys.setprofile(about_to)
    try:
        code = main(request["arguments"])
    except SystemExit as ended:  # the parser's way
        code = ended.code
    finally:
        sys.setprofile(None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    (place / "changes").write_text(str(changes))
    sys.exit(code)


def _act(kind: str, *paths: str) -> None:
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif Path(paths[0]).exists():
        getattr(os, kind)(*paths)


def _orphans(group: int) -> list[int]:
    """The living processes of a group, after a minute in which they may end."""
    for _ in range(600):  # one that is still importing torch hears of it only then
        living = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            except OSError:  # it ended meanwhile
                continue
            if int(its_group) == group and state not in "ZX":
                living.append(int(path.parent.name))
        if not living:
            break
        time.sleep(0.1)
    return living


if __name__ == "__main__":
    import gc
    import importlib

    for name in ("photoglue.cli", "cv2", "h5py", "poselib", "matplotlib.figure", "tyro", "typeguard", "torch._dynamo"):
        importlib.import_module(name)
    gc.freeze()  # or each command, at its end, would spend a second on taking these modules to pieces
    _serve(sys.argv[1])
