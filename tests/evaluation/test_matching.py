from dataclasses import replace

import pytest
import torch

from photoglue import Features, NearestNeighbor, create_extractor
from photoglue.datasets.layouts import load_dataset
from photoglue.evaluation import run
from photoglue.evaluation.matching import PairMatcher
from photoglue.limits import refine_matches
from photoglue.pipeline import Pipeline
from photoglue.store import FeatureStore

CPU = torch.device("cpu")


@pytest.fixture
def job(planes):
    return run.jobs_of([load_dataset(planes, max_pairs=1)], ["sift+nn~refined"], run.Settings(device="cpu"))[0]


@pytest.fixture
def store(job, tmp_path):
    """Points of no meaning, but inside both photos, with descriptors that match."""
    points = torch.rand(40, 2, generator=torch.Generator().manual_seed(0)) * 60 + 20
    with FeatureStore.open(tmp_path / "features.h5", "w") as made:
        for name, size in job.dataset.sizes.items():
            made.write(name, Features.from_arrays(points, torch.eye(40), size))
    with FeatureStore.open(tmp_path / "features.h5") as opened:
        yield opened


def read(job, store):
    return PairMatcher(job, CPU).read(store, job.dataset.pairs)


def test_matches_are_refined_if_the_method_says_so(job, store):
    plain_job = replace(job, method=replace(job.method, refine=None))
    pipeline = Pipeline(create_extractor("sift"), NearestNeighbor())
    (plain,) = PairMatcher(plain_job, CPU).match(pipeline, read(plain_job, store))
    (refined,) = PairMatcher(job, CPU).match(pipeline, read(job, store))
    assert (plain.refine, refined.refine) == (None, "subpixel")
    pair = job.dataset.pairs[0]
    photos = [job.dataset.folder / name for name in (pair.name0, pair.name1)]
    assert torch.equal(refined.points1, refine_matches(*photos, plain).points1)


def test_photos_are_turned_and_resized_as_the_extractor_saw_them(job, store):
    name = job.dataset.pairs[0].name0
    turned = replace(job, dataset=replace(job.dataset, turns={name: 1}))
    smaller = replace(turned, protocol=replace(job.protocol, resize=64, resize_side="short"))
    upright, sideways, small = (read(each, store)[0].views[0] for each in (job, turned, smaller))
    assert torch.allclose(sideways.image, upright.image.rot90(), atol=1e-5)
    assert sideways.resize.original_size == upright.resize.original_size[::-1]
    assert min(small.image.shape) == 64
