"""What an entry was made from against what it would be made from now, and what a summary says."""

from pathlib import Path

import pytest

from photoglue.batch.filling import OTHER_VERSION, UNRECORDED, Summary, compared

WORDS = {"photo": "replaced since", "mask": "whose mask changed"}
NOW = {"version": 1, "photo": "12", "mask": None}


@pytest.mark.parametrize(
    ("recorded", "why"),
    [
        (NOW, None),
        (None, UNRECORDED),
        ({}, OTHER_VERSION),
        ({**NOW, "version": 2}, OTHER_VERSION),
        ({**NOW, "photo": "34"}, "replaced since"),
        ({**NOW, "mask": "56"}, "whose mask changed"),
        ({**NOW, "photo": "34", "mask": "56"}, "replaced since"),
    ],
)
def test_compared(recorded, why):
    assert compared(recorded, NOW, WORDS) == why


def test_lines_of_a_summary():
    summary = Summary(
        path=Path("f.h5"), what="photo", done=6, size=100, kept=1, again={"replaced since": 1}, failed={"a": "bad"}
    )
    assert summary.lines() == [
        "6 photos, 100 points → f.h5",
        "1 photo was there already",
        "1 photo replaced since: extracted again",
    ]
