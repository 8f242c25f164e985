"""What is found by matching the photos again in another way: turned, smaller, brighter, to the last layer.

A probe costs as much as a match of two small photos; it is made only for pairs that do not match well.
"""

from dataclasses import replace

import torch

from photoglue.doctor.case import SMALL, Case, strength_of
from photoglue.doctor.finding import Finding
from photoglue.errors import LicenceError, PhotoGlueError
from photoglue.image import Resize
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.matchers.lightglue.kinds import MODEL_OF_KIND
from photoglue.matchers.lightglue.pretrained import INPUT_DIMS
from photoglue.matchers.nearest import NearestNeighbor

LEAST = 20.0
"""Sum of scores below which the match of a probe may be chance: photos that share nothing reach 18."""
SIDEWAYS = {1: "90° clockwise", 2: "180°", 3: "90° counterclockwise"}
NAME_OF_MODEL = {"sift-photoglue": "sift", "sift-official": "sift"}
"""Model → name of the features on the command line, where they differ."""


def wrong_model(case: Case) -> Finding | None:
    """Features of an unknown kind, or weights of the user's own: a photo has to match itself."""
    unknown = case.given[0] is not None and case.given[0].kind is None
    weights = case.options.get("weights")
    if (weights is None and not unknown) or len(case.features[0]) < 20:
        return None
    other = _better_model(case) if unknown and weights is None else None
    if other is not None:
        return other
    features = case.features[0]
    itself = case.matched(features, features)
    numbers = torch.arange(len(features), device=itself.matches0.device)
    share = float((itself.matches0 == numbers).float().mean())
    if share >= 0.9:
        return None
    mean = float(itself.scores.mean()) if len(itself) else 0.0
    seen = f"The first photo matched with itself: {share:.0%} of its points find themselves (90 % and more do)"
    evidence = {"matched_with_itself": share, "mean_score": mean, "keypoints": len(features)}
    if weights is None:
        return Finding(
            cause="wrong matcher",
            seen=f"{seen}, and no released model for {features.descriptors.shape[1]} channels does better.",
            advice="These features belong to another matcher: NearestNeighbor() takes any, or train a LightGlue for them.",
            command=case.command(),
            confidence=0.8,
            evidence=evidence,
        )
    return Finding(
        cause="half-loaded weights",
        seen=f"{seen}, with a mean score of {mean:.2f}.",
        advice="Some of these weights are not trained, or belong to other features. Compare with the released ones:",
        command=case.command(),
        confidence=0.85,
        evidence=evidence,
    )


def _better_model(case: Case) -> Finding | None:
    """The released model under which features of an unknown kind match far better."""
    width = case.features[0].descriptors.shape[1]
    used = case.features[0].kind
    best, name, base = 0.0, "", case.strength
    for model in (model for model, dim in INPUT_DIMS.items() if dim == width):
        if model == MODEL_OF_KIND.get(used or ""):
            continue
        try:
            matcher = LightGlue.pretrained(model)
            features0, features1 = (replace(each, kind=None) for each in case.features)
            strength = strength_of(case.matched(features0, features1, matcher))
        except (LicenceError, PhotoGlueError):  # weights that are not here, or points without scale and orientation
            continue
        if strength > best:
            best, name = strength, model
    if not (best > 3 * base and best > LEAST):
        return None
    return Finding(
        cause="wrong matcher",
        seen=f"LightGlue for {name} matches these features with a sum of scores of {best:.0f}, the one for {used} with {base:.0f}.",
        advice="The file does not say what made it; it was the former. Match with that model, and state the kind.",
        command=case.command(features=NAME_OF_MODEL.get(name, name)),
        confidence=0.95,
        evidence={"model": name, "strength": best, "strength_now": base},
    )


