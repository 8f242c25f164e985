"""What is wrong with the photos themselves: dark, blurred, empty, too large, of other colors."""

import json
import shlex
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from photoglue.doctor.case import LEAST, SMALL, Case
from photoglue.doctor.finding import Evidence, Finding
from photoglue.image import Resize, to_gray

FEW = 200
"""Keypoints of a photo below which that is worth a word."""
DARK, BRIGHT, PALE = 30 / 255, 225 / 255, 0.3
"""Mean values of dark and of overexposed photos; value that only a hundredth of a dark photo exceeds."""
BLURRED = 15.0
"""Variance of the Laplacian, of values to 255, at the size that the extractor sees, below which a photo counts as
blurred or plain: in 60 pairs that match well it is above 50."""
CROWDED = 0.6
"""Share of the keypoints in a tenth of the photo, from which the rest of it counts as empty: in those pairs it is below
0.5."""
LARGE = 2.5
"""Longer side of a photo, as a multiple of what the extractor sees of it."""
OPPOSITE = -0.5
"""Correlation of colors, or of brightness, between matched points below which they are opposite: in those pairs it is
above 0.6 and 0.3."""


def has_few(case: Case) -> bool:
    """Whether a photo has fewer points than one would like."""
    return min(map(len, case.features)) < min(FEW, case.pipeline.extractor.config.max_keypoints or FEW)


def is_sparse(case: Case) -> bool:
    """Whether a pair fails, and a photo has few points, or all in one place."""
    crowds = [crowding(features.keypoints, features.image_size) for features in case.features]
    return case.failed and (has_few(case) or max(crowds) >= CROWDED)


def few_points(case: Case) -> Finding:
    """A photo in which few points are found, with what it looks like, or one with all points in one place."""
    counts = [len(features) for features in case.features]
    number = min((0, 1), key=counts.__getitem__)
    if not has_few(case):
        return _crowded(case)
    small = Resize.long_side(case.sizes[number], case.resize).apply(case.asked.photos[number].image)
    mean, sharpness, brightest = float(small.mean()), laplacian_variance(small), _quantile(small, 0.99)
    which = f"{case.asked.names[number]!r} ({counts[number]} points)"
    evidence: dict[str, Evidence] = {"keypoints": counts[number], "mean": mean, "sharpness": sharpness}
    evidence["brightest"] = brightest
    if mean < DARK or mean > BRIGHT or brightest < PALE:
        word = "overexposed" if mean > BRIGHT else "dark"
        seen = f"{which} is {word}: its mean is {mean:.3f} of white, and 99 % of it are below {brightest:.2f}"
        return _exposed(case, number, seen, evidence)
    if sharpness < BLURRED:
        return _blurred(
            case, f"{which} is blurred or plain: the variance of its Laplacian is {sharpness:.2g}", evidence
        )
    return _finding(
        f"{which} has few points: it is plain, or all but a part of it is.",
        "Look at it closer: a larger size finds more points where the photo has more pixels.",
        case.asked.command("--resize", 2 * case.resize, "--max-keypoints", 4096),
        0.6,
        evidence,
    )


def _crowded(case: Case) -> Finding:
    crowds = [crowding(features.keypoints, features.image_size) for features in case.features]
    number = max((0, 1), key=crowds.__getitem__)
    return _finding(
        f"{crowds[number]:.0%} of the points of {case.asked.names[number]!r} lie in a tenth of the photo.",
        "The rest of it is plain; a limit on the points that is higher reaches it.",
        case.asked.command("--max-keypoints", 8192),
        0.5,
        {"keypoints": len(case.features[number]), "in_a_tenth": crowds[number]},
    )


def _exposed(case: Case, number: int, seen: str, evidence: Mapping[str, Evidence]) -> Finding:
    stretched = []
    for photo in case.asked.photos:
        low, high = _quantile(photo.image, 0.005), _quantile(photo.image, 0.995)
        image = ((photo.image - low) / max(high - low, 1 / 255)).clamp(0, 1)
        stretched.append(case.small(image, case.resize, 2048))
    strength = case.strength_with(*stretched)
    gain = strength > max(1.3 * case.strength, LEAST / 2)
    better = (
        f"; with stretched contrast the sum of scores is {strength:.0f} instead of {case.strength:.0f}" if gain else ""
    )
    code = "from PIL import Image, ImageOps; ImageOps.autocontrast("
    code += f'Image.open({json.dumps(case.asked.names[number])}).convert("RGB"), cutoff=0.5).save("stretched.png")'
    return _finding(
        f"{seen}{better}.",
        "Stretch its contrast, and match the result."
        if gain
        else "However stretched, it holds little: look at it in stretched.png, and take another one if it is empty.",
        shlex.join(["python", "-c", code]),
        0.9 if gain else 0.75,
        {**evidence, "strength": case.strength, "strength_stretched": strength},
    )


