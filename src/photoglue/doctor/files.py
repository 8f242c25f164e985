"""Mistakes in a user's own features that can be seen in the file, without any matching."""

import math
from collections.abc import Iterator

import numpy as np

from photoglue.doctor.finding import Finding
from photoglue.doctor.given import GivenFeatures
from photoglue.errors import MissingExtra, PhotoGlueError
from photoglue.extractors import create_extractor
from photoglue.image import ImageSource

HALF_FROM = 1024
"""Pixels from which half precision keeps no fraction of a pixel."""
PEAKS = (0.173, 0.23)
"""Median of the largest value of a descriptor of unit length: about 0.26 for SIFT, 0.20 for RootSIFT, 0.15 where the
root was taken twice (OpenCV's SIFT on photos of three kinds; the limits are between)."""
SIFT_KINDS = ("sift-opencv", "sift-colmap", "sift")


def file_findings(
    given: GivenFeatures,
    photo: ImageSource,
    photo_size: tuple[int, int],
    again: str,
) -> list[Finding]:
    """What is wrong with features of one photo.

    Args:
        given: The features.
        photo: The photo that they are of.
        photo_size: Its (width, height), upright, pixels.
        again: The command that extracts them properly.
    """
    found = [*_coordinates(given, photo_size, again), _half(given, again), _duplicates(given, again)]
    found += [_descriptors(given, again), _angles(given, again), _sizes(given, photo, again)]
    return [finding for finding in found if finding is not None]


def _coordinates(given: GivenFeatures, photo_size: tuple[int, int], again: str) -> Iterator[Finding]:
    points = _finite(given)
    size = given.image_size or photo_size
    if len(points) < 2:
        return
    low, high = points.min(axis=0), points.max(axis=0)
    evidence = {"x": (int(low[0]), math.ceil(high[0])), "y": (int(low[1]), math.ceil(high[1])), "image_size": size}
    seen = problem = ""
    outside = ((points < -1) | (points > np.array(size))).any(axis=1).mean()
    if min(low) >= -1.001 and max(high) <= 1.001 and min(photo_size) > 4:
        seen = f"All {len(points)} keypoints lie between {min(low):.2f} and {max(high):.2f}"
        problem = "they are shares of the width and height, and not pixels"
    elif given.image_size not in (None, photo_size) and given.image_size == photo_size[::-1]:
        seen = f"image_size is {_text(size)}, and the photo, seen upright, has {_text(photo_size)} pixels"
        problem = "width and height were swapped (image_size is width, height), or the photo's EXIF turn was ignored"
    elif outside > 0.01 and (high < np.array(size[::-1]) + 1).all():
        seen = f"{outside:.0%} of the keypoints lie outside {_text(size)}, and all inside {_text(size[::-1])}"
        problem = "x and y were swapped: keypoints are (x, y), and image_size is (width, height)"
    elif outside > 0.01:
        seen = f"{outside:.0%} of the keypoints lie outside {_text(size)}: x to {high[0]:.0f}, y to {high[1]:.0f}"
        problem = "they are pixels of another size of the photo, or image_size is wrong"
    elif (shares := _shares(low, high, size)) is not None and len(points) >= 200:
        seen = f"The keypoints end at {shares[0]:.0%} of the width and {shares[1]:.0%} of the height of {_text(size)}"
        problem = "they are pixels of a smaller copy of the photo, and were not scaled back"
    elif given.image_size not in (None, photo_size):
        seen = f"image_size is {_text(size)}, and the photo has {_text(photo_size)} pixels"
        problem = (
            "they are of another size of the photo: matching works, but points are not where they are in the photo"
        )
    if seen:
        sure = 0.6 if "smaller copy" in problem or "another size of the photo:" in problem else 0.95
        yield Finding(
            cause="coordinates",
            seen=f"{given.origin}: {seen[0].lower() if seen.startswith('All') else seen[0]}{seen[1:]}.",
            advice=f"Probably {problem}. Keypoints are (x, y) in pixels of the photo, image_size its (width, height).",
            command=again,
            confidence=sure,
            evidence={**evidence, "photo_size": photo_size, "outside": float(outside)},
        )


def _shares(low: np.ndarray, high: np.ndarray, size: tuple[int, int]) -> tuple[float, float] | None:
    """Where the keypoints end, as shares of the sides, if they fill nothing but a corner of the photo's shape."""
    begins, ends = low / np.array(size), high / np.array(size)
    corner = (begins < 0.1).all() and (ends < 0.65).all() and abs(ends[0] - ends[1]) < 0.12
    return (float(ends[0]), float(ends[1])) if corner else None


def _half(given: GivenFeatures, again: str) -> Finding | None:
    points = given.keypoints.astype(np.float64).reshape(-1)
    bad = int((~np.isfinite(given.keypoints.astype(np.float64)).all(axis=1)).sum())
    bad += int((~np.isfinite(given.descriptors.astype(np.float64)).all(axis=1)).sum())
    finite = points[np.isfinite(points)]
    large = finite[finite > HALF_FROM]
    with np.errstate(over="ignore"):
        exact = bool((finite.astype(np.float16).astype(np.float64) == finite).all())
    fractions = bool((finite % 1 != 0).any())  # a detector of whole pixels is no half precision
    even = int((large > 2 * HALF_FROM).sum()) >= 20
    if not bad and not (exact and len(large) and (fractions or even)):
        return None
    step = 2.0 ** (math.floor(math.log2(finite.max())) - 10) if len(large) else 0.0
    seen = (
        f"{bad} points have NaN or infinite values"
        if bad
        else f"all keypoints are numbers of half precision (float16), which are {step:g} px apart at {finite.max():.0f}"
    )
    return Finding(
        cause="half precision",
        seen=f"{given.origin}: {seen}.",
        advice="Extract and store keypoints in float32 (hloc writes float16 unless as_half is False).",
        command=again,
        confidence=0.9 if bad or fractions else 0.8,
        evidence={
            "not_finite": bad,
            "step_px": step,
            "largest": float(finite.max(initial=0)),
            "type": str(given.keypoints.dtype),
        },
    )


