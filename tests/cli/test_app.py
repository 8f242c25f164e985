"""From arguments to a command, and from an error to one line and an exit code."""

import pytest


class TestGeneral:
    def test_version(self, cli):
        from photoglue import __version__

        code, out, _ = cli("--version")
        assert code == 0
        assert out.startswith(f"photoglue {__version__} · torch ")

    @pytest.mark.parametrize("command", ["match", "extract", "weights", "demo", "bench"])
    def test_help(self, cli, command):
        code, out, _ = cli(command, "--help")
        assert code == 0
        assert "usage: photoglue" in out

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("wrong", "hint"), [("--max-keypoint", "--max-keypoints"), ("--feature", "--features"), ("--verfy", "--verify")]
    )
    def test_unknown_options_are_errors_with_a_suggestion(self, cli, wrong, hint):
        code, out, err = cli("match", "a.jpg", "b.jpg", wrong, "100")
        assert code == 2
        assert hint in out + err

    def test_no_command(self, cli):
        assert cli()[0] == 2

    def test_errors_are_one_line_and_debug_shows_more(self, cli):
        code, out, err = cli("match", "absent.jpg", "b.jpg")
        assert code == 1
        assert out == ""
        assert err.strip().splitlines() == ["error: There is no file 'absent.jpg'."]
        code, _, err = cli("match", "absent.jpg", "b.jpg", "--debug")
        assert code == 1
        assert "Traceback" in err
        assert "photoglue/image.py" in err


def test_flags_need_no_value():
    """As the README and the messages write them."""
    from photoglue.cli.app import parse

    assert parse(["match", "a", "b", "--allow-noncommercial"]).allow_noncommercial is True
    assert parse(["match", "a", "b"]).allow_noncommercial is False


def test_what_the_system_refuses_is_no_bug_of_photoglue(cli):
    code, _, err = cli("match", "x" * 300 + ".jpg", "b.jpg")
    assert code == 1
    assert err.strip().endswith("File name too long.")
    assert "bug" not in err
