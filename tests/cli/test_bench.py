"""`photoglue bench`: what it prints, writes and advises."""

import json
import re

import PIL.Image
import pytest
import torch


@pytest.fixture
def few(monkeypatch):
    """Few points and small photos, for speed."""
    from photoglue.cli import bench

    monkeypatch.setattr(bench, "POINTS", (64, 128))
    monkeypatch.setattr(bench, "SIDES", (256, 128))


@pytest.mark.weights
class TestCommand:
    @pytest.mark.slow
    def test_tables_and_json(self, cli, few, motorcycle, tmp_path):
        pytest.importorskip("skimage", exc_type=ImportError)
        out = tmp_path / "bench.json"
        code, printed, err = cli("bench", "--quick", "--batch-size", 2, "--out", out)
        assert (code, err) == (0, "")
        lines = printed.splitlines()
        assert re.match(r"photoglue .* · torch .* · precision (float32|bfloat16|int16)$", lines[0])
        found = json.loads(out.read_text())
        assert found["format"] == "photoglue-bench"
        assert found["machine"]["threads"] == torch.get_num_threads()
        assert found["machine"]["auto_precision"] in lines[0]
        assert [(row["resize"], row["points"]) for row in found["extract"]] == [
            (256, 64), (256, 128), (128, 64), (128, 128),
        ]  # fmt: skip
        assert all(row["ms"] > 0 for row in found["extract"] + found["match"])
        assert found["extract"][1]["found"] == 128
        measured = {(row["preset"], row["precision"], row["points"]) for row in found["match"]}
        auto = found["machine"]["auto_precision"]
        assert {(preset, auto, 64) for preset in ("accurate", "default", "realtime")} <= measured
        assert ("default", "float32", 128) in measured
        accurate = [row for row in found["match"] if row["preset"] == "accurate"]
        assert {row["exit_layer"] for row in accurate} == {9}
        assert all(row["matches"] > row["points"] / 4 for row in accurate)
        assert any(row["batch_ms"] for row in found["match"])
        # What is printed is what was measured.
        rows = [line.split() for line in lines if "default" in line.split()[:2]]
        first = next(row for row in found["match"] if row["preset"] == "default")
        assert float(rows[0][2]) == pytest.approx(first["ms"], rel=0.1)
        assert len([line for line in lines if "ms a frame" in line]) == 3
        assert [choice["budget_ms"] for choice in found["choices"]] == [33, 100, 1000]
        assert list(tmp_path.iterdir()) == [out]

    @pytest.mark.slow
    def test_own_photos_with_nothing_in_them(self, cli, few, tmp_path):
        for name in "ab":
            PIL.Image.new("RGB", (200, 100), "gray").save(tmp_path / f"{name}.png")
        code, printed, err = cli("bench", tmp_path / "a.png", tmp_path / "b.png", "--quick", "--batch-size", 1)
        assert (code, err) == (0, "")
        assert "a frame" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.jpg"], "There are 1 photos; give two"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--out", "bench.txt"], "must end in .json"),
        (["absent.jpg", "b.jpg"], "no file 'absent.jpg'"),
    ],
)
def test_bad_arguments_are_told_before_the_work(cli, arguments, message):
    code, _, err = cli("bench", *arguments)
    assert code == 1
    assert message in err


class TestChoice:
    @pytest.fixture
    def measured(self):
        from photoglue.cli.bench import Extraction, Matching

        extractions = [
            Extraction(points=512, resize=1024, found=512, ms=60.0),
            Extraction(points=512, resize=320, found=300, ms=10.0),
            Extraction(points=1024, resize=1024, found=1024, ms=60.0),
            Extraction(points=1024, resize=320, found=300, ms=10.0),
        ]
        common = {"matches": 100, "exit_layer": 4, "batch_ms": None}
        matchings = [
            Matching(points=points, preset=preset, precision=precision, ms=ms * points / 512 * factor, **common)
            for points in (512, 1024)
            for preset, ms in (("accurate", 30), ("default", 20), ("realtime", 10))
            for precision, factor in (("bfloat16", 1), ("float32", 2))
        ]
        return extractions, matchings

    @pytest.mark.parametrize(
        ("budget", "points", "resize", "preset", "ms"),
        [
            (1000, 1024, 1024, "accurate", 120),
            (100, 1024, 1024, "default", 100),
            (70, 512, 1024, "realtime", 70),
            # 1024 points at 320 pixels would fit, too, but there are only 300.
            (40, 512, 320, "accurate", 40),
            (33, 512, 320, "default", 30),
        ],
    )
    def test_what_fits(self, measured, budget, points, resize, preset, ms):
        from photoglue.cli.bench import Choice, advice, choose, fastest_choice

        choice = choose(*measured, "bfloat16", float(budget))
        assert choice == Choice(points=points, resize=resize, preset=preset, ms=float(ms))
        told = advice(float(budget), choice, fastest_choice(*measured, "bfloat16"))
        assert f"{budget} ms a frame: --max-keypoints {points} --resize {resize} --preset {preset}" in told

    def test_out_of_reach(self, measured):
        from photoglue.cli.bench import advice, choose, fastest_choice

        assert choose(*measured, "bfloat16", 19.0) is None
        fastest = fastest_choice(*measured, "bfloat16")
        told = advice(19.0, None, fastest)
        assert "out of reach" in told
        assert "--max-keypoints 512 --resize 320 --preset realtime, takes 20 ms" in told

    def test_only_the_given_precision_counts(self, measured):
        from photoglue.cli.bench import choose

        assert choose(*measured, "bfloat16", 30.0).preset == "default"
        assert choose(*measured, "float32", 30.0).preset == "realtime"  # twice as slow


def test_the_advised_options_exist(capsys):
    from photoglue.cli.app import parse
    from photoglue.cli.bench import CAREFUL_FIRST, Choice
    from photoglue.presets import PRESETS

    assert {PRESETS[name] for name in CAREFUL_FIRST} == set(PRESETS.values())
    options = str(Choice(points=512, resize=320, preset="realtime", ms=1.0)).split()
    command = parse(["match", "a.jpg", "b.jpg", *options])
    assert (command.max_keypoints, command.resize, command.preset) == (512, 320, "realtime")


def test_stopwatch_warms_up_and_keeps_the_first_result():
    from photoglue.cli.bench import Stopwatch

    calls = []

    def work():
        calls.append(None)
        return len(calls)

    ms, result = Stopwatch(torch.device("cpu"), seconds=10.0).time(work)
    assert result == 1
    assert len(calls) == 21
    assert 0 <= ms < 100
    calls.clear()
    Stopwatch(torch.device("cpu"), seconds=0.0).time(work)
    assert len(calls) == 2