def _duplicates(given: GivenFeatures, again: str) -> Finding | None:
    points = _finite(given)
    if len(points) < 20 or given.image_size is None:
        return None
    # A small photo is enlarged before points are looked for, so that they may be closer in its own pixels.
    radius = min(1.0, max(given.image_size) / 1024)
    share = float((_nearest(points) < radius).mean())
    if share <= 0.05 * (1 if radius == 1 else 6):
        return None
    return Finding(
        cause="duplicates",
        seen=f"{given.origin}: {share:.0%} of the keypoints lie within {radius:.2g} px of another one.",
        advice="Keep the best of each group (nms_radius, 2 to 4 pixels): points at one place split their matches.",
        command=again,
        confidence=round(0.6 + 0.3 * share, 2),
        evidence={"share": share, "radius_px": radius, "keypoints": len(points)},
    )


def _nearest(points: np.ndarray) -> np.ndarray:
    """Distance of each point to the next one, pixels."""
    points = points.astype(np.float32)
    nearest = np.empty(len(points), dtype=np.float32)
    for start in range(0, len(points), 1024):
        part = points[start : start + 1024]
        distances = np.hypot(part[:, None, 0] - points[None, :, 0], part[:, None, 1] - points[None, :, 1])
        distances[np.arange(len(part)), start + np.arange(len(part))] = np.inf
        nearest[start : start + 1024] = distances.min(axis=1)
    return nearest


def _descriptors(given: GivenFeatures, again: str) -> Finding | None:
    rows = given.descriptors.astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    lengths = np.linalg.norm(rows, axis=1)
    if len(rows) < 20 or not (lengths > 0).all():
        return None
    length = float(np.median(lengths))
    sift = given.kind in SIFT_KINDS or (given.kind is None and rows.shape[1] == 128 and bool((rows >= 0).all()))
    peak = float(np.median(rows.max(axis=1) / lengths))
    seen = advice = ""
    if sift and peak < PEAKS[0]:
        seen = f"the largest value of a descriptor of length 1 is {peak:.3f} in the median, as after two square roots"
        advice = "RootSIFT was taken twice. Take the root once, or leave it to the extractor (root=True)."
    elif sift and peak > PEAKS[1]:
        seen = f"the largest value of a descriptor of length 1 is {peak:.3f} in the median, as of plain SIFT"
        advice = "The matcher expects RootSIFT: the square root of each value of a descriptor that sums to 1."
    elif not 0.9 < length < 1.1:
        seen = f"the descriptors have length {length:.3g} in the median"
        advice = "The matcher expects descriptors of length 1: divide each by its Euclidean length."
    if not seen:
        return None
    return Finding(
        cause="descriptors",
        seen=f"{given.origin}: {seen}.",
        advice=advice,
        command=again,
        confidence=0.9,
        evidence={"peak": peak, "length": length, "channels": rows.shape[1]},
    )


def _angles(given: GivenFeatures, again: str) -> Finding | None:
    largest = 0.0 if given.orientations is None else float(np.abs(given.orientations).max(initial=0))
    if largest <= 2 * math.pi + 0.01:
        return None
    return Finding(
        cause="descriptors",
        seen=f"{given.origin}: the orientations reach {largest:.0f}, which is no angle in radians.",
        advice="They are degrees: the matcher expects radians, clockwise as seen (np.deg2rad).",
        command=again,
        confidence=0.95,
        evidence={"largest_orientation": largest},
    )


def _sizes(given: GivenFeatures, photo: ImageSource, again: str) -> Finding | None:
    """Whether scales are diameters (OpenCV's ``size``) where sigma is expected: against SIFT's own at these points."""
    if given.kind not in SIFT_KINDS or given.scales is None or len(given.keypoints) < 20:
        return None
    try:
        own = create_extractor("sift", max_keypoints=4000, resize=None).extract(photo)
    except (MissingExtra, PhotoGlueError):
        return None
    points, mine = given.keypoints.astype(np.float32), own.keypoints.numpy()
    distances = np.hypot(points[:, None, 0] - mine[None, :, 0], points[:, None, 1] - mine[None, :, 1])
    if distances.size == 0:
        return None
    close = distances.min(axis=1) < 0.5
    if own.scales is None or close.sum() < 20:
        return None
    ratio = float(np.median(given.scales[close] / own.scales.numpy()[distances.argmin(axis=1)[close]]))
    if not 1.6 < ratio < 2.5:
        return None
    return Finding(
        cause="descriptors",
        seen=f"{given.origin}: the scales are {ratio:.2f} times sigma at {int(close.sum())} points of SIFT's.",
        advice="They are diameters, such as OpenCV's KeyPoint.size: the matcher expects sigma, half of that.",
        command=again,
        confidence=0.85,
        evidence={"scale_ratio": ratio, "points": int(close.sum())},
    )


def _finite(given: GivenFeatures) -> np.ndarray:
    points = given.keypoints.astype(np.float64)
    return points[np.isfinite(points).all(axis=1)]


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"
