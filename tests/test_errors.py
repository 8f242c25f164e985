"""The errors are of the kinds that callers catch, and a missing package says how to get it."""

import pytest

from photoglue import errors

CAUGHT_AS = {
    errors.ShapeError: ValueError,
    errors.ConfigError: ValueError,
    errors.ImageError: OSError,
    errors.FeatureKindError: ValueError,
    errors.WeightsError: RuntimeError,
    errors.LicenceError: errors.WeightsError,
    errors.OutputError: OSError,
    errors.MissingExtra: ImportError,
}


@pytest.mark.parametrize("error", CAUGHT_AS, ids=lambda error: error.__name__)
def test_each_is_one_of_ours_and_one_of_pythons(error):
    for base in (errors.PhotoGlueError, CAUGHT_AS[error]):
        with pytest.raises(base, match="what came"):
            raise error("what came")


def test_no_error_is_left_out():
    """Of this test's table and of the tree in the module's docstring."""
    ours = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.PhotoGlueError) and value is not errors.PhotoGlueError
    }
    assert ours == set(CAUGHT_AS)
    assert {error.__name__ for error in ours if error.__name__ not in errors.__doc__} == set()


def test_a_package_that_is_there():
    assert errors.require("json.decoder", extra="store").JSONDecoder


def test_a_package_that_is_missing():
    with pytest.raises(errors.MissingExtra, match=r"'no_such_package'.*pip install 'photoglue\[store\]'") as caught:
        errors.require("no_such_package", extra="store")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_package_that_is_broken_says_why(tmp_path, monkeypatch):
    """It is there, but what it needs is not: the reason must not be lost."""
    (tmp_path / "broken_package.py").write_text("import what_it_needs\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(errors.MissingExtra, match=r"'broken_package'.*No module named 'what_it_needs'"):
        errors.require("broken_package", extra="geometry")


def test_a_warning_is_no_error():
    assert issubclass(errors.PhotoGlueWarning, UserWarning)
    assert not issubclass(errors.PhotoGlueWarning, errors.PhotoGlueError)
