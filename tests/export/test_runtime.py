import subprocess
import sys
from pathlib import Path

import numpy as np
from exported_files import small_lightglue

from photoglue import LightGlueConfig
from photoglue.export import runtime
from photoglue.export.cases import made_up
from photoglue.export.staged_matcher import run_staged

OPTIONS = [
    (0.95, 0.99, -1),
    (None, 0.6, -1),
    (0.98, 0.3, 100),
    (0.97, 0.5, -1),
    (0.95, None, -1),
    (0.99, 0.05, -1),
    (None, None, -1),
]


def test_exits_and_drops_as_pytorch_does(staged_folder):
    matcher, model = runtime.StagedMatcher(staged_folder, threads=1), small_lightglue()
    model.prepare(None)
    stops, pruned = set(), 0
    for depth, width, minimum in OPTIONS:
        model.config = LightGlueConfig(depth_confidence=depth, width_confidence=width, pruning_min_keypoints=minimum)
        for sizes in ((30, 40), (300, 200), (20, 20), (3, 5), (1, 1), (0, 4)):
            pair = made_up(model, *sizes)
            expected, found = model.match(*pair), run_staged(matcher, pair, model.config)
            assert found["stop"] == expected.stop
            for i in "01":
                for name, field in (("matches", "matches"), ("prune", "prune")):
                    assert (found[f"{name}{i}"] == getattr(expected, f"{field}{i}").numpy()).all(), (
                        depth,
                        width,
                        sizes,
                    )
                scores = getattr(expected, f"matching_scores{i}").numpy()
                assert np.abs(found[f"mscores{i}"] - scores).max(initial=0) < 5e-5
            stops.add(expected.stop)
            pruned += int((expected.prune0 < expected.stop).sum())
    assert stops == {1, 2, 3} and pruned > 100


def test_runs_without_photoglue_and_torch(staged_folder, tmp_path):
    """The file alone, copied, as programs without PyTorch take it."""
    (tmp_path / "runtime.py").write_text(Path(runtime.__file__).read_text())
    program = (
        "import sys, numpy as np, runtime\n"
        f"matcher = runtime.StagedMatcher({str(staged_folder)!r}, threads=1)\n"
        "points, width = np.random.rand(9, 2) * 100, 16\n"
        "both = [points, np.random.rand(9, width), (100, 80)] * 2\n"
        "lengths = (np.ones(9), np.ones(9))\n"
        "found = matcher.match(*both, scales=lengths, orientations=lengths)\n"
        "assert len(found['matches0']) == 9 and not {'torch', 'photoglue'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