def turned(case: Case) -> Finding | None:
    """One photo turned by a quarter or half: extracted and matched in all four positions, small."""
    first = case.small(case.photos[0].image)
    sums = []
    for quarters in range(4):
        image = torch.rot90(case.photos[1].image, quarters, (1, 2)).contiguous()
        sums.append(strength_of(case.matched(first, case.small(image))))
    best = max(range(1, 4), key=sums.__getitem__)
    if not (sums[best] > 3 * sums[0] and sums[best] > LEAST):
        return None
    tags = [photo.orientation for photo in case.photos]
    exif = f" EXIF orientations are {tags[0]} and {tags[1]}." if tags != [1, 1] else ""
    return Finding(
        cause="turned",
        seen=f"With the second photo turned back, the sum of scores of {SMALL} points is {sums[best]:.0f} instead of "
        f"{sums[0]:.0f}: it is turned by {SIDEWAYS[best]} against the first.{exif}",
        advice="Turn one of the photos, or let PhotoGlue do it; SIFT does not mind turns, nearly.",
        command=case.command("--rotation", "always"),
        confidence=0.95,
        evidence={"strength_by_quarters": tuple(round(value) for value in sums), "turned_deg": (0, 90, 180, 270)[best]},
    )


def scale(case: Case) -> Finding | None:
    """One photo shows things many times larger: it is made smaller until they are of one size."""
    measured = _measured_scale(case)
    if measured is not None:
        return measured
    best, near, side = 0.0, 0, SMALL
    for number in (0, 1):
        for length in (SMALL // 2, SMALL // 4):
            small = case.small(case.photos[number].image, length)
            other = (
                case.features[1 - number]
                if case.given[1 - number] is None
                else case.small(case.photos[1 - number].image, case.resize, 2048)
            )
            strength = strength_of(case.matched(*((small, other) if number == 0 else (other, small))))
            if strength > best:
                best, near, side = strength, number, length
    factor = min(case.resize, max(case.sizes[near])) / side
    if not (best > 1.5 * case.strength and best > LEAST and factor >= 2):
        return None
    return _scale_finding(
        case,
        near,
        factor,
        f"With the {('first', 'second')[near]} photo {factor:.0f} times smaller the sum of scores is {best:.0f} instead of {case.strength:.0f}",
        0.85,
        {"strength": best, "strength_now": case.strength, "factor": factor},
    )


def _measured_scale(case: Case) -> Finding | None:
    """The scale between the inliers, if there are enough to measure it."""
    points0, points1 = case.inlier_points
    if len(points0) < FEWEST_FOR_SCALE:
        return None
    spread0, spread1 = ((points - points.mean(dim=0)).norm(dim=1).median() for points in (points0, points1))
    ratio = float(spread1 / spread0.clamp(min=1e-6)) * max(case.sizes[0]) / max(case.sizes[1])
    if 1 / 3 < ratio < 3:
        return None
    near = 0 if ratio < 1 else 1
    factor = max(ratio, 1 / ratio)
    seen = f"The {len(points0)} inliers cover {factor:.1f} times as much of the {('first', 'second')[near]} photo"
    return _scale_finding(case, near, factor, seen, 0.8, {"factor": factor, "inliers": len(points0)})


FEWEST_FOR_SCALE = 30
"""Inliers from which the scale between the photos is measured on them."""


def _scale_finding(
    case: Case, near: int, factor: float, seen: str, confidence: float, evidence: dict[str, float]
) -> Finding:
    return Finding(
        cause="scale",
        seen=f"{seen}: things are about {factor:.0f} times larger there than in the other.",
        advice="Match the part of the far photo that both show, enlarged.",
        command=case.command("--zoom", "always"),
        confidence=confidence,
        evidence={**evidence, "near_photo": near},
    )


def bold_exit(case: Case) -> Finding | None:
    """An early exit, or pruning, that loses matches: all layers with all points."""
    matcher = case.pipeline.matcher
    if (
        not isinstance(matcher, LightGlue)
        or case.matches.stop is None
        or (case.matches.n_layers or 9) >= 9 < case.matches.stop
    ):
        return None
    careful = (
        LightGlue.from_checkpoint(case.options["weights"], LightGlueConfig.accurate())
        if case.options.get("weights")
        else None
    )
    careful = careful or LightGlue.pretrained(case.features[0].kind or "aliked", LightGlueConfig.accurate())
    full = case.matched(*case.features, careful.to(matcher.device))
    before, after = case.strength, strength_of(full)
    if not (after > 1.5 * before and after > LEAST):
        return None
    return Finding(
        cause="bold exit",
        seen=f"After layer {case.matches.stop} there are {len(case.matches)} matches, with all layers and points {len(full)}.",
        advice="Let every pair run all layers: LightGlueConfig.accurate().",
        command=case.command("--preset", "accurate"),
        confidence=0.9,
        evidence={"exit_layer": case.matches.stop, "matches": len(case.matches), "matches_in_full": len(full)},
    )


def tiny(case: Case) -> Finding | None:
    """Photos that are enlarged many times before points are looked for."""
    if case.pipeline.extractor.config.resize is None or min(map(max, case.sizes)) > case.resize / 2:
        return None
    smallest = min(map(max, case.sizes))
    trials = {}
    for side in (2 * smallest, 4 * smallest):
        if side < case.resize:
            first, second = (case.small(photo.image, side, 2048) for photo in case.photos)
            trials[side] = strength_of(case.matched(first, second))
    best = max(trials, key=trials.__getitem__, default=0)
    gain = best and trials[best] > 1.2 * case.strength and trials[best] > LEAST / 2
    seen = f"The smaller photo has {smallest} pixels along its longer side, and is enlarged to {case.resize}"
    more = f"; at {best} the sum of scores is {trials[best]:.0f} instead of {case.strength:.0f}" if gain else ""
    return Finding(
        cause="tiny",
        seen=f"{seen}{more}.",
        advice="Enlarge less."
        if gain
        else "There is little to see in so few pixels: use the photo in its original size.",
        command=case.command("--resize", best if gain else "None"),
        confidence=0.8 if gain else 0.5,
        evidence={
            "long_side": smallest,
            "resize": case.resize,
            "strength": case.strength,
            **({"resize_better": best} if gain else {}),
        },
    )


def stretched(case: Case) -> float:
    """The sum of scores with the contrast of both photos stretched to the full range."""
    found = []
    for photo in case.photos:
        low, high = (
            float(torch.quantile(photo.image.flatten()[:: max(1, photo.image.numel() // 100_000)], q))
            for q in (0.005, 0.995)
        )
        found.append(case.small(((photo.image - low) / max(high - low, 1 / 255)).clamp(0, 1), case.resize, 2048))
    return strength_of(case.matched(*found))


def shrunk(case: Case) -> tuple[int, float]:
    """(longer side, sum of scores) of the best of two smaller sizes, at which blur matters less."""
    trials = {}
    for side in (SMALL, SMALL // 2):
        trials[side] = strength_of(case.matched(*(case.small(photo.image, side, 2048) for photo in case.photos)))
    best = max(trials, key=trials.__getitem__)
    return best, trials[best]


def negative(case: Case) -> float:
    """The sum of scores with the second photo as a negative, small."""
    return strength_of(case.matched(case.small(case.photos[0].image), case.small(1 - case.photos[1].image)))


def plain(case: Case) -> float:
    """The sum of scores of the photos as they are, small: what other small probes are compared with."""
    return strength_of(case.matched(*(case.small(photo.image) for photo in case.photos)))


def nearest(case: Case) -> float:
    """Matches of mutual nearest neighbours with the ratio test."""
    return float(len(case.matched(*case.features, NearestNeighbor(ratio=0.8))))


def seen_size(case: Case, number: int) -> tuple[int, int]:
    """(width, height) of a photo as the extractor sees it."""
    return Resize.long_side(case.sizes[number], case.pipeline.extractor.config.resize).resized_size
