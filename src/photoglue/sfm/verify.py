"""Matches → what geometry accepts of them: essential matrices where focal lengths are known, else fundamental ones."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float64

from photoglue.batch.engine import Engine, Inline, Threads
from photoglue.batch.filling import Filling, Progress, Summary, compared
from photoglue.errors import ConfigError, OutputError, ShapeError
from photoglue.files import digest_of
from photoglue.geometry.frames import to_colmap
from photoglue.sfm.cameras import Cameras, ColmapCamera
from photoglue.sfm.verified import PairKind, VerifiedPair, VerifiedStore
from photoglue.solvers import poselib
from photoglue.solvers.poselib import SAMPLE_SIZE
from photoglue.solvers.verification import Model, Verification
from photoglue.store import FeatureStore, MatchStore
from photoglue.structs import Features

VERSION = 2
"""Version of what an entry is and how it was computed."""
PAIRS_AT_ONCE = 16
"""Pairs of a chunk: so many are lost at most when the process is killed."""
STALE = {"matches": "whose matches changed since", "cameras": "whose cameras changed since"}
ITERATIONS = 20_000
"""Most random samples of a pair, as in hloc: with PoseLib's 100,000, pairs of strangers take seconds."""
LEAST_SAMPLES = 100
"""Random samples of a homography, however many matches agree with it."""
CALIBRATED = 0.95
"""Share of the inliers of a fundamental matrix that an essential one must have if its focal lengths are those of EXIF;
COLMAP's ``min_E_F_inlier_ratio``."""
FLAT = 0.8
"""Share of a pair's inliers that also agree with a homography, above which the scene may be flat or the camera may only
have turned; COLMAP's ``max_H_inlier_ratio``."""
TURNED = 0.9
"""Share of the inliers of a homography that also agree with a mere turn, above which the camera only turned."""
STEP = 2.0**0.125
FOCALS_TRIED = 1.2 * STEP ** np.arange(-16, 17)
"""Focal lengths that are tried for a turn if they are not known, as shares of the longer side."""

Pair: TypeAlias = tuple[str, str]
Arrays: TypeAlias = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Which matches geometry accepts."""

    threshold_px: float | None = None
    """Largest error of an inlier, pixels of the photos; None: 1 pixel of the photos as the extractor saw them."""
    min_inliers: int = 15
    """A pair with fewer inliers is none, as in COLMAP."""
    seed: int = 0
    """Seed of the random samples."""

    def __post_init__(self) -> None:
        if self.threshold_px is not None and not 0 < self.threshold_px < math.inf:
            raise ConfigError(f"threshold_px is {self.threshold_px}; it must be a positive number of pixels.")
        if self.min_inliers < 1:
            raise ConfigError(f"min_inliers is {self.min_inliers}; it must be at least 1.")


def verify_matches(
    pairs: Iterable[Pair],
    features: str | os.PathLike[str],
    matches: str | os.PathLike[str],
    store: str | os.PathLike[str],
    cameras: Cameras,
    *,
    options: VerifyOptions | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Verifies the matches of many pairs, and keeps inliers and geometry of each in an HDF5 file.

    Pairs that are in the file are left alone unless their matches or cameras have changed. When this is interrupted,
    even by ``kill -9``, the same call goes on from there.

    Args:
        pairs: Names in the stores, in either order; those without matches are reported.
        features: The HDF5 file of ``batch.extract``.
        matches: The HDF5 file of ``batch.match``.
        store: The HDF5 file of verified pairs; made, or added to.
        cameras: Those of all photos of the pairs.
        options: Thresholds; None: the defaults.
        engine: Where the work is done; None or ``Inline()``: in this process, with as many threads as torch has.
            ``Processes(workers=4)`` uses four others.
        progress: Called with (pairs done, pairs in all).

    Raises:
        ConfigError: If the file was made with other options; the message names them.
        OutputError: If a file cannot be read or written. What was done is kept.
        MissingExtra: If h5py or PoseLib is not installed.
    """
    options = options or VerifyOptions()
    wanted = sorted({(min(pair), max(pair)) for pair in pairs})
    records, failed = _records(Path(matches), wanted, cameras)
    with FeatureStore.open(features) as opened:
        resize = (opened.options or {}).get("resize")
    filling = Filling(
        store=VerifiedStore,
        options={**asdict(options), "resize": resize},
        stale=lambda opened, pair: _stale(opened, pair, records[pair]),
        chunks=lambda left: [left[i : i + PAIRS_AT_ONCE] for i in range(0, len(left), PAIRS_AT_ONCE)],
        work=_work,
        state=(Path(features), Path(matches), cameras, options, records),
        write=VerifiedStore.write,
        what="checked pair",
    )
    if engine is None or isinstance(engine, Inline):  # PoseLib lets other threads run
        engine = Threads(workers=torch.get_num_threads())
    summary = filling.run(store, sorted(records), engine, progress)
    return replace(summary, failed={**failed, **summary.failed})


