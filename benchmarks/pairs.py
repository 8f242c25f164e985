"""What is matched: real features of real photos."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from photoglue import ALIKED, ALIKEDConfig, Features
from photoglue.errors import require

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
SIDE = 1600
"""Longer side that the extractor sees, pixels: there are 4096 points and more in the motorcycle photos then."""


def photo_pair(images: list[Path] | None) -> tuple[Path, Path]:
    """The two photos of most sections: those given, or the motorcycle stereo pair of scikit-image."""
    if images:
        return images[0], images[1]
    folder = Path(str(require("skimage", extra="demo").__file__)).parent / "data"
    return folder / "motorcycle_left.png", folder / "motorcycle_right.png"


def point_features(paths: tuple[Path, ...] | list[Path], points: int) -> list[Features]:
    """ALIKED's best points of each photo, best first, without a threshold, so that there are as many as asked for.

    In float32, so that all machines match the same features.
    """
    config = ALIKEDConfig(max_keypoints=points, detection_threshold=0.0, resize=SIDE, precision="float32")
    extractor = ALIKED.pretrained(config)
    features = [extractor.extract(path) for path in paths]
    for path, found in zip(paths, features, strict=True):
        if len(found) < points:
            raise SystemExit(f"{path} has only {len(found)} of the {points} points; use a photo with more in it.")
    return features


def mixed_pairs(
    features: list[Features], folder: Path | None, count: int, limits: tuple[int, int] | list[int]
) -> list[tuple[Features, Features]]:
    """Pairs whose images have different numbers of points, uniform between two limits; the same for the same arguments.

    The points are the best ones of each photo, as an extractor with that limit would give. The photos are the pair
    given, and each photo of a folder with the next.
    """
    sources = [(features[0], features[1])]
    if folder is not None:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        others = point_features(paths, limits[1])
        sources += list(pairwise(others))
    chance = np.random.default_rng(0)
    pairs = []
    for i in range(count):
        first, second = sources[i % len(sources)]
        m, n = (int(value) for value in chance.integers(limits[0], limits[1], size=2, endpoint=True))
        pairs.append((first[:m], second[:n]))
    return pairs
