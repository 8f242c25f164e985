"""What every fuzz test asks: does it give a right result, or one error of this package that says why not."""

from collections import Counter

import pytest

PENDING = False
"""Until what has been found is mended, finds are printed and fail nothing."""


class Tries:
    """Counts what came of all inputs, and fails at the end with everything that it found."""

    def __init__(self):
        self.finds = []
        self.outcomes = Counter()

    def __call__(self, action, what, check=None):
        """Run it: what it gives, or None if it refuses in one line. ``check`` raises if the result is wrong."""
        from photoglue.errors import PhotoGlueError

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
def tries():
    counter = Tries()
    yield counter
    tried = sum(counter.outcomes.values()) + len(counter.finds)
    print(f"tried {tried}: {dict(counter.outcomes)}, finds: {len(counter.finds)}")
    if counter.finds and not PENDING:
        pytest.fail(f"{len(counter.finds)} finds in {tried} inputs:\n" + "\n".join(counter.finds[:20]))
