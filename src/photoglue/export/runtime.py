"""A staged matcher in numpy and onnxruntime: LightGlue with early exit and pruning, without PyTorch.

This file imports nothing of PhotoGlue: it may be copied beside the files that ``photoglue export matcher --staged``
wrote, into a program that has numpy and onnxruntime only.

    matcher = StagedMatcher("aliked-staged")
    found = matcher.match(keypoints0, descriptors0, size0, keypoints1, descriptors1, size1)

Reference: LightGlue (arXiv 2306.13643), Sec. 3.3; exit and pruning are those of the official code.
"""

import importlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Found = dict[str, Any]


class StagedMatcher:
    """LightGlue in stages: an embedding, layers, and a head for each layer.

    Args:
        folder: The folder that the export wrote.
        providers: Providers of onnxruntime, the preferred first.
        threads: Threads on a CPU; 0: onnxruntime's choice.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int = 0,
    ) -> None:
        self.folder = Path(folder)
        self.providers, self.threads = list(providers), threads
        options = json.loads(json.loads((self.folder / "staged.json").read_text())["options"])
        self.n_layers: int = options["n_layers"]
        self.with_scales: bool = options["add_scale_ori"]
        self._sessions: dict[str, Any] = {}

    def match(  # noqa: C901, PLR0913  (one loop, read from top to bottom)
        self,
        keypoints0: np.ndarray,
        descriptors0: np.ndarray,
        size0: tuple[int, int],
        keypoints1: np.ndarray,
        descriptors1: np.ndarray,
        size1: tuple[int, int],
        *,
        scales: tuple[np.ndarray, np.ndarray] | None = None,
        orientations: tuple[np.ndarray, np.ndarray] | None = None,
        depth_confidence: float | None = 0.95,
        width_confidence: float | None = 0.99,
        pruning_min_keypoints: int = -1,
    ) -> Found:
        """Matches of two images.

        Args:
            keypoints0: (x, y) in pixels of image 0, m × 2.
            descriptors0: m × d.
            size0: (width, height) of image 0, pixels.
            keypoints1: (x, y) in pixels of image 1, n × 2.
            descriptors1: n × d.
            size1: (width, height) of image 1, pixels.
            scales: Sizes of the points of both images, pixels (SIFT).
            orientations: Angles of the points of both images, radians (SIFT).
            depth_confidence: Share of confident points above which no further layer is run; None: all run.
            width_confidence: A confident point is dropped whose matchability is at most 1 minus this; None: none is.
            pruning_min_keypoints: Points are dropped while an image has more.

        Returns:
            ``matches0`` (m; -1: none), ``matches1``, ``mscores0``, ``mscores1``, the exit layer ``stop``, and
            ``prune0`` and ``prune1``: for each point 1 + the number of pruning steps that it survived.
        """
        states: list[list[np.ndarray]] = []
        counts = (len(keypoints0), len(keypoints1))
        steps = self.n_layers if width_confidence is None else 1
        survived = [np.full(count, steps, np.int64) for count in counts]
        if not all(counts):
            return _spread(None, counts, [np.arange(count) for count in counts], survived, 1)
        images = ((keypoints0, descriptors0, size0), (keypoints1, descriptors1, size1))
        for i, (keypoints, descriptors, size) in enumerate(images):
            inputs = {"kpts": keypoints, "desc": descriptors, "image_size": np.asarray(size)}
            if self.with_scales and scales is not None and orientations is not None:
                inputs |= {"scales": scales[i], "oris": orientations[i]}
            floats = {name: np.asarray(array, np.float32)[None] for name, array in inputs.items()}
            states.append(self._run("embed", floats))
        rows = [np.arange(count) for count in counts]
        stop = self.n_layers
        for layer in range(self.n_layers):
            x0, x1, *facts = self._run(
                f"layer{layer}",
                {"x0": states[0][0], "x1": states[1][0], "turn0": states[0][1], "turn1": states[1][1]},
            )
            states = [[x0, states[0][1]], [x1, states[1][1]]]
            if layer == self.n_layers - 1:
                break
            confidences, matchabilities = [each[0] for each in facts[:2]], [each[0] for each in facts[2:]]
            threshold = np.float32(0.8 + 0.1 * math.exp(-4.0 * layer / self.n_layers))
            if depth_confidence is not None and _confident(confidences, threshold, counts) > np.float32(
                depth_confidence
            ):
                stop = layer + 1
                break
            if width_confidence is None:
                continue
            for i in (0, 1):
                if len(rows[i]) > pruning_min_keypoints:
                    keep = matchabilities[i] > np.float32(1 - width_confidence)
                    if depth_confidence is not None:
                        keep |= confidences[i] <= threshold
                    rows[i] = rows[i][keep]
                    survived[i][rows[i]] += 1
                    states[i] = [states[i][0][:, keep], states[i][1][:, :, :, keep]]
            if not all(map(len, rows)):
                return _spread(None, counts, rows, survived, layer + 2)
        found = self._run(f"head{stop - 1}", {"x0": states[0][0], "x1": states[1][0]})
        return _spread([each[0] for each in found], counts, rows, survived, stop)

    def _run(self, stage: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        if stage not in self._sessions:
            onnxruntime = importlib.import_module("onnxruntime")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            path = str(self.folder / f"{stage}.onnx")
            self._sessions[stage] = onnxruntime.InferenceSession(path, options, providers=self.providers)
        outputs: list[np.ndarray] = self._sessions[stage].run(None, inputs)
        return outputs


def _confident(confidences: list[np.ndarray], threshold: np.float32, counts: tuple[int, int]) -> np.float32:
    """Share of the points that are confident, those dropped earlier included."""
    unsure = sum(int((confidence < threshold).sum()) for confidence in confidences)
    return np.float32(1) - np.float32(unsure) / np.float32(sum(counts))


def _spread(
    found: list[np.ndarray] | None,
    counts: tuple[int, int],
    rows: list[np.ndarray],
    survived: list[np.ndarray],
    stop: int,
) -> Found:
    """Matches of the points that are left, as those of all points."""
    spread: Found = {"stop": stop, "prune0": survived[0], "prune1": survived[1]}
    for i in (0, 1):
        matches, scores = np.full(counts[i], -1, np.int64), np.zeros(counts[i], np.float32)
        if found is not None:
            partner = found[i]
            matches[rows[i]] = np.where(partner < 0, -1, rows[1 - i][partner])
            scores[rows[i]] = found[2 + i]
        spread |= {f"matches{i}": matches, f"mscores{i}": scores}
    return spread
