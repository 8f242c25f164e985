from dataclasses import replace

import pytest
import torch

from photoglue.datasets.layouts import load_dataset
from photoglue.evaluation import run
from photoglue.evaluation.rematch import Rematcher

SETTINGS = run.Settings(workers=0, device="cpu")


@pytest.mark.slow
def test_the_same_matches_again(planes, out):
    dataset = load_dataset(planes)
    (result,) = run.measure([dataset], ["sift+nn"], out, SETTINGS)
    again = Rematcher(run.jobs_of([dataset], ["sift+nn"], SETTINGS), out, SETTINGS)
    record = result.records[2]
    matches = again.matches_of(result, record)
    assert len(matches) == record.values["num_matches"]
    correct = again.correct_of(result, record, matches)
    assert float(correct.float().mean()) == torch.tensor(record.values["precision_3px"]).float()


@pytest.mark.slow
def test_epipolar_truth(plain, out, make):
    """Both cameras look the same way and the second stands to the right: rows must agree."""
    dataset = load_dataset(plain, max_pairs=1)
    pair = dataset.pairs[0]
    truth = replace(pair.truth, cam1_from_cam0=make.pose(degrees=0, translation=(-1, 0, 0)))
    dataset = replace(dataset, pairs=(replace(pair, truth=truth),))
    (result,) = run.measure([dataset], ["sift+nn"], out, SETTINGS)
    again = Rematcher(run.jobs_of([dataset], ["sift+nn"], SETTINGS), out, SETTINGS)
    matches = make.matches([[10, 10], [20, 20]], [[5, 10], [20, 24]])
    assert again.correct_of(result, result.records[0], matches).tolist() == [True, False]


@pytest.mark.slow
def test_other_runs_and_turned_images_have_none(planes, out):
    dataset = load_dataset(planes)
    (result,) = run.measure([dataset], ["sift+nn"], out, SETTINGS)
    jobs = run.jobs_of([replace(dataset, turns={"v_0/1.png": 1})], ["sift+nn"], SETTINGS)
    again = Rematcher(jobs, out, SETTINGS)
    assert again.matches_of(result, result.records[0]) is None
    assert again.matches_of(replace(result, method="other"), result.records[2]) is None