def _records(path: Path, pairs: Sequence[Pair], cameras: Cameras) -> tuple[dict[Pair, dict[str, Any]], dict[str, str]]:
    """What the geometry of each pair is made from; and why some have none."""
    records, failed = {}, {}
    with MatchStore.open(path) as store:
        made_with = digest_of(store.options)
        for pair in pairs:
            try:
                if pair not in store:
                    raise ConfigError("not matched")
                made_from = store.made_from_pair(*pair) or store.made_from_pair(*pair[::-1])
                known = [cameras.of(name).params if cameras.of(name).prior else None for name in pair]
                digest = made_from and digest_of([made_with, made_from])
                records[pair] = {"version": VERSION, "matches": digest, "cameras": digest_of(known)}
            except (ConfigError, OutputError, KeyError) as error:
                failed[" ".join(pair)] = str(error)
    return records, failed


def _stale(store: VerifiedStore, pair: Pair, now: Mapping[str, Any]) -> str | None:
    """Why a pair has to be verified; None: it is up to date."""
    if pair not in store:
        return ""
    why = compared(store.made_from_pair(*pair), now, STALE)
    if why is None:
        store.read(*pair)
    return why


def _work(
    state: tuple[Path, Path, Cameras, VerifyOptions, Mapping[Pair, dict[str, Any]]], pairs: Sequence[Pair]
) -> list[tuple[Pair, tuple[VerifiedPair, dict[str, Any]] | str]]:
    features, matches, cameras, options, records = state
    results: list[tuple[Pair, tuple[VerifiedPair, dict[str, Any]] | str]] = []
    known: dict[str, Features] = {}  # photos recur in a chunk, and reading takes as long as verifying
    with FeatureStore.open(features) as feature_store, MatchStore.open(matches) as match_store:
        resize = (feature_store.options or {}).get("resize")
        for name0, name1 in pairs:
            try:
                known |= {name: feature_store[name] for name in (name0, name1) if name not in known}
                points = known[name0], known[name1]
                found = match_store.read(name0, name1, points[0].keypoints, points[1].keypoints)
                both = cameras.of(name0), cameras.of(name1)
                entry = verify_pair(points, found.indices.numpy(), both, options, resize=resize)
                results.append(((name0, name1), (entry, records[name0, name1])))
            except (OutputError, ShapeError) as error:
                results.append(((name0, name1), str(error)))
    return results


def stored_points(features: Features) -> Float64[np.ndarray, "n 2"]:
    """The keypoints in COLMAP's pixels: as stored, with the centre of the top-left one at (0.5, 0.5)."""
    return to_colmap(features.stored_frame.from_upright(features.keypoints.double())).numpy()


def verify_pair(
    features: tuple[Features, Features],
    indices: np.ndarray,
    cameras: tuple[ColmapCamera, ColmapCamera],
    options: VerifyOptions,
    *,
    resize: int | None = None,
) -> VerifiedPair:
    """The geometry of one pair, and which of its matches agree with it.

    Where both focal lengths are known it is an essential matrix, else, or if those of EXIF do not fit, a fundamental
    one. If nearly as many matches agree with a homography, the pair is called flat or turned.

    Args:
        features: Those of both photos.
        indices: Matches, k × 2: index of the keypoint in either photo.
        cameras: Those of both photos.
        options: Thresholds.
        resize: Length of the longer side that the extractor saw, pixels; None: the photos as they are.
    """
    sizes = [each.image_size for each in features]
    threshold = options.threshold_px or poselib.scaled_threshold_px("essential", sizes, resize)
    points = tuple(stored_points(each)[indices[:, i]] for i, each in enumerate(features))
    straight = tuple(camera.undistorted(each) for camera, each in zip(cameras, points, strict=True))

    def estimate(model: Model, samples: int = ITERATIONS) -> Verification:
        left, right = (torch.from_numpy(each) for each in (straight if model == "essential" else points))
        camera0, camera1 = (camera.pinhole if model == "essential" else None for camera in cameras)
        limits: dict[str, Any] = {"threshold_px": threshold, "seed": options.seed, "max_iterations": samples}
        return poselib.verify(left, right, model, camera0=camera0, camera1=camera1, **limits)

    def accepted(found: Verification) -> bool:
        alpha = _chance(found.model, threshold, cameras[1].image_size)
        enough = len(found) >= max(options.min_inliers, SAMPLE_SIZE[found.model] + 1)
        return enough and meaningful(len(indices), len(found), SAMPLE_SIZE[found.model], alpha)

    nothing = VerifiedPair(kind=PairKind.DEGENERATE, inliers=np.zeros((0, 2), np.uint32), n_matches=len(indices))
    if len(indices) < options.min_inliers:
        return nothing
    known = all(camera.prior for camera in cameras)
    model = found if known and accepted(found := estimate("essential")) else None
    sure = model is not None and len(model) >= CALIBRATED * len(indices)  # no other model has more inliers than matches
    if model is None or not (sure or all(camera.given for camera in cameras)):  # EXIF may be wrong: of a cropped photo
        found = estimate("fundamental")
        if accepted(found) and (model is None or len(model) < CALIBRATED * len(found)):
            model = found
    plane = estimate("homography", ITERATIONS if model is None else _samples(FLAT * len(model) / len(indices)))
    if model is None and not accepted(plane):
        return nothing
    best = plane if model is None else model
    kind = PairKind.CALIBRATED if best.model == "essential" else PairKind.UNCALIBRATED
    if len(plane) > FLAT * len(best):
        kind = _flat(plane, (points[0], points[1]), cameras, threshold)
    matrices = {found.model: found.matrix.numpy() for found in (best, plane) if found.matrix is not None}
    return VerifiedPair(
        kind=kind, inliers=indices[best.inliers.numpy()].astype(np.uint32), n_matches=len(indices), **matrices
    )


