"""Why two photos do not match: one match, symptoms, and, where it went badly, some probes."""

import os
import shlex
import time
from collections.abc import Mapping
from typing import Any, TypeAlias

from photoglue.decode import Photo
from photoglue.doctor import geometry, photos, probes, speed
from photoglue.doctor.case import Case, Symptom, threshold_of, verified
from photoglue.doctor.files import file_findings
from photoglue.doctor.finding import Diagnosis, Finding, chosen
from photoglue.doctor.given import GivenFeatures, given_of, read_features
from photoglue.errors import ConfigError, LicenceError, WeightsError
from photoglue.extractors import EXTRACTORS
from photoglue.geometry.camera import PinholeCamera
from photoglue.image import ImageSource, load_photo
from photoglue.matchers.lightglue import LightGlue
from photoglue.matchers.lightglue.kinds import MODEL_OF_KIND, model_of
from photoglue.pipeline import Pipeline
from photoglue.structs import Features

FeaturesSource: TypeAlias = str | os.PathLike[str] | Features
"""A file of features, or the features."""

ALWAYS: tuple[Symptom, ...] = (
    geometry.static_border,
    geometry.intrinsics,
    geometry.degenerate,
    geometry.look_alike,
    photos.colors,
    speed.slow,
)
"""Looked for in every pair; they cost next to nothing."""
PROBES: Mapping[str, Symptom] = {
    "a photo with itself": probes.wrong_model,
    "quarter turns": probes.turned,
    "other sizes": probes.scale,
    "all layers": probes.bold_exit,
    "less enlarged": probes.tiny,
    "contrast and blur": photos.few_points,
    "large photos": photos.too_large,
}
"""Looked for where a pair does not match well, in this order, until one explains it."""
EXPLAINED = 0.85
"""Confidence from which no further probe is made."""


def diagnose(
    image0: ImageSource,
    image1: ImageSource,
    *,
    features0: FeaturesSource | None = None,
    features1: FeaturesSource | None = None,
    camera0: PinholeCamera | str | None = None,
    camera1: PinholeCamera | str | None = None,
    threshold_px: float | None = None,
    **options: Any,
) -> Diagnosis:
    """What is wrong with two photos that do not match, or with what was made of them: at most three findings.

    Photos that match well cost one match. Others are matched again, small, in some other ways: turned, at other sizes,
    to the last layer, with more contrast; that takes a few seconds. Nothing is changed or written.

    Args:
        image0: A path, PIL image, numpy array (h × w × c) or tensor (c × h × w).
        image1: The second image, in any of these forms.
        features0: Your own features of image0, to be examined and matched in place of PhotoGlue's: a file as
            ``read_features`` takes it, or ``Features``.
        features1: Your own features of image1; None: those in the file of features0, if it has them.
        camera0: The first camera, if a pose is wanted: a ``PinholeCamera``, or "fx,fy,cx,cy" in pixels.
        camera1: The second camera; None: the same as the first.
        threshold_px: The threshold with which you verify, pixels; None: the usual one.
        **options: Whatever ``Pipeline.pretrained`` takes: ``features``, ``resize``, ``config``, ``weights``, ….

    Raises:
        ImageError: If an image cannot be read.
        ConfigError: If there are no such features or options, or a file holds none.
        LicenceError: If the weights are non-commercial and that was not accepted.
    """
    start = time.perf_counter()
    loaded = load_photo(image0), load_photo(image1)
    names = tuple(photo.path or f"{word}.jpg" for photo, word in zip(loaded, ("first", "second"), strict=True))
    given = _given(features0, features1, (names[0], names[1]))
    kind = next((each.kind for each in given if each is not None and each.kind is not None), None)
    wanted = options.pop("features", None)
    name = wanted or _name_of_kind(kind)
    try:
        pipeline = Pipeline.pretrained(name, **options)
    except LicenceError:
        raise
    except WeightsError as error:
        return _without_match(names, time.perf_counter() - start, _unloadable(error, names, name, options))
    found, refused = _file_findings(given, loaded, names, name, pipeline)
    if refused is not None:
        return _without_match(names, time.perf_counter() - start, *found, refused)
    case = _examined(names, loaded, given, name, options, pipeline, (camera0, camera1), threshold_px)
    found += [finding for symptom in ALWAYS if (finding := symptom(case)) is not None]
    tried = []
    for title, symptom in PROBES.items():
        if not case.doubtful or any(finding.confidence >= EXPLAINED and finding.cause != "slow" for finding in found):
            break
        tried.append(title)
        if (finding := symptom(case)) is not None:
            found.append(finding)
    if case.failed and (finding := geometry.no_overlap(case)) is not None:
        found.append(finding)
    return Diagnosis(
        photos=case.names,
        features=case.features[0].kind,
        keypoints=(len(case.features[0]), len(case.features[1])),
        matches=len(case.matches),
        overlap_probability=case.overlap_probability,
        inliers=None if case.fundamental is None else len(case.fundamental),
        flat=geometry.flatness(case),
        findings=chosen(found),
        probes=tuple(tried),
        seconds=time.perf_counter() - start,
    )


