"""The matches of a single pair once more, for the pictures of a report: a run keeps numbers, not matches."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from photoglue.datasets.base import EvaluationPair
from photoglue.datasets.truths import Planar, Posed
from photoglue.evaluation.benchmarks.planar import match_errors
from photoglue.evaluation.jobs import Job, Settings
from photoglue.evaluation.results import PairRecord, Result
from photoglue.evaluation.run import features_of, match_block
from photoglue.geometry.epipolar import fundamental_matrix, symmetric_epipolar_distance
from photoglue.matchers.base import Matcher
from photoglue.store import FeatureStore
from photoglue.structs import Matches

CORRECT_PX = 3.0
"""A match with an error below it is drawn as a good one, pixels of the images as read."""


class Rematcher:
    """Matches pairs of a run again, from the features that it left.

    Args:
        jobs: Of the run.
        out: Its folder.
        settings: Its settings.
    """

    def __init__(self, jobs: Sequence[Job], out: Path, settings: Settings) -> None:
        self.out = out
        self.settings = settings
        device = settings.torch_device
        self._jobs = {(job.dataset.name, job.method.resolved_name(device)): job for job in jobs}
        self._matchers: dict[str, Matcher] = {}
        self._features: dict[tuple[str, str], Path] = {}

    def matches_of(self, result: Result, record: PairRecord) -> Matches | None:
        """The matches of a pair in pixels of its images as read; None if it is of another run, or of turned images."""
        found = self._find(result, record)
        if found is None:
            return None
        job, pair = found
        key, device = (result.dataset, result.method), self.settings.torch_device
        if key not in self._features:
            self._features[key] = features_of(job, self.out, self.settings, lambda what, done, total: None)  # noqa: ARG005
        with FeatureStore.open(self._features[key]) as store:
            if job.method.name not in self._matchers:
                kind = store[pair.name0].kind or job.method.extractor
                self._matchers[job.method.name] = job.method.build_matcher(kind, device)
            return match_block(store, self._matchers[job.method.name], [pair], device)[0]

    def correct_of(self, result: Result, record: PairRecord, matches: Matches) -> Bool[Tensor, " k"] | None:
        """Which matches agree with the truth within 3 px; None if it says nothing of single matches."""
        found = self._find(result, record)
        truth = None if found is None else found[1].truth
        if isinstance(truth, Posed):
            pose = torch.from_numpy(truth.cam1_from_cam0)
            fundamental = fundamental_matrix(pose, truth.camera0, truth.camera1)
            return symmetric_epipolar_distance(matches.points0, matches.points1, fundamental) < CORRECT_PX
        if isinstance(truth, Planar):
            errors = match_errors(matches.points0, matches.points1, torch.from_numpy(truth.image1_from_image0))
            return errors < CORRECT_PX
        return None

    def _find(self, result: Result, record: PairRecord) -> tuple[Job, EvaluationPair] | None:
        job = self._jobs.get((result.dataset, result.method))
        if job is None or {record.name0, record.name1} & job.dataset.turns.keys():
            return None
        names = (record.name0, record.name1)
        pair = next((pair for pair in job.dataset.pairs if (pair.name0, pair.name1) == names), None)
        return None if pair is None else (job, pair)
