"""The matches of a single pair once more, for the pictures of a report: a run keeps numbers, not matches."""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from photoglue.datasets.base import EvaluationPair
from photoglue.datasets.truths import match_errors
from photoglue.evaluation.jobs import Job, Settings
from photoglue.evaluation.matching import PairMatcher
from photoglue.evaluation.results import PairRecord, Result
from photoglue.evaluation.run import features_of
from photoglue.pipeline import Pipeline
from photoglue.store import FeatureStore
from photoglue.structs import Matches

CORRECT_PX = 3.0
"""A match with an error below it is drawn as a good one, pixels of the images as read."""


class Rematcher:
    """Matches pairs of a run again, from the features that it left.

    Args:
        jobs: What the run measured.
        out: The folder of the run.
        settings: The settings of the run.
    """

    def __init__(self, jobs: Sequence[Job], out: Path, settings: Settings) -> None:
        self.out = out
        self.settings = settings
        device = settings.torch_device
        self._jobs = {(job.dataset.name, job.method.resolved_name(device)): job for job in jobs}
        self._pipelines: dict[str, Pipeline] = {}
        self._features: dict[tuple[str, str], Path] = {}

    def matches_of(self, result: Result, record: PairRecord) -> Matches | None:
        """The matches of a pair in pixels of its images as read; None if it is of another run, or of turned images."""
        found = self._find(result, record)
        if found is None:
            return None
        job, pair = found
        if job.method.name not in self._pipelines:
            self._pipelines[job.method.name] = job.build(self.settings)
        pipeline, key = self._pipelines[job.method.name], (result.dataset, result.method)
        if key not in self._features:
            self._features[key] = features_of(
                job,
                lambda: pipeline,
                self.out,
                self.settings,
                lambda what, done, total: None,  # noqa: ARG005
            )
        with FeatureStore.open(self._features[key]) as store:
            matcher = PairMatcher(job, self.settings.torch_device)
            return matcher.match(pipeline, matcher.read(store, [pair]))[0]

    def correct_of(self, result: Result, record: PairRecord, matches: Matches) -> Bool[Tensor, " k"] | None:
        """Which matches agree with the truth within 3 px; None if it says nothing of single matches."""
        found = self._find(result, record)
        errors = None if found is None else match_errors(matches.points0, matches.points1, found[1].truth)
        return None if errors is None else errors < CORRECT_PX

    def _find(self, result: Result, record: PairRecord) -> tuple[Job, EvaluationPair] | None:
        job = self._jobs.get((result.dataset, result.method))
        if job is None or {record.name0, record.name1} & job.dataset.turns.keys():
            return None
        names = (record.name0, record.name1)
        pair = next((pair for pair in job.dataset.pairs if (pair.name0, pair.name1) == names), None)
        return None if pair is None else (job, pair)
