"""Cases for the doctor that are made up: known cameras and points, with a matcher that is told its answer."""

import numpy as np
import torch

from photoglue.decode import Photo
from photoglue.doctor.case import Asked, Case, verified
from photoglue.extractors.base import Extractor, ExtractorConfig
from photoglue.geometry.camera import PinholeCamera
from photoglue.matchers.base import Matcher
from photoglue.pipeline import Pipeline
from photoglue.structs import Features, Matches

SIZE = (640, 480)
CAMERA = PinholeCamera(fx=500.0, fy=500.0, cx=320.0, cy=240.0, image_size=SIZE)


class Nothing(Extractor):
    """Finds no points."""

    kind = "nothing"
    descriptor_dim = 2

    def detect(self, images, masks=None):
        return [features_at(torch.zeros(0, 2), (image.shape[2], image.shape[1])) for image in images]


class Told(Matcher):
    """Matches nothing."""

    def match_many(self, pairs):
        return [matches_of(*(each.keypoints for each in pair), 0) for pair in pairs]


def features_at(points, size=SIZE, descriptors=None):
    """Features at some points, the first ones best."""
    if descriptors is None:
        descriptors = torch.nn.functional.normalize(torch.randn(len(points), 16), dim=1)
    scores = torch.linspace(1, 0, len(points))
    return Features(keypoints=points.float(), descriptors=descriptors, scores=scores, image_size=size)


def matches_of(points0, points1, count, score=0.9):
    """The first so many points of both photos match, in order."""
    numbers = [torch.arange(len(points)) for points in (points0, points1)]
    rows = [torch.where(each < count, each, -1) for each in numbers]
    return Matches(
        matches0=rows[0],
        matches1=rows[1],
        matching_scores0=score * (rows[0] >= 0).float(),
        matching_scores1=score * (rows[1] >= 0).float(),
        keypoints0=points0.float(),
        keypoints1=points1.float(),
    )


def made_case(points0, points1, count=None, *, images=None, score=0.9, probability=1.0, resize=1024, **about):
    """A case of given points, of which the first ``count`` match (None: all)."""
    points0, points1 = (torch.as_tensor(np.asarray(points), dtype=torch.float32) for points in (points0, points1))
    images = images or (torch.full((3, SIZE[1], SIZE[0]), 0.4), torch.full((3, SIZE[1], SIZE[0]), 0.6))
    descriptors = about.pop("descriptors", (None, None))
    matches = matches_of(points0, points1, len(points0) if count is None else count, score)
    pair = matches.points0, matches.points1
    sizes = [(image.shape[2], image.shape[1]) for image in images]
    return Case(
        asked=Asked(
            names=("a.jpg", "b.jpg"),
            photos=(Photo(image=images[0]), Photo(image=images[1])),
            given=None,
            features_name="aliked",
            options={},
            **about,
        ),
        pipeline=Pipeline(Nothing(ExtractorConfig(resize=resize)), Told()),
        features=(features_at(points0, sizes[0], descriptors[0]), features_at(points1, sizes[1], descriptors[1])),
        matches=matches,
        overlap_probability=probability,
        fundamental=verified(pair, "fundamental", 1.0),
        homography=verified(pair, "homography", 2.0),
    )


def seen(flat=False, turn_deg=4.0, move=(0.5, 0.1, 0.0), count=120, seed=0):
    """Points of a scene in two photos by ``CAMERA``, pixels."""
    random = np.random.default_rng(seed)
    world = random.uniform([-1.5, -1.2, 4], [1.5, 1.2, 4 if flat else 8], (count, 3))
    angle = np.radians(turn_deg)
    rotation = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return [points[:, :2] / points[:, 2:] * 500 + [320, 240] for points in (world, world @ rotation.T + move)]
