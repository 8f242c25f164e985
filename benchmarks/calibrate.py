"""What LightGlue's scores and the pair verdict are worth: fitted on training photos, measured on others.

    python benchmarks/calibrate.py --data DIR [--features aliked] [--out c.json]

DIR is laid out as the README in ../shared/data says. Fitted on pairs of depth_scenes (overlap from 0.1 on) and on
unrelated photos of depth_scenes and train_images, each matched with a number of keypoints, a depth and a precision that
are drawn for it. Measured on DIR/eval, which has no photo of them: pairs of Strecha's three scenes, Reichstag,
Oxford-affine and EVD, against pairs of photos of different places among them.

A match is correct up to 3 px: by depth on the training photos where it is known, by the homography on Oxford-affine and
EVD, else by its distance to the epipolar line, which lets a wrong match pass now and then.

About 8 minutes of one core for ALIKED, 10 for DISK. It prints the row for the table in
src/photoglue/matchers/calibration.py.
"""

import argparse
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from calibration_data import (
    MEASURED_KEYPOINTS,
    extracted,
    kind_of,
    matched_as_users_do,
    matched_variously,
    measured_jobs,
    training_jobs,
)
from calibration_maps import MAPS, left_out

from photoglue.evaluation.calibration.fit import equal_weights, fit_calibration, fit_verdict, score_reliability
from photoglue.evaluation.calibration.pairs import JudgedPair, pooled
from photoglue.machine import version_line
from photoglue.matchers.lightglue.kinds import model_of
from photoglue.matchers.lightglue.verdict import PairVerdict, expected_matches
from photoglue.metrics import expected_calibration_error, reliability, roc_auc
from photoglue.solvers.poselib import verify

PAIRS_PER_SCENE = 18
NEGATIVES = 120
"""Unrelated pairs to measure on, with each number of keypoints."""
RECALL = 0.95


