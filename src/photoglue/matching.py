"""Two photos in one call, with models that are kept between calls."""

import os
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from photoglue.geometry.camera import PinholeCamera
from photoglue.image import ImageSource
from photoglue.limits.remedies import Limits
from photoglue.matchers.base import Matcher
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.pair import PairResult
from photoglue.pipeline import Pipeline
from photoglue.solvers.poselib import Model
from photoglue.structs import Matches


def match_pair(
    image0: ImageSource,
    image1: ImageSource,
    *,
    mask0: ImageSource | None = None,
    mask1: ImageSource | None = None,
    verify: Model | None = None,
    camera0: PinholeCamera | str | None = None,
    camera1: PinholeCamera | str | None = None,
    threshold_px: float | None = None,
    **options: Any,
) -> PairResult:
    """Everything that `photoglue match` tells of two photos; the models are kept between calls.

    Args:
        image0: A path, PIL image, numpy array (h × w × c) or tensor (c × h × w).
        image1: The second image, in any of these forms.
        mask0: No keypoints of image0 where it is black; a file or PIL image is in stored pixels, an array upright.
        mask1: No keypoints of image1 where it is black, in pixels as for mask0.
        verify: "homography", "fundamental" or "essential", to check the matches with; see ``Pipeline.run``.
        camera0: The first camera, for "essential", such as "fx,fy,cx,cy" in pixels.
        camera1: The second camera; None: the same as the first.
        threshold_px: Largest error of a match that agrees, pixels; None: what suits model and photos.
        **options: Whatever ``Pipeline.pretrained`` and ``limits.Limits`` take: ``features``, ``resize``, ``matcher``,
            ``rotation``, ``zoom``, ``tiles``, ….
    """
    more: dict[str, Any] = {"camera0": camera0, "camera1": camera1, "threshold_px": threshold_px}
    more["limits"] = Limits(**{each.name: options.pop(each.name) for each in fields(Limits) if each.name in options})
    return _cached_pipeline(**options).run(image0, image1, mask0=mask0, mask1=mask1, verify=verify, **more)


def match_images(  # noqa: PLR0913  (the first function that a user meets names what is chosen most often)
    image0: ImageSource,
    image1: ImageSource,
    *,
    features: str = "aliked",
    max_keypoints: int | None = 2048,
    resize: int | None = 1024,
    mask0: ImageSource | None = None,
    mask1: ImageSource | None = None,
    verify: Model | None = None,
    device: str | None = None,
    allow_noncommercial: bool = False,
    **options: Any,
) -> Matches:
    """Which points of two photos show the same thing.

    ``matches.points0`` and ``matches.points1`` are the matched points, ``matches.scores`` their confidences. The models
    are kept between calls. ``match_pair`` takes the same arguments and tells more: whether the photos overlap, the
    geometry, the features.

    Args:
        image0: A path, PIL image, numpy array (h × w × c) or tensor (c × h × w).
        image1: The second image, in any of these forms.
        features: A name from ``photoglue.EXTRACTORS``.
        max_keypoints: At most so many points an image, the best; None: all.
        resize: Length of the longer side that the extractor sees, pixels; None: the image as it is.
        mask0: No keypoints of image0 where it is black; a file or PIL image is in stored pixels, an array upright.
        mask1: No keypoints of image1 where it is black, in pixels as for mask0.
        verify: Keep only matches that agree with one "homography", "fundamental" or "essential" matrix; None: all.
        device: Where to compute, such as "cuda:0"; None: on a GPU if there is one.
        allow_noncommercial: Accept weights whose licence forbids commercial use (SuperPoint, HardNet).
        **options: Whatever else ``match_pair`` takes: ``rotation``, ``zoom``, ``matcher``, ``config``, ``refine``, ….

    Raises:
        ImageError: If an image cannot be read.
        ConfigError: If there are no such features or options, or no such device.
        LicenceError: If the weights are non-commercial and that was not accepted.
        WeightsError: If weights cannot be had or are corrupt.
    """
    options |= {"features": features, "max_keypoints": max_keypoints, "resize": resize, "device": device}
    options |= {"mask0": mask0, "mask1": mask1, "verify": verify, "allow_noncommercial": allow_noncommercial}
    result = match_pair(image0, image1, **options)
    return result.matches if result.inliers is None else result.matches.select(result.inliers)


_NEAREST = NearestNeighbor()


def _cached_pipeline(
    *, matcher: Matcher | None = None, weights: str | os.PathLike[str] | None = None, **options: Any
) -> Pipeline:
    """The pipeline with these options: one that was made before, unless its file of weights has changed since."""
    path = None if weights is None else Path(weights)
    if isinstance(options.get("also"), list):
        options["also"] = tuple(options["also"])
    if matcher is not None:  # a user's object is not kept, but the extractor is
        made = _pretrained(path, matcher=_NEAREST, **options)
        return Pipeline(made.extractor, matcher, made.refine, made.also)
    changed = path.stat().st_mtime_ns if path is not None and path.is_file() else None
    return _pretrained(path, changed, **options)


@lru_cache(maxsize=4)
def _pretrained(weights: Path | None, changed: int | None = None, **options: Any) -> Pipeline:  # noqa: ARG001
    return Pipeline.pretrained(weights=weights, **options)
