"""The row that calibrate.py prints has the digits of the table, and both kinds of pairs are of different places."""

import numpy as np
import PIL.Image
import torch
from calibrate import fit, measured_pairs

from photoglue.evaluation.calibration.fit import JudgedPair
from photoglue.structs import Matches


def judged(correct, count, seed):
    chance = np.random.default_rng(seed)
    scores = torch.from_numpy(chance.uniform(0.12, 0.95, count)).float()
    rows = torch.arange(count)
    matches = Matches(
        matches0=rows, matches1=rows, matching_scores0=scores, matching_scores1=scores,
        keypoints0=torch.zeros(count, 2), keypoints1=torch.zeros(count, 2), stop=9, n_layers=9,
    )  # fmt: skip
    flags = torch.from_numpy(chance.uniform(size=count)) < scores if correct else None
    return JudgedPair(places=("a", "a") if correct else ("a", "b"), matches=matches, correct=flags)


def test_a_fit_is_rounded_as_it_stands_in_the_table():
    verdict = fit([judged(True, 200, i) for i in range(6)] + [judged(False, 8, i) for i in range(6)])
    assert verdict.calibration.slope == round(verdict.calibration.slope, 3)
    assert (verdict.offset, verdict.evidence) == (round(verdict.offset, 2), round(verdict.evidence, 2))
    assert verdict(judged(True, 150, 9).matches) > 0.9 > verdict(judged(False, 5, 9).matches)


def test_unrelated_pairs_are_of_different_places_and_never_twice(tmp_path):
    import random

    for folder in ("strecha/x", "imb_reichstag", "oxford_affine/graf", "evd/graf", "evd/cat"):
        root = tmp_path / "eval" / folder
        root.mkdir(parents=True)
        for number in (1, 2):
            PIL.Image.new("RGB", (40, 30)).save(root / f"{number}.png")
        np.savetxt(root / "H_1_2", np.eye(3))
    pairs = measured_pairs(tmp_path, 8, random.Random(0))
    unrelated = [pair for pair in pairs if pair.truth is None]
    assert len({pair.paths for pair in unrelated}) == 8
    assert all(pair.places[0] != pair.places[1] for pair in unrelated)
    # graf is one place in two sets
    assert {place for pair in pairs for place in pair.places} == {"strecha/x", "imb_reichstag", "graf", "evd/cat"}