def _examined(
    names: tuple[str, str],
    loaded: tuple[Photo, Photo],
    given: tuple[GivenFeatures | None, GivenFeatures | None],
    name: str,
    options: Mapping[str, Any],
    pipeline: Pipeline,
    cameras: tuple[PinholeCamera | str | None, PinholeCamera | str | None],
    threshold_px: float | None,
) -> Case:
    """The pair, matched once and checked against both geometries."""
    sizes = tuple((photo.image.shape[2], photo.image.shape[1]) for photo in loaded)
    features = []
    for photo, size, own in zip(loaded, sizes, given, strict=True):
        kind = pipeline.extractor.kind
        features.append(pipeline.extractor.extract(photo) if own is None else own.features(size, kind))
    matches = pipeline.matcher.match(*features).cpu()
    points, threshold = (matches.points0, matches.points1), threshold_of(sizes, pipeline.extractor.config.resize)
    return Case(
        names=names,
        photos=loaded,
        given=given,
        features_name=name,
        options=options,
        pipeline=pipeline,
        features=(features[0], features[1]),
        matches=matches,
        overlap_probability=pipeline.matcher.overlap_probability(matches),
        fundamental=verified(points, "fundamental", threshold),
        homography=verified(points, "homography", 2 * threshold),
        cameras=_cameras(cameras, sizes),
        threshold_px=threshold_px,
    )


def _cameras(
    cameras: tuple[PinholeCamera | str | None, PinholeCamera | str | None], sizes: tuple[tuple[int, int], ...]
) -> tuple[PinholeCamera, PinholeCamera] | None:
    first, second = cameras[0], cameras[0] if cameras[1] is None else cameras[1]
    if first is None or second is None:
        if second is not None:
            raise ConfigError("There is a camera of the second photo, but none of the first; give camera0, too.")
        return None
    one, other = (
        PinholeCamera.parse(camera, size) if isinstance(camera, str) else camera
        for camera, size in zip((first, second), sizes, strict=True)
    )
    return one, other


def _given(
    features0: FeaturesSource | None, features1: FeaturesSource | None, names: tuple[str, str]
) -> tuple[GivenFeatures | None, GivenFeatures | None]:
    if features0 is None or features1 is None:
        if features0 is None and features1 is None:
            return None, None
        # A file with many photos has both; one for each is given by name.
        if isinstance(features0, str | os.PathLike) and str(features0).lower().endswith((".h5", ".hdf5")):
            features1 = features0
        else:
            raise ConfigError("There are features of one photo only; give those of both, or an HDF5 file with both.")
    one, other = (
        given_of(source, f"features{number}") if isinstance(source, Features) else read_features(source, name)
        for number, (source, name) in enumerate(zip((features0, features1), names, strict=True))
    )
    return one, other


