"""Why two photos do not match: one match, symptoms, and, where it went badly, some probes."""

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from photoglue.decode import Photo
from photoglue.doctor import geometry, photos, probes, speed
from photoglue.doctor.case import Asked, Case, Symptom, has_points
from photoglue.doctor.files import file_findings
from photoglue.doctor.finding import GUESSES, Cause, Diagnosis, Finding, chosen
from photoglue.doctor.given import GivenFeatures, given_of, read_features, recognized
from photoglue.errors import ConfigError, LicenceError, PhotoGlueWarning, WeightsError
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
PROBES: tuple[tuple[str, Callable[[Case], bool], Symptom], ...] = (
    ("less enlarged", probes.is_enlarged, probes.tiny),
    ("contrast and blur", photos.is_sparse, photos.few_points),
    ("quarter turns", has_points, probes.turned),
    ("other sizes", has_points, probes.scale),
    ("all layers", probes.is_adaptive, probes.bold_exit),
    ("negative", has_points, photos.inverted),
)
"""Looked for where a pair does not match well, in this order, until one explains it: name, whether it makes sense, and
the probe."""
GUESSED: tuple[Symptom, ...] = (photos.too_large, geometry.no_overlap)
"""What is left where nothing explains it."""
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
    asked, options = _asked((image0, image1), (features0, features1), (camera0, camera1), threshold_px, options)
    try:
        pipeline = Pipeline.pretrained(asked.features_name, **options)
    except LicenceError:
        raise
    except WeightsError as error:
        return _diagnosis(asked, None, [_unloadable(error, asked)], (), start)
    found = _file_findings(asked, pipeline)
    if any(finding.cause == "wrong matcher" for finding in found):
        return _diagnosis(asked, None, found, (), start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PhotoGlueWarning)  # of points outside their photo: that is told as a finding
        case = Case.of(asked, pipeline)
    found += [finding for symptom in ALWAYS if (finding := symptom(case)) is not None]
    tried: list[str] = []
    for title, finding in _probed(case):  # until one explains it
        if any(each.confidence >= EXPLAINED and each.cause not in GUESSES for each in found):
            break
        tried.append(title)
        found += [] if finding is None else [finding]
    if case.doubtful:
        found += [finding for symptom in GUESSED if (finding := symptom(case)) is not None]
    return _diagnosis(asked, case, found, tuple(tried), start)


def _probed(case: Case) -> Iterator[tuple[str, Finding | None]]:
    """Each probe that a pair calls for, made when it is asked for, and what it found."""
    weights = case.asked.options.get("weights")
    if weights is not None or (case.doubtful and case.asked.given is not None):
        yield "a photo with itself", probes.wrong_model(case)
    if not case.doubtful:
        return
    if case.asked.given is not None:
        own = Case.of(case.asked, case.pipeline, own=False)
        yield "own features", probes.own_features(case, own)
        case = own  # what follows is about the photos
    for title, makes_sense, symptom in PROBES:
        if makes_sense(case):
            yield title, symptom(case)


def _diagnosis(
    asked: Asked, case: Case | None, found: list[Finding], tried: tuple[str, ...], start: float
) -> Diagnosis:
    """What is told; without a case, nothing could be matched."""
    if case is None:
        counts = (0, 0) if asked.given is None else (len(asked.given[0].keypoints), len(asked.given[1].keypoints))
    else:
        counts = len(case.features[0]), len(case.features[1])
    return Diagnosis(
        photos=asked.names,
        features=None if case is None else case.features[0].kind,
        keypoints=counts,
        matches=0 if case is None else len(case.matches),
        overlap_probability=None if case is None else case.overlap_probability,
        inliers=None if case is None or case.fundamental is None else len(case.fundamental),
        flat=None if case is None else geometry.flatness(case),
        findings=chosen(found),
        probes=tried,
        seconds=time.perf_counter() - start,
    )


def _asked(
    images: tuple[ImageSource, ImageSource],
    features: tuple[FeaturesSource | None, FeaturesSource | None],
    cameras: tuple[PinholeCamera | str | None, PinholeCamera | str | None],
    threshold_px: float | None,
    options: Mapping[str, Any],
) -> tuple[Asked, dict[str, Any]]:
    """What was asked about, read, and the options of the pipeline without the name of the features."""
    photos = load_photo(images[0]), load_photo(images[1])
    names = photos[0].path or "first.jpg", photos[1].path or "second.jpg"
    given = _given(*features, names)
    others = {name: value for name, value in options.items() if name != "features"}
    asked = Asked(
        names=names,
        photos=photos,
        given=given,
        features_name=options.get("features") or _name_of(given, photos[0]),
        options=others,
        threshold_px=threshold_px,
    )
    return replace(asked, cameras=_cameras(*cameras, asked.sizes)), others


