"""The command line as a user meets it."""

import sys

import pytest


@pytest.fixture
def cli(capsys):
    """Run a command; gives (exit code, standard output, standard error)."""

    def run(*arguments):
        from photoglue.cli import main

        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as left:
            code = left.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture(autouse=True)
def _own_imports(monkeypatch):
    """Each test finds the modules of the tests before it gone."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "corners", raising=False)