def _blurred(case: Case, seen: str, evidence: Mapping[str, Evidence]) -> Finding:
    trials = {
        side: case.strength_with(*(case.small(photo.image, side, 2048) for photo in case.asked.photos))
        for side in (SMALL, SMALL // 2)
    }
    side = max(trials, key=trials.__getitem__)
    gain = trials[side] > max(1.3 * case.strength, LEAST / 2)
    better = (
        f"; at {side} pixels the sum of scores is {trials[side]:.0f} instead of {case.strength:.0f}" if gain else ""
    )
    return _finding(
        f"{seen}{better}.",
        "Match at a smaller size, where blur matters less." if gain else "No option mends that: take a sharper photo.",
        case.asked.command("--resize", side),
        0.85 if gain else 0.7,
        {**evidence, "strength": case.strength, "better_resize": side, "strength_there": trials[side]},
    )


def _finding(seen: str, advice: str, command: str, confidence: float, evidence: Mapping[str, Evidence]) -> Finding:
    return Finding(
        cause="few points", seen=seen, advice=advice, command=command, confidence=confidence, evidence=evidence
    )


def too_large(case: Case) -> Finding | None:
    """Photos much larger than what the extractor sees of them."""
    side, seen = max(map(max, case.sizes)), case.pipeline.extractor.config.resize
    if seen is None or side <= LARGE * seen:
        return None
    return Finding(
        cause="too large",
        seen=f"A photo is {side} pixels long and seen at {seen}: {side / seen:.1f} of them become one.",
        advice="Match it in tiles, or at a larger size (--resize, with more --max-keypoints).",
        command=case.asked.command("--tiles", "always"),
        confidence=0.6,
        evidence={"long_side": side, "resize": seen, "inliers": int(case.inliers.sum())},
    )


def colors(case: Case) -> Finding | None:
    """Red and blue exchanged in one photo, or a negative, by the colors of matched points."""
    points = case.inlier_points
    images = [photo.image for photo in case.asked.photos]
    if len(points[0]) < 30:
        return None
    gray = correlation(*(values_at(to_gray(image), place)[0] for image, place in zip(images, points, strict=True)))
    if gray < OPPOSITE:
        return _repainted(case, "brightness", gray)
    if any(image.shape[0] != 3 for image in images):
        return None
    first, second = (values_at(image, place) for image, place in zip(images, points, strict=True))
    chroma = correlation(first[0] - first[2], second[0] - second[2])
    return _repainted(case, "red minus blue", chroma) if chroma < OPPOSITE else None


def inverted(case: Case) -> Finding | None:
    """A negative that hardly matches: matched again with the second photo inverted."""
    first = case.small(case.asked.photos[0].image)
    before = case.strength_with(first, case.small(case.asked.photos[1].image))
    after = case.strength_with(first, case.small(1 - case.asked.photos[1].image))
    if after < max(1.5 * before, LEAST):
        return None
    return _repainted(case, "brightness", after / max(before, 1.0), "the sum of scores of the negative against that")


def _repainted(case: Case, what: str, value: float, measure: str = "correlation at matched points") -> Finding:
    negative = what == "brightness"
    turn = "ImageOps.invert(photo)" if negative else 'Image.merge("RGB", photo.split()[::-1])'
    code = "from PIL import Image, ImageOps; "
    code += f'photo = Image.open({json.dumps(case.asked.names[1])}).convert("RGB"); {turn}.save("repaired.png")'
    reason = "one of the photos is a negative"
    if not negative:
        reason = "the channels of one photo are blue, green, red (OpenCV's order)"
    return Finding(
        cause="colors",
        seen=f"In the two photos {what} is opposite ({measure}: {value:.2f}): {reason}.",
        advice="Repair the one that looks wrong; the command does it for the second.",
        command=shlex.join(["python", "-c", code]),
        confidence=0.9,
        evidence={"what": "negative" if negative else "BGR", "value": value},
    )


def values_at(image: Float[Tensor, "c h w"], points: Float[Tensor, "k 2"]) -> Float[Tensor, "c k"]:
    """Values of the pixels nearest to some points."""
    columns, rows = points.round().long().cpu().T
    values: Tensor = image.cpu()[:, rows.clamp(0, image.shape[1] - 1), columns.clamp(0, image.shape[2] - 1)]
    return values


def correlation(first: Float[Tensor, " k"], second: Float[Tensor, " k"]) -> float:
    """The correlation of two rows of numbers; 0 where one of them hardly changes, such as the colors of gray photos."""
    if min(float(first.std()), float(second.std())) < 0.01:
        return 0.0
    return float(torch.corrcoef(torch.stack([first, second]))[0, 1])


def laplacian_variance(image: Float[Tensor, "c h w"]) -> float:
    """How sharp an image is: the variance of its Laplacian, of values to 255; 0 of images of less than 3 pixels."""
    gray = 255 * to_gray(image)[0]
    if min(gray.shape) < 3:
        return 0.0
    around = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:]
    return float((4 * gray[1:-1, 1:-1] - around).var(unbiased=False))


def crowding(points: Float[Tensor, "n 2"], image_size: tuple[int, int]) -> float:
    """The share of the points in the fullest 10 of 100 cells of an image; 0 without points."""
    if not len(points):
        return 0.0
    cells = (points.cpu() / torch.tensor(image_size) * 10).long().clamp(0, 9)
    counts = torch.bincount(10 * cells[:, 1] + cells[:, 0], minlength=100).sort(descending=True).values
    return float(counts[:10].sum() / len(points))


def _quantile(image: Float[Tensor, "c h w"], share: float) -> float:
    values = image.flatten()
    return float(torch.quantile(values[:: 1 + len(values) // 100_000], share))  # it takes no more than 16 million
