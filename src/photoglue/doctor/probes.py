"""What is found by matching the photos again in another way: turned, smaller, brighter, to the last layer.

A probe costs as much as a match of two small photos; it is made only for pairs that do not match well.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch

from photoglue.doctor.case import LEAST, SMALL, Case, has_points, strength_of
from photoglue.doctor.finding import Evidence, Finding
from photoglue.limits.rotation import best_turn, probe_features, score_sums, small
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig

TURNS: Mapping[int, str] = MappingProxyType({1: "90° clockwise", 2: "180°", 3: "90° counterclockwise"})
PLAINLY = 3
"""So many times the upright photo's sum of scores a turned one's must be: a pyramid has four sides that look alike."""
ITSELF = 0.9
"""Share of its points that a photo finds, matched with itself, from which the matcher is what it should be."""
FEWEST_FOR_SCALE = 30
"""Inliers from which the scale between the photos is measured on them."""
PLACES = ("first", "second")


def wrong_model(case: Case) -> Finding | None:
    """Features of the user's own of an unknown kind, or weights of the user's own: a photo has to match itself."""
    weights, features = case.asked.options.get("weights"), case.features[0]
    unknown = weights is None and case.asked.given is not None and case.asked.given[0].kind is None
    if (weights is None and not unknown) or len(features) < 20:
        return None
    itself = case.pipeline.matcher.match(features, features)
    numbers = torch.arange(len(features), device=itself.matches0.device)
    share = float((itself.matches0 == numbers).float().mean())
    if share >= ITSELF:
        return None
    mean = float(itself.scores.mean()) if len(itself) else 0.0
    advice = "Some of these weights are not trained, or belong to other features. Compare with the released ones."
    if unknown:
        advice = "These features belong to another matcher: NearestNeighbor() takes any, and LightGlue can be trained."
    return Finding(
        cause="wrong matcher" if unknown else "half-loaded weights",
        seen=f"The first photo matched with itself: {share:.0%} of its points find themselves, with a mean score of "
        f"{mean:.2f} ({ITSELF:.0%} and more do where features and weights belong together).",
        advice=advice,
        command=case.asked.command(*(("--matcher", "nearest") if unknown else ())),
        confidence=0.85,
        evidence={"matched_with_itself": share, "mean_score": mean, "keypoints": len(features)},
    )


def own_features(case: Case, other: Case) -> Finding | None:
    """Features of the user's own with which photos do not match that match with PhotoGlue's.

    Args:
        case: With the user's features.
        other: The same photos with features of PhotoGlue's.
    """
    if other.failed or other.strength < 3 * case.strength:
        return None
    return Finding(
        cause="wrong matcher",
        seen=f"With features that PhotoGlue extracts itself there are {len(other.matches)} matches, with these "
        f"{len(case.matches)}: the photos are good, and something is wrong with the files.",
        advice="They are of another extractor than they say, of other photos, or in another order. Extract again.",
        command=case.asked.extract_again(),
        confidence=0.9,
        evidence={"matches": len(case.matches), "matches_of_own": len(other.matches)},
    )


def turned(case: Case) -> Finding | None:
    """One photo turned by a quarter or half: extracted and matched in all four positions, small."""
    extractor, (photo0, photo1) = case.pipeline.extractor, case.asked.photos
    sums = score_sums(case.pipeline.matcher, small(extractor).extract(photo0.image), probe_features(extractor, photo1))
    best = best_turn(sums)
    if not best or sums[best] < PLAINLY * sums[0]:
        return None
    tags = [photo.orientation for photo in case.asked.photos]
    exif = f" EXIF orientations, already applied, are {tags[0]} and {tags[1]}." if tags != [1, 1] else ""
    return Finding(
        cause="turned",
        seen=f"With the second photo turned back, the sum of scores of {SMALL} points is {sums[best]:.0f} instead of "
        f"{sums[0]:.0f}: it is turned by about {TURNS[best]} against the first.{exif}",
        advice="Turn one of the photos, or let PhotoGlue do it; SIFT hardly minds turns.",
        command=case.asked.command("--rotation", "always"),
        confidence=0.95,
        evidence={"strength_by_quarters": tuple(round(value) for value in sums), "turned_deg": 90 * best},
    )


def scale(case: Case) -> Finding | None:
    """One photo shows things many times larger: it is made smaller until they are of one size."""
    measured = _measured_scale(case)
    if measured is not None:
        return measured
    full = [
        features if case.asked.given is None else case.small(photo.image, case.resize, 2048)
        for features, photo in zip(case.features, case.asked.photos, strict=True)
    ]
    best, near, side = 0.0, 0, SMALL
    for number in (0, 1):
        for length in (SMALL // 2, SMALL // 4):
            small = case.small(case.asked.photos[number].image, length)
            pair = (small, full[1]) if number == 0 else (full[0], small)
            best, near, side = max((best, near, side), (case.strength_with(*pair), number, length))
    factor = case.resize / side
    if best < max(1.5 * case.strength, LEAST):
        return None
    seen = (
        f"With the {PLACES[near]} photo made {factor:.0f} times smaller the sum of scores is {best:.0f} instead of "
        f"{case.strength:.0f}: things are so many times larger there than in the other photo, or more"
    )
    return _scale_finding(case, seen, {"strength": best, "strength_now": case.strength, "factor": factor, "near": near})


def _measured_scale(case: Case) -> Finding | None:
    """The scale between the inliers, if there are enough to measure it."""
    points0, points1 = case.inlier_points
    if len(points0) < FEWEST_FOR_SCALE:
        return None
    spread0, spread1 = ((points - points.mean(dim=0)).norm(dim=1).median() for points in (points0, points1))
    ratio = float(spread1 / spread0.clamp(min=1e-6)) * max(case.sizes[0]) / max(case.sizes[1])
    factor, near = max(ratio, 1 / ratio), int(ratio > 1)
    if factor < 3:
        return None
    seen = f"The {len(points0)} inliers reach {factor:.1f} times as far in the {PLACES[near]} photo as in the other"
    return _scale_finding(case, seen, {"factor": factor, "near": near, "inliers": len(points0)})


def _scale_finding(case: Case, seen: str, evidence: Mapping[str, Evidence]) -> Finding:
    return Finding(
        cause="scale",
        seen=f"{seen}.",
        advice="Match the part of the far photo that both show, enlarged.",
        command=case.asked.command("--zoom", "always"),
        confidence=0.85,
        evidence=evidence,
    )


def is_adaptive(case: Case) -> bool:
    """Whether the matcher may have stopped early, or dropped points."""
    matcher = case.pipeline.matcher
    return has_points(case) and isinstance(matcher, LightGlue) and matcher.config != LightGlueConfig.accurate()


def bold_exit(case: Case) -> Finding | None:
    """An early exit, pruning or few layers that lose matches: against all layers with all points."""
    weights = case.asked.options.get("weights")
    if weights is None:
        careful = LightGlue.pretrained(case.pipeline.extractor.kind, LightGlueConfig.accurate())
    else:
        careful = LightGlue.from_checkpoint(weights, LightGlueConfig.accurate())
    full = careful.to(case.pipeline.extractor.device).match(*case.features)
    if strength_of(full) < max(1.5 * case.strength, 2 * LEAST):  # chance is more with so many points
        return None
    return Finding(
        cause="bold exit",
        seen=f"After layer {case.matches.stop} there are {len(case.matches)} matches (sum of scores "
        f"{case.strength:.0f}), with all layers and points {len(full)} ({strength_of(full):.0f}).",
        advice="Let every pair run all layers: LightGlueConfig.accurate().",
        command=case.asked.command("--preset", "accurate"),
        confidence=0.9,
        evidence={
            "exit_layer": case.matches.stop or 0,
            "matches": len(case.matches),
            "matches_in_full": len(full),
            "strength": case.strength,
            "strength_in_full": strength_of(full),
        },
    )


def is_enlarged(case: Case) -> bool:
    """Whether a photo is made more than twice as large before points are looked for."""
    return case.pipeline.extractor.config.resize is not None and min(map(max, case.sizes)) < case.resize / 2


def tiny(case: Case) -> Finding | None:
    """Photos that are enlarged many times before points are looked for."""
    smallest = min(map(max, case.sizes))
    trials = {
        side: case.strength_with(*(case.small(photo.image, side, 2048) for photo in case.asked.photos))
        for side in (2 * smallest, 4 * smallest)
        if side < case.resize
    }
    best = max(trials, key=trials.__getitem__, default=0)
    gain = bool(best) and trials[best] > max(1.2 * case.strength, LEAST / 2)
    if not (gain or case.failed):
        return None
    more = f"; at {best} the sum of scores is {trials[best]:.0f} instead of {case.strength:.0f}" if gain else ""
    return Finding(
        cause="tiny",
        seen=f"The smaller photo has {smallest} pixels along its longer side, and is enlarged to {case.resize}{more}.",
        advice="Enlarge less; or use the photo in its original size."
        if gain
        else "There is little to see in so few pixels: use the photo in its original size.",
        command=case.asked.command("--resize", best if gain else 2 * smallest),
        confidence=0.85 if gain else 0.5,
        evidence={"long_side": smallest, "resize": case.resize, "strength": case.strength, "better_resize": best},
    )
