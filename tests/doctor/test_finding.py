from photoglue.doctor.finding import ORDER, Finding, chosen


def finding(cause, confidence):
    return Finding(cause=cause, seen="seen", advice="do", command="photoglue", confidence=confidence, evidence={})


def causes(*found):
    return [each.cause for each in chosen([finding(*each) for each in found])]


def test_each_cause_has_its_place_once():
    from typing import get_args

    from photoglue.doctor.finding import Cause

    assert sorted(ORDER) == sorted(get_args(Cause))
    assert len(ORDER) == 20


def test_surer_first_and_graver_among_equals():
    assert causes(("tiny", 0.9), ("turned", 0.95), ("scale", 0.5)) == ["turned", "tiny", "scale"]
    assert causes(("turned", 0.55), ("tiny", 0.9)) == ["tiny", "turned"]


def test_at_most_three_and_each_cause_once():
    found = causes(("turned", 0.9), ("turned", 0.9), ("scale", 0.9), ("tiny", 0.9), ("few points", 0.9))
    assert found == ["turned", "scale", "tiny"]


def test_guesses_are_left_out_where_something_explains_the_pair():
    assert causes(("no overlap", 0.7), ("too large", 0.6)) == ["no overlap", "too large"]
    assert causes(("no overlap", 0.7), ("too large", 0.6), ("turned", 0.95)) == ["turned"]
    assert causes(("slow", 0.6), ("turned", 0.95)) == ["turned", "slow"]


def test_nothing_is_measured_in_wrong_coordinates():
    others = ("static border", 0.9), ("half precision", 0.9)
    assert causes(("coordinates", 0.95), *others) == ["coordinates", "half precision"]
    assert causes(("coordinates", 0.6), ("static border", 0.9)) == ["static border", "coordinates"]
