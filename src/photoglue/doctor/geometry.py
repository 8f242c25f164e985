"""What the positions of the matches say: nothing moves, cameras are wrong, the scene is flat, it only looks alike."""

from collections.abc import Mapping
from dataclasses import replace
from math import inf

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from photoglue.doctor.case import FEW_INLIERS, Case, verified
from photoglue.doctor.finding import Evidence, Finding

STILL_PX = 1.0
"""Displacement below which a match does not move, pixels."""
UNSURE, COVERED, RIVALLED, ENOUGH = 0.65, 0.5, 0.5, 120
"""A pair may only look alike if the mean score of its inliers is below the first, fewer than the second of the good
points between them are matched, more than the third of them look more like another point of their own photo than like
their partner, and there are fewer than the fourth. Chosen on the left and right halves of façades, which share nothing,
and on photos that do overlap: no number tells all of them apart."""
FOCAL_MATTERS = 1.1
"""Inliers of a fundamental matrix, as a multiple of those of an essential one, from which the cameras are wrong. With
the right ones it is about 1; a focal length that is half of the true one gives from 1.08 to 1.9."""
FLAT = 0.9
"""Inliers of a homography, as a share of those of a fundamental matrix, from which the latter means nothing."""


def static_border(case: Case) -> Finding | None:
    """Many matches that do not move at all: a border, a watermark, a part of the camera's own car."""
    points0, points1 = case.matches.points0, case.matches.points1
    if case.sizes[0] != case.sizes[1] or len(points0) < 20:
        return None
    moved = (points1 - points0).norm(dim=1)
    still = moved < STILL_PX
    share = float(still.float().mean())
    image0, image1 = (photo.image for photo in case.asked.photos)
    same = image0.shape == image1.shape and float((image0 - image1).abs().mean()) < 0.03
    moves = share > 0.97 or float(moved[~still].median()) > 5
    if share < 0.3 or same or not moves:
        return None
    low, high = points0[still].amin(dim=0), points0[still].amax(dim=0)
    box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    return Finding(
        cause="static border",
        seen=f"{share:.0%} of the {len(points0)} matches do not move by {STILL_PX:g} px, and the photos are not the "
        f"same: they lie between ({box[0]}, {box[1]}) and ({box[2]}, {box[3]}).",
        advice="A border, watermark or display is in both photos. Paint it black in a mask (keep.png), the rest white.",
        command=case.asked.command("--mask0", "keep.png", "--mask1", "keep.png"),
        confidence=0.9,
        evidence={"still": share, "matches": len(points0), "box": box},
    )


def intrinsics(case: Case) -> Finding | None:
    """Cameras, or a threshold, with which far fewer matches agree than could."""
    if case.fundamental is None:
        return None
    points = (case.matches.points0, case.matches.points1)
    usual = case.fundamental.threshold_px
    count = len(case.fundamental)
    if case.asked.threshold_px is not None and case.asked.threshold_px < usual / 2:
        strict = verified(points, "fundamental", case.asked.threshold_px)
        if strict is not None and count >= FEW_INLIERS and count > 2 * len(strict):
            return _intrinsics(
                f"Within {case.asked.threshold_px:g} px {len(strict)} matches agree, within {usual:.2g} px {count}",
                f"The threshold is too strict for photos of this size, seen at {case.resize} pixels.",
                case.asked.command("--verify", "fundamental", "--threshold", f"{usual:.3g}"),
                {"inliers": len(strict), "inliers_at_usual": count, "threshold_px": case.asked.threshold_px},
            )
    if case.asked.cameras is None:
        return None
    essential = verified(points, "essential", usual, case.asked.cameras)
    if essential is None or count < max(FEW_INLIERS, FOCAL_MATTERS * len(essential)):
        return None
    focal = tuple(round(camera.fx) for camera in case.asked.cameras)
    finding = _intrinsics(
        f"{count} matches agree with a fundamental matrix, which knows no cameras, and {len(essential)} with these "
        f"cameras (focal lengths {focal[0]} and {focal[1]} px)",
        "The intrinsics are of another size of the photos, turned, or of another camera; or the lens bends lines.",
        case.asked.command("--verify", "fundamental"),
        {"fundamental": count, "essential": len(essential), "focal_px": focal},
    )
    return finding if count > 1.3 * len(essential) else replace(finding, confidence=0.7)


def _intrinsics(seen: str, advice: str, command: str, evidence: Mapping[str, Evidence]) -> Finding:
    return Finding(
        cause="intrinsics", seen=f"{seen}.", advice=advice, command=command, confidence=0.9, evidence=evidence
    )


def flatness(case: Case) -> float | None:
    """Inliers of a homography as a share of those of a fundamental matrix; None: too few to compare."""
    if case.fundamental is None or case.homography is None or len(case.fundamental) < FEW_INLIERS:
        return None
    return len(case.homography) / len(case.fundamental)