def _name_of_kind(kind: str | None) -> str:
    """The extractor that makes features of a kind, as the command line spells it."""
    if kind is None or kind in EXTRACTORS:
        return kind if kind is not None and kind != "aliked-n16" else "aliked"
    return "sift" if kind.startswith("sift") else "aliked"


def _file_findings(
    given: tuple[GivenFeatures | None, GivenFeatures | None],
    loaded: tuple[Photo, Photo],
    names: tuple[str, str],
    name: str,
    pipeline: Pipeline,
) -> tuple[list[Finding], Finding | None]:
    """What is wrong with the user's own features; and why they cannot be matched at all, if they cannot."""
    found: list[Finding] = []
    again = shlex.join(["photoglue", "extract", *names, "--features", name, "--store", "features.h5"])
    for photo, own in zip(loaded, given, strict=True):
        if own is not None:
            size = photo.image.shape[2], photo.image.shape[1]
            found += file_findings(own, photo.image, size, again)
    if given[0] is None or given[1] is None:
        return found, None
    kinds = (given[0].kind, given[1].kind)
    widths = (given[0].descriptors.shape[1], given[1].descriptors.shape[1])
    shape = pipeline.matcher.shape if isinstance(pipeline.matcher, LightGlue) else None
    fits = shape is None or (
        all(kind is None or shape.kinds is None or kind in shape.kinds for kind in kinds)
        and widths == (shape.input_dim, shape.input_dim)
        and not (shape.add_scale_ori and any(each is None or each.scales is None for each in given))
    )
    if fits and len(set(kinds) - {None}) < 2:
        return found, None
    wanted = "" if shape is None else f"{', '.join(shape.kinds or ('any',))} with {shape.input_dim} channels"
    stated = " and ".join(
        f"{kind or 'unknown'} with {width} channels" for kind, width in zip(kinds, widths, strict=True)
    )
    known = kinds[0] or kinds[1]
    other = _name_of_kind(known) if known in MODEL_OF_KIND else "aliked"
    missing = " They lack the scale and orientation of each point." if shape is not None and shape.add_scale_ori else ""
    return found, Finding(
        cause="wrong matcher",
        seen=f"The features are {stated}; the matcher takes {wanted}.{missing}",
        advice=f"Match them with the model that was trained for them ({model_of(known) if known else 'see photoglue weights list'}).",
        command=shlex.join(["photoglue", "match", *names, "--features", other]),
        confidence=1.0,
        evidence={"kinds": tuple(str(kind) for kind in kinds), "channels": widths},
    )


def _unloadable(error: WeightsError, names: tuple[str, ...], name: str, options: Mapping[str, Any]) -> Finding:
    """Weights that cannot be loaded: the user's own, or released ones that are not here."""
    own = options.get("weights") is not None
    fetch = ["photoglue", "weights", "fetch", *(["aliked-n16", "aliked-lightglue"] if name == "aliked" else [])]
    return Finding(
        cause="half-loaded weights" if own else "installation",
        seen=str(error),
        advice="Other programs load such a file in part, in silence, and match at random. Compare with the released weights:"
        if own
        else "The released weights are not on this machine, or damaged.",
        command=shlex.join(["photoglue", "match", *names, "--features", name] if own else fetch),
        confidence=1.0,
        evidence={"weights": str(options.get("weights", "released"))},
    )


def _without_match(names: tuple[str, ...], seconds: float, *findings: Finding) -> Diagnosis:
    return Diagnosis(
        photos=(names[0], names[1]),
        features=None,
        keypoints=(0, 0),
        matches=0,
        overlap_probability=None,
        inliers=None,
        flat=None,
        findings=chosen(list(findings)),
        probes=(),
        seconds=seconds,
    )
