"""What is wrong with the photos themselves: dark, blurred, empty, too large, of other colors."""

import torch
from jaxtyping import Float
from torch import Tensor

from photoglue.doctor import probes
from photoglue.doctor.case import Case
from photoglue.doctor.finding import Finding
from photoglue.image import Resize, to_gray

FEW = 200
"""Keypoints of a photo below which that is worth a word."""
DARK, BRIGHT = 30 / 255, 225 / 255
"""Mean values of dark and of overexposed photos."""
BLURRED = 15.0
"""Variance of the Laplacian, of values to 255, at the size that the extractor sees, below which a photo counts as
blurred or plain: the least of 60 pairs that match well is 54."""
CROWDED = 0.6
"""Share of the keypoints in a tenth of the photo, from which the rest of it counts as empty."""
LARGE = 2.5
"""Longer side of a photo, as a multiple of what the extractor sees of it."""
OPPOSITE = -0.5
"""Correlation of colors, or of brightness, between matched points below which they are opposite. In 60 pairs that match
well, that of colors is above 0.6."""


def few_points(case: Case) -> Finding | None:
    """A photo in which few points are found, or all in one place, with what it looks like."""
    counts = [len(features) for features in case.features]
    number = min((0, 1), key=counts.__getitem__)
    crowds = [crowding(features.keypoints, features.image_size) for features in case.features]
    crowded = max((0, 1), key=crowds.__getitem__)
    wanted = min(FEW, case.pipeline.extractor.config.max_keypoints or FEW)
    if counts[number] >= wanted:
        if crowds[crowded] < CROWDED:
            return None
        number = crowded
    small = Resize.long_side(case.sizes[number], case.resize).apply(case.photos[number].image)
    mean, sharpness = float(small.mean()), laplacian_variance(small)
    which = f"{case.names[number]!r} ({counts[number]} points)"
    evidence = {"keypoints": counts[number], "mean": mean, "sharpness": sharpness, "in_a_tenth": crowds[number]}
    spread = float(torch.quantile(small.flatten()[:: max(1, small.numel() // 100_000)], 0.99))
    if counts[number] < wanted and (mean < DARK or mean > BRIGHT or spread < 0.3):
        return _dark(case, number, which, {**evidence, "brightest": spread})
    if counts[number] < wanted and sharpness < BLURRED:
        side, strength = probes.shrunk(case)
        gain = strength > 1.3 * case.strength and strength > probes.LEAST / 2
        better = (
            f"; at {side} pixels the sum of scores is {strength:.0f} instead of {case.strength:.0f}" if gain else ""
        )
        return _finding(
            case,
            f"{which} is blurred or plain: its sharpness (variance of the Laplacian) is {sharpness:.2g}{better}.",
            "Match at a smaller size, where blur matters less."
            if gain
            else "No option brings back what blur took: use a sharper photo.",
            case.command("--resize", side if gain else probes.SMALL),
            0.85 if gain else 0.7,
            {**evidence, "strength": strength},
        )
    if counts[number] < wanted:
        return _finding(
            case,
            f"{which} has few points: it is plain, or small, or all but a part of it is.",
            "Look at it closer: a larger --resize finds more points where the photo has more pixels.",
            case.command("--resize", max(2 * case.resize, 2048), "--max-keypoints", 4096),
            0.6,
            evidence,
        )
    return _finding(
        case,
        f"{crowds[number]:.0%} of the points of {case.names[number]!r} lie in a tenth of the photo.",
        "The rest of it is plain: more points reach it.",
        case.command("--max-keypoints", 8192),
        0.5,
        evidence,
    )


def _dark(case: Case, number: int, which: str, evidence: dict[str, float]) -> Finding:
    strength = probes.stretched(case)
    gain = strength > 1.3 * case.strength and strength > probes.LEAST / 2
    word = "overexposed" if evidence["mean"] > BRIGHT else "dark, or of low contrast"
    better = (
        f"; with stretched contrast the sum of scores is {strength:.0f} instead of {case.strength:.0f}" if gain else ""
    )
    path = case.names[number]
    code = f"from PIL import Image, ImageOps; ImageOps.autocontrast(Image.open({path!r}).convert('RGB'), cutoff=0.5).save('stretched.png')"
    return _finding(
        case,
        f"{which} is {word}: its mean is {evidence['mean']:.3f} of white, 99 % of it is below {evidence['brightest']:.2f}{better}.",
        "Stretch its contrast, and match the result."
        if gain
        else "Stretched contrast does not bring matches either: use a better exposed photo.",
        f'python -c "{code}"',
        0.9 if gain else 0.7,
        {**evidence, "strength": strength},
    )


def _finding(
    case: Case, seen: str, advice: str, command: str, confidence: float, evidence: dict[str, float]
) -> Finding:
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
        seen=f"A photo has {side} pixels along its longer side and is seen at {seen}: {side / seen:.1f} pixels become one.",
        advice="Look at it in tiles, or at a larger size (--resize, with more --max-keypoints).",
        command=case.command("--tiles", "always"),
        confidence=0.6,
        evidence={"long_side": side, "resize": seen, "inliers": int(case.inliers.sum())},
    )


def colors(case: Case) -> Finding | None:
    """Red and blue exchanged in one photo, or a negative, by the colors of matched points."""
    points0, points1 = case.inlier_points
    image0, image1 = (photo.image for photo in case.photos)
    if len(points0) >= 30:
        gray = correlation(
            *(values_at(to_gray(image), points)[0] for image, points in ((image0, points0), (image1, points1)))
        )
        if gray < OPPOSITE:
            return _colors(
                case, f"Brightness is opposite at matched points (correlation {gray:.2f})", "negative", gray, 0.9
            )
        if image0.shape[0] == image1.shape[0] == 3:
            first, second = (values_at(image, points) for image, points in ((image0, points0), (image1, points1)))
            swapped = correlation(first[0] - first[2], second[0] - second[2])
            if swapped < OPPOSITE:
                return _colors(
                    case,
                    f"Red minus blue is opposite at matched points (correlation {swapped:.2f})",
                    "BGR",
                    swapped,
                    0.9,
                )
    if not case.failed:
        return None
    before, after = probes.plain(case), probes.negative(case)
    if after > 1.5 * before and after > probes.LEAST:
        seen = f"With the second photo as a negative the sum of scores is {after:.0f} instead of {before:.0f}"
        return _colors(case, seen, "negative", after, 0.85)
    return None


def _colors(case: Case, seen: str, what: str, value: float, confidence: float) -> Finding:
    path = case.names[1]
    turn = "ImageOps.invert(i)" if what == "negative" else "Image.merge('RGB', i.split()[::-1])"
    code = f"from PIL import Image, ImageOps; i = Image.open({path!r}).convert('RGB'); {turn}.save('repaired.png')"
    reason = (
        "one of the photos is a negative"
        if what == "negative"
        else "one has its channels in the order blue, green, red (OpenCV's)"
    )
    return Finding(
        cause="colors",
        seen=f"{seen}: {reason}.",
        advice="Repair the one that looks wrong; the command does it for the second.",
        command=f'python -c "{code}"',
        confidence=confidence,
        evidence={"what": what, "value": value},
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