def _cameras(
    camera0: PinholeCamera | str | None,
    camera1: PinholeCamera | str | None,
    sizes: tuple[tuple[int, int], tuple[int, int]],
) -> tuple[PinholeCamera, PinholeCamera] | None:
    if camera0 is None:
        if camera1 is not None:
            raise ConfigError("There is a camera of the second photo, but none of the first; give camera0, too.")
        return None
    one, other = (
        PinholeCamera.parse(camera, size) if isinstance(camera, str) else camera
        for camera, size in zip((camera0, camera0 if camera1 is None else camera1), sizes, strict=True)
    )
    return one, other


def _given(
    features0: FeaturesSource | None, features1: FeaturesSource | None, names: tuple[str, str]
) -> tuple[GivenFeatures, GivenFeatures] | None:
    if features0 is None and features1 is None:
        return None
    if features1 is None and isinstance(features0, str | os.PathLike) and Path(features0).suffix.lower() != ".npz":
        features1 = features0  # a file of many photos
    if features0 is None or features1 is None:
        raise ConfigError("There are features of one photo only; give those of both, or an HDF5 file with both.")
    one, other = (
        given_of(source, f"features{number}") if isinstance(source, Features) else read_features(source, name)
        for number, (source, name) in enumerate(zip((features0, features1), names, strict=True))
    )
    return one, other


def _name_of(given: tuple[GivenFeatures, GivenFeatures] | None, photo: Photo) -> str:
    """The extractor of the user's own features, as far as it is known."""
    kind = None if given is None else given[0].kind or given[1].kind
    if given is None or kind is not None:
        return name_of_kind(kind)
    name, _ = recognized(given[0], photo.image) or ("aliked", 0.0)
    return name


def name_of_kind(kind: str | None) -> str:
    """The extractor that makes features of a kind, as the command line spells it; "aliked" for all unknown ones."""
    if kind is not None and kind in EXTRACTORS and kind != "aliked-n16":
        return kind
    return "sift" if kind is not None and kind.startswith("sift") else "aliked"


def _file_findings(asked: Asked, pipeline: Pipeline) -> list[Finding]:
    """What is wrong with the user's own features; and why they cannot be matched at all, if they cannot."""
    if asked.given is None:
        return []
    found = [] if asked.given[0].kind is not None else _misnamed(asked, asked.given[0])
    for own, photo, size in zip(asked.given, asked.photos, asked.sizes, strict=True):
        found += file_findings(own, photo.image, size, asked.extract_again())
    matcher = pipeline.matcher
    assert isinstance(matcher, LightGlue)
    kinds, shape = [own.kind for own in asked.given], matcher.shape
    widths = [own.descriptors.shape[1] for own in asked.given]
    bare = shape.add_scale_ori and any(own.scales is None or own.orientations is None for own in asked.given)
    strange = any(kind is not None and shape.kinds is not None and kind not in shape.kinds for kind in kinds)
    if not (bare or strange or set(widths) != {shape.input_dim} or len(set(kinds) - {None}) > 1):
        return found
    stated = " and ".join(f"{kind or 'unknown'} ({width} channels)" for kind, width in zip(kinds, widths, strict=True))
    wanted = f"{' or '.join(shape.kinds or ('any',))} ({shape.input_dim} channels)"
    known = kinds[0] or kinds[1]
    fitting = f": {model_of(known)}" if known is not None and known in MODEL_OF_KIND else ""
    return [
        *found,
        Finding(
            cause="wrong matcher",
            seen=f"The features are {stated}; the matcher takes {wanted}"
            f"{' with the scale and orientation of each point' if shape.add_scale_ori else ''}.",
            advice=f"Match features with the model that was trained for them{fitting}.",
            command=asked.command(features=name_of_kind(known)),
            confidence=1.0,
            evidence={"kinds": tuple(str(kind) for kind in kinds), "channels": tuple(widths)},
        ),
    ]


def _misnamed(asked: Asked, given: GivenFeatures) -> list[Finding]:
    """That features of an unknown kind were made by another extractor than the one that was named."""
    name, cosine = recognized(given, asked.photos[0].image) or (asked.features_name, 0.0)
    if asked.features_name.startswith(name):
        return []
    return [
        Finding(
            cause="wrong matcher",
            seen=f"{given.origin} does not say what made its features. They are those of {name} (mean cosine with its "
            f"own descriptors at these points: {cosine:.2f}), and not of {asked.features_name}.",
            advice="Match them with the model for these, and state their kind.",
            command=asked.command(features=name),
            confidence=0.95,
            evidence={"recognized": name, "cosine": cosine},
        )
    ]


def _unloadable(error: WeightsError, asked: Asked) -> Finding:
    """Weights that cannot be loaded: the user's own, or released ones that are not here."""
    own = asked.options.get("weights")
    if own is not None:
        cause: Cause = "half-loaded weights"
        advice = "Other programs may load such a file in part, and match at random. Compare with the released weights."
        command = asked.command()
    else:
        cause, advice = "installation", "The released weights are not on this machine, or damaged."
        command = "photoglue weights fetch"
    return Finding(
        cause=cause,
        seen=str(error),
        advice=advice,
        command=command,
        confidence=1.0,
        evidence={"weights": "released" if own is None else str(own)},
    )