def degenerate(case: Case) -> Finding | None:
    """A flat scene, or a camera that only turned, where a pose is wanted: it is not defined, or is one of two."""
    flat = flatness(case)
    if case.asked.cameras is None or flat is None or flat < FLAT:
        return None
    return Finding(
        cause="degenerate",
        seen=f"A homography explains {flat:.0%} as many matches as a fundamental matrix.",
        advice="The scene is flat, or the camera only turned: the matches are good, but the direction of a translation "
        "does not follow from them. Use the homography, or photos from places further apart.",
        command=case.asked.command("--verify", "homography"),
        confidence=0.8,
        evidence={"homography_by_fundamental": flat, "inliers": int(case.inliers.sum())},
    )


def look_alike(case: Case) -> Finding | None:
    """Matches that agree with each other, but skip the best points between them, and have better partners at home."""
    if case.fundamental is None or case.failed:
        return None
    pairs = case.matches.indices[case.inliers]
    score = float(case.matches.scores[case.inliers].mean())
    covered = [coverage(case, number, pairs[:, number]) for number in (0, 1)]
    rivals = [rivalry(case, number, pairs) for number in (0, 1)]
    alone, better = sum(covered) / 2, sum(rivals) / 2
    if not (score < UNSURE and alone < COVERED and better > RIVALLED and len(pairs) < ENOUGH):
        return None
    return Finding(
        cause="look-alike",
        seen=f"{len(pairs)} matches agree, but their mean score is {score:.2f}, only {alone:.0%} of the good points "
        f"between them are matched, and {better:.0%} look more like another point of their own photo than "
        "like their partner.",
        advice="Things repeat here: the photos may show two parts that look alike. Look at the picture first.",
        command=case.asked.command("--verify", "fundamental", "--plot", "matches.png"),
        confidence=0.6,
        evidence={"mean_score": score, "covered": alone, "rivalled": better, "inliers": len(pairs)},
    )


def coverage(case: Case, number: int, matched: Tensor) -> float:
    """The share of the better half of the points inside the hull of the matched ones that are matched."""
    features = case.features[number]
    points = features.keypoints.cpu()
    good = torch.zeros(len(points), dtype=torch.bool)
    good[features.scores.cpu().topk(max(1, len(points) // 2)).indices] = True
    inside = good & in_hull(points, points[matched.cpu()])
    taken = torch.zeros_like(good)
    taken[matched.cpu()] = True
    return float((inside & taken).sum() / inside.sum().clamp(min=1))


def rivalry(case: Case, number: int, pairs: Tensor) -> float:
    """The share of the matched points that look more like another point of their photo than like their partner."""
    own, other = (
        torch.nn.functional.normalize(case.features[i].descriptors.float(), dim=1) for i in (number, 1 - number)
    )
    mine = pairs[:, number]
    points = case.features[number].keypoints
    similarity = own[mine] @ own.T
    near = torch.cdist(points[mine], points) < 0.04 * max(case.sizes[number])
    best = similarity.masked_fill(near, -inf).amax(dim=1)
    partner = (own[mine] * other[pairs[:, 1 - number]]).sum(dim=1)
    return float((best > partner).float().mean())


def in_hull(points: Float[Tensor, "n 2"], corners: Float[Tensor, "k 2"]) -> Bool[Tensor, " n"]:
    """Which points lie in the convex hull of others, or on it; none if those are on one line."""
    hull = _hull(corners.double())
    if len(hull) < 3:
        return torch.zeros(len(points), dtype=torch.bool)
    following = hull.roll(-1, dims=0)
    edges, offsets = following - hull, points.double()[:, None] - hull
    return (edges[:, 0] * offsets[..., 1] - edges[:, 1] * offsets[..., 0] >= -1e-6).all(dim=1)


def _hull(points: Float[Tensor, "k 2"]) -> Float[Tensor, "j 2"]:
    """The corners of the convex hull, in order (Andrew's monotone chain)."""
    ordered = sorted(set(map(tuple, points.tolist())))
    chains = []
    for row in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for x, y in row:
            while len(chain) >= 2 and _turn(chain[-2], chain[-1], (x, y)) <= 0:
                chain.pop()
            chain.append((x, y))
        chains += chain[:-1]
    return torch.tensor(chains, dtype=torch.float64).reshape(-1, 2)


def _turn(first: tuple[float, float], second: tuple[float, float], third: tuple[float, float]) -> float:
    ahead, aside = (second[0] - first[0], second[1] - first[1]), (third[0] - first[0], third[1] - first[1])
    return ahead[0] * aside[1] - ahead[1] * aside[0]


def no_overlap(case: Case) -> Finding | None:
    """Nothing that says that the photos show the same thing."""
    probability, count = case.overlap_probability, int(case.inliers.sum())
    if (
        not case.failed
        or (probability is not None and probability >= 0.5)
        or (probability is None and count >= FEW_INLIERS)
    ):
        return None
    overlap = "" if probability is None else f"; that they overlap is {probability:.0%} likely"
    return Finding(
        cause="no overlap",
        seen=f"{len(case.matches)} matches, {count} of which agree with one geometry{overlap}.",
        advice="Most likely the photos show different things, or the same from too far apart. No option changes that: "
        "match each with a photo in between.",
        command=case.asked.command("--plot", "matches.png"),
        confidence=0.7 if probability is not None and probability < 0.25 else 0.5,
        evidence={
            "matches": len(case.matches),
            "inliers": count,
            **({} if probability is None else {"overlap_probability": probability}),
        },
    )
