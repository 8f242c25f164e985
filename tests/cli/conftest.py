"""Running a command, and a small pair of real photos for it."""

import PIL.Image
import pytest


@pytest.fixture
def cli(capsys):
    """Run a command; gives (exit code, standard output, standard error)."""

    def run(*arguments):
        from photoglue.cli import main

        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as left:  # tyro leaves on its own after help and unknown options
            code = left.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def small(motorcycle, tmp_path, not_enlarged):
    """The demo pair at half its size, for speed, whatever the size that is asked for."""
    paths = []
    for path in motorcycle:
        paths.append(tmp_path / path.name)
        with PIL.Image.open(path) as picture:
            picture.resize((picture.width // 2, picture.height // 2), PIL.Image.Resampling.LANCZOS).save(paths[-1])
    return paths
