"""tests/ mirrors src/photoglue/, and the rule that says so catches what is missing."""

import pytest
from tests.house.mirror import ELSEWHERE, faults, faults_of_the_checkout, files_of_tests, home_of, modules_and_rooms


def test_tests_mirror_the_package():
    found = faults_of_the_checkout()
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("new", ["matchers/lightglue/new.py", "cli/new.py", "cli/train/new.py"])
def test_a_new_file_without_tests_is_caught(new):
    """Each of these rooms is full of tests, and none of them bears the name of the new file."""
    modules, rooms = modules_and_rooms()
    tests = files_of_tests()
    before = faults(modules, tests, ELSEWHERE, rooms)
    [fault] = set(faults([*modules, new], tests, ELSEWHERE, rooms)) - set(before)
    assert fault.startswith(f"{new}: write tests/{home_of(new)}")
    assert faults([*modules, new], [*tests, home_of(new)], ELSEWHERE, rooms) == before
    assert faults([*modules, new], tests, {**ELSEWHERE, new: tests[0]}, rooms) == before


def test_a_file_of_the_same_name_in_another_room_does_not_count():
    [missing, stray] = faults(["a/x.py"], ["b/test_x.py"], {})
    assert missing.startswith("a/x.py: write tests/a/test_x.py")
    assert stray.startswith("tests/b/test_x.py: no module has this name")


def test_a_folder_of_the_same_name_does_not_count():
    [missing] = faults(["x.py", "x/y.py"], ["x/test_y.py"], {})
    assert missing.startswith("x.py: write tests/test_x.py")


def test_entries_of_the_table_have_to_be_needed_and_true():
    table = {"a.py": "test_b.py", "c.py": "test_gone.py", "gone.py": "test_b.py"}
    assert [
        fault.partition(";")[0] for fault in faults(["a.py", "b.py", "c.py"], ["test_a.py", "test_b.py"], table)
    ] == [
        "a.py: tests/test_a.py exists",
        "c.py: there is no tests/test_gone.py",
        "gone.py: there is no such module",
    ]


def test_packages():
    """One that defines something is tested under its own name; one that does not may be."""
    assert home_of("cli/train/__init__.py") == "cli/train/test_train.py"
    assert len(faults(["a/__init__.py"], [], {})) == 1
    assert faults(["a/__init__.py"], ["a/test_a.py"], {}) == []
    assert faults([], ["a/test_a.py"], {}, rooms=["a/__init__.py"]) == []


def test_more_tests_of_a_module_lie_beside_it():
    assert faults(["a/x.py"], ["a/test_x.py", "a/test_x_on_photos.py", "house/test_y.py"], {}) == []
    assert len(faults(["a/x.py"], ["a/test_x_on_photos.py"], {})) == 1
    assert len(faults(["a/x.py"], ["a/test_x.py", "a/test_xy.py"], {})) == 1