def main() -> None:
    """Fit, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--features", default="aliked")
    parser.add_argument("--per-scene", type=int, default=PAIRS_PER_SCENE, help="training pairs of each scene")
    parser.add_argument("--negatives", type=int, default=NEGATIVES, help="unrelated pairs to measure on")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    print(version_line())
    start = time.process_time()
    chance = random.Random(0)
    jobs = training_jobs(options.data, options.per_scene, chance)
    features = extracted(jobs, options.features, None)
    model = model_of(kind_of(features))
    training = list(matched_variously(jobs, features, chance))
    report: dict[str, object] = {"features": options.features, "maps": compare_maps(training)}
    verdict = fit(training)
    print(f'\n"{model}": {verdict}\n', flush=True)
    jobs = measured_jobs(options.data, options.negatives, random.Random(1))
    measured = list(matched_as_users_do(jobs, extracted(jobs, options.features, 1024)))
    report |= {"verdict": asdict(verdict), "scores": measure_scores(measured, verdict)}
    report["pairs"] = measure_pairs(measured, verdict)
    print(f"\n{(time.process_time() - start) / 60:.1f} minutes of processor time")
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


def fit(samples: Sequence[JudgedPair]) -> PairVerdict:
    """The calibration of the scores, and the verdict that builds on it, rounded as they stand in the table."""
    calibration = fit_calibration(*pooled(samples))
    calibration = type(calibration)(slope=round(calibration.slope, 3), offset=round(calibration.offset, 3))
    counts = [None if sample.correct is None else int(sample.correct.sum()) for sample in samples]
    verdict = fit_verdict([sample.matches for sample in samples], counts, calibration)
    numbers = {name: round(getattr(verdict, name), 2) for name in ("offset", "evidence", "failures")}
    return PairVerdict(calibration=calibration, **numbers)


def compare_maps(samples: Sequence[JudgedPair]) -> Mapping[str, Mapping[str, float]]:
    """Each kind of calibration on scenes that it was not fitted to: all scenes are left out once."""
    scores, correct, places = pooled_arrays(samples)
    weights = equal_weights(places)
    print(f"\n{len(scores)} matches of {len(set(places))} places, {correct.mean():.1%} correct; scenes left out")
    print("| map | log loss | ECE | ECE, mean over scenes |\n|---|---|---|---|")
    table = {}
    for name, fitter in MAPS.items():
        predicted = left_out(fitter, scores, correct, np.array(places))
        clipped = np.clip(predicted, 1e-4, 1 - 1e-4)
        loss = -float(np.average(np.where(correct, np.log(clipped), np.log(1 - clipped)), weights=weights))
        whole = expected_calibration_error(reliability(predicted, correct))
        single = [
            expected_calibration_error(reliability(predicted[rows], correct[rows]))
            for rows in (np.array(places) == place for place in sorted(set(places)))
        ]
        table[name] = {"log_loss": loss, "ece": whole, "ece_by_scene": float(np.mean(single))}
        print(f"| {name} | {loss:.4f} | {whole:.3f} | {np.mean(single):.3f} |")
    return table


def measure_scores(samples: Sequence[JudgedPair], verdict: PairVerdict) -> Mapping[str, object]:
    """Reliability of the scores of overlapping pairs of the development split, before and after."""
    report = {}
    print("| set | matches | correct | mean score | ECE before | ECE after |\n|---|---|---|---|---|---|")
    overlapping = [sample for sample in samples if sample.overlaps]
    sets = {"all": overlapping}
    for sample in overlapping:
        sets.setdefault(sample.places[0].partition("/")[0], []).append(sample)
    for name, members in sets.items():
        scores, correct, _ = pooled_arrays(members)
        found = score_reliability(torch.from_numpy(scores), torch.from_numpy(correct), verdict.calibration)
        before, after = found.errors
        print(f"| {name} | {len(scores)} | {correct.mean():.3f} | {scores.mean():.3f} | {before:.3f} | {after:.3f} |")
        report[name] = {"matches": len(scores), "correct": float(correct.mean()), "ece": [before, after]}
        if name == "all":
            bins = {"before": found.before, "after": found.after}
            report["bins"] = {key: {field: np.nan_to_num(values).tolist() for field, values in vars(b).items()}
                              for key, b in bins.items()}  # fmt: skip
    rows = zip(found_all(report, "before"), found_all(report, "after"), strict=True)
    print("\n| confidence | correct: as they are | matches | calibrated | matches |\n|---|---|---|---|---|")
    for i, ((count0, precision0), (count1, precision1)) in enumerate(rows):
        print(f"| {i / 10:.1f}–{(i + 1) / 10:.1f} | {precision0:.2f} | {count0} | {precision1:.2f} | {count1} |")
    return report


def found_all(report: Mapping[str, Any], key: str) -> list[tuple[int, float]]:
    """(matches, share correct) of each bin."""
    bins = report["bins"][key]
    return list(zip(bins["counts"], bins["precision"], strict=True))


def measure_pairs(samples: Sequence[JudgedPair], verdict: PairVerdict) -> list[Mapping[str, object]]:
    """How well overlapping and unrelated pairs are told apart, by the verdict and by what else there is."""
    print("\n| keypoints | told apart by | ROC AUC | false positives at 95 % recall | ECE |\n|---|---|---|---|---|")
    report: list[Mapping[str, object]] = []
    for count in MEASURED_KEYPOINTS:
        members = [sample for sample in samples if sample.keypoints == count]
        overlaps = np.array([sample.overlaps for sample in members])
        columns = {
            "verdict": np.array([verdict(sample.matches) for sample in members]),
            "sum of calibrated scores": np.array(
                [expected_matches(sample.matches, verdict.calibration) for sample in members]
            ),
            "number of matches": np.array([len(sample.matches) for sample in members]),
            "inliers, fundamental, PoseLib 1 px": np.array([inliers(sample) for sample in members]),
        }
        for name, values in columns.items():
            area = roc_auc(values[overlaps], values[~overlaps])
            limit = np.quantile(values[overlaps], 1 - RECALL, method="lower")
            false = float((values[~overlaps] >= limit).mean())
            error = expected_calibration_error(reliability(values, overlaps)) if name == "verdict" else None
            report.append({"keypoints": count, "by": name, "roc_auc": area, "false_positives": false, "ece": error})
            shown = "" if error is None else f"{error:.3f}"
            print(f"| {count} | {name} | {area:.4f} | {false:.1%} ({limit:.3g}) | {shown} |")
        print_verdicts(columns["verdict"], overlaps, members)
    return report


def print_verdicts(verdicts: np.ndarray, overlaps: np.ndarray, members: Sequence[JudgedPair]) -> None:
    """What a verdict of more than one half catches, and the pairs that it judges worst."""
    print(f"verdict above 0.5: {(verdicts[overlaps] > 0.5).mean():.1%} of {overlaps.sum()} overlapping pairs, "
          f"{(verdicts[~overlaps] > 0.5).mean():.1%} of {(~overlaps).sum()} unrelated ones")  # fmt: skip
    wrong = np.where(overlaps, 1 - verdicts, verdicts)
    for i in np.argsort(-wrong)[:8]:
        sample = members[i]
        true = (
            f"{int(sample.correct.sum())} of {len(sample.matches)} matches correct" if sample.overlaps else "unrelated"
        )
        print(f"    {verdicts[i]:.3f} {' | '.join('/'.join(path.parts[-3:]) for path in sample.paths)}: {true}")


def pooled_arrays(samples: Sequence[JudgedPair]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(scores, whether they are correct, places) of all matches of the overlapping pairs."""
    scores, correct, places = pooled(samples)
    return scores.numpy(), correct.numpy(), places


def inliers(sample: JudgedPair) -> int:
    """How many matches agree with one fundamental matrix."""
    return len(verify(sample.matches.points0, sample.matches.points1, "fundamental"))


if __name__ == "__main__":
    with torch.no_grad():
        main()