def meaningful(n_matches: int, n_inliers: int, sample_size: int, chance: float) -> bool:
    """Whether so many matches do not agree with a model by chance.

    That is so if, among all choices of inliers and samples from wrong matches, less than one would be expected to agree
    as well (Moisan and Stival, "A probabilistic criterion to detect rigid point matches", IJCV 2004).

    Args:
        n_matches: Matches of the pair.
        n_inliers: Those that agree with the model.
        sample_size: Matches that define a model.
        chance: Probability that a wrong match agrees with a given model.
    """
    if n_inliers <= sample_size:
        return False
    choices = _log_choose(n_matches, n_inliers) + _log_choose(n_inliers, sample_size) + math.log(n_matches)
    return choices + (n_inliers - sample_size) * math.log(min(chance, 1.0)) < 0


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _samples(share: float) -> int:
    """Random samples after which a homography that this share of the matches agrees with is found.

    Without one the scene is not flat, so that no more need be tried.
    """
    return max(
        LEAST_SAMPLES, min(ITERATIONS, math.ceil(math.log(1e-9) / math.log1p(-(share ** SAMPLE_SIZE["homography"]))))
    )


def _chance(model: Model, threshold_px: float, size: tuple[int, int]) -> float:
    """Probability that a point anywhere in a photo is as near to its epipolar line, or its place."""
    area = size[0] * size[1]
    return math.pi * threshold_px**2 / area if model == "homography" else 2 * math.hypot(*size) * threshold_px / area


def _flat(
    plane: Verification, points: Arrays, cameras: tuple[ColmapCamera, ColmapCamera], threshold_px: float
) -> PairKind:
    """Whether a homography is that of a flat scene or of a turn."""
    assert plane.matrix is not None
    known = all(camera.prior for camera in cameras)
    inside = plane.inliers.numpy()
    matrices = [camera.pinhole.matrix.numpy()[None] for camera in cameras]
    if not known:
        focals = FOCALS_TRIED * max(cameras[0].image_size)
        for _ in range(2):  # coarse, then fine
            tried = [_with_focals(camera, focals) for camera in cameras]
            between = np.linalg.inv(tried[1]) @ plane.matrix.numpy() @ tried[0]
            scales = np.linalg.svd(between, compute_uv=False)
            best = int((scales[:, 0] / scales[:, 2]).argmin())
            matrices = [each[best : best + 1] for each in tried]
            focals = focals[best] * STEP ** np.linspace(-1, 1, len(focals))
    between = np.linalg.inv(matrices[1][0]) @ plane.matrix.numpy() @ matrices[0][0]
    left, _, right = np.linalg.svd(between * np.sign(np.linalg.det(between)))
    turn = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    agree = _transferred(matrices[1][0] @ turn @ np.linalg.inv(matrices[0][0]), points, threshold_px)
    if (agree & inside).sum() > TURNED * inside.sum():
        return PairKind.PANORAMIC
    return PairKind.PLANAR if known else PairKind.PLANAR_OR_PANORAMIC


def _with_focals(camera: ColmapCamera, focals: Float64[np.ndarray, " f"]) -> Float64[np.ndarray, "f 3 3"]:
    """The camera's matrix with each focal length, if its own is not known."""
    matrices = np.repeat(camera.pinhole.matrix.numpy()[None], len(focals), axis=0)
    if not camera.prior:
        matrices[:, 0, 0] = matrices[:, 1, 1] = focals
    return matrices


def _transferred(matrix: np.ndarray, points: Arrays, threshold_px: float) -> Bool[np.ndarray, " k"]:
    """Which points of image 0 the matrix takes to near their partners in image 1."""
    taken = np.c_[points[0], np.ones(len(points[0]))] @ matrix.T
    places = taken[:, :2] / np.where(np.abs(taken[:, 2:]) < 1e-12, 1e-12, taken[:, 2:])
    near: np.ndarray = np.linalg.norm(places - points[1], axis=1) <= threshold_px
    return near
