"""The tree of errors, and the door to optional packages."""

import pytest

from photoglue import errors


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("ShapeError", ValueError),
        ("ConfigError", ValueError),
        ("ImageError", OSError),
        ("FeatureKindError", ValueError),
        ("WeightsError", RuntimeError),
        ("LicenceError", errors.WeightsError),
        ("OutputError", OSError),
        ("MissingExtra", ImportError),
    ],
)
def test_every_error_is_ours_and_the_builtin_that_it_stands_for(name, builtin):
    error = getattr(errors, name)
    assert issubclass(error, errors.PhotoGlueError)
    assert issubclass(error, builtin)
    assert str(error("what came, what was wanted, what to do")) == "what came, what was wanted, what to do"


def test_the_table_in_the_text_is_complete():
    ours = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.PhotoGlueError)
    ]
    assert len(ours) == 9
    assert all(error.__name__ in errors.__doc__ for error in ours)


def test_a_missing_package_comes_with_the_command_that_installs_it():
    with pytest.raises(errors.MissingExtra, match=r"'absent_package'.*pip install 'photoglue\[viz\]'"):
        errors.require("absent_package", extra="viz")
    assert errors.require("json", extra="viz").loads("1") == 1
