"""Keyframes: what is extracted and matched on another thread, and how it meets the tracks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from photoglue.decode import photo_of_array
from photoglue.errors import ConfigError
from photoglue.extractors.base import Extractor
from photoglue.geometry.camera import PinholeCamera
from photoglue.matchers.base import Matcher
from photoglue.retrieval import PhotoIndex, Vocabulary, mutual_neighbors
from photoglue.solvers import poselib
from photoglue.structs import Features, Matches
from photoglue.video.points import Live

RECENT, RETRIEVED, TRIED = 3, 5, 2
"""A lost camera is compared with so many of the last keyframes, and so many that retrieval finds; so many are tried."""
SAME_PX, DRIFT_PX, GEOMETRY_PX = 1.5, 4.0, 2.0
"""A keypoint as near to a track is the same point; a track that is so far from where the matcher sees its point has
drifted; and the largest error of matches that agree with one geometry. Pixels of a frame 640 pixels long."""
NEW = -2
"""The id of a point that is to become a new track."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """A keyframe matched with an earlier one."""

    frame: int
    """Number of the earlier keyframe, which is image 0."""
    matches: Matches
    """All matches, the earlier keyframe first."""
    inliers: Bool[Tensor, " k"]
    """Which of them agree with one geometry."""
    rotation: Float[Tensor, "3 3"] | None = None
    """With a known camera, R of X1 = R · X0 + t, from the earlier keyframe's frame to this one's."""
    translation: Float[Tensor, "3"] | None = None
    """With a known camera, the direction of t, of length 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Keyframe:
    """A frame with features, each of which may be the point of a track."""

    frame: int
    """Its number."""
    timestamp: float
    reason: str
    """Why it is one: "first", "few tracks", "motion", "interval", "lost", "size" or "asked"."""
    image: UInt8[np.ndarray, "h w 3"] | None
    """RGB; None in what the tracker keeps."""
    mask: Bool[np.ndarray, "h w"] | None
    """True where there may be points; None: everywhere."""
    features: Features
    ids: Int64[np.ndarray, " n"]
    """The track of each feature; -1: none."""
    points: Float32[np.ndarray, "n 2"]
    """Where that track is, a fraction of a pixel beside the feature; a track that is found again is put as far beside
    the feature there, so that it does not walk from feature to feature."""
    born: Int64[np.ndarray, " n"]
    links: tuple[Link, ...]
    """With which earlier keyframes it was matched; none that it does not overlap with."""
    vector: Float[Tensor, " f"] | None
    """VLAD, for retrieval; None: there is no vocabulary for these features."""
    refound: int = 0
    """Tracks that had ended and go on from here."""
    new: int = 0
    """Tracks that begin here."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KeyframeJob:
    """What the other thread is given: nothing in it changes any more."""

    frame: int
    timestamp: float
    reason: str
    image: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"] | None
    live: Live
    """The tracks of this frame."""
    lost: bool
    known: tuple[Keyframe, ...]
    """The keyframes to match with, the last one last."""
    right: UInt8[np.ndarray, "h w 3"] | None = None
    """The other picture of a stereo pair."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KeyframeDone:
    """What it gives back."""

    keyframe: Keyframe
    scores: Float32[np.ndarray, " n"]
    """How sure each feature's track is: the score of its match, or 1 if it begins here."""
    wrong: Int64[np.ndarray, " k"]
    """Tracks that contradict the geometry of the others, and end."""
    disparities: Float32[np.ndarray, "n 2"] | None = None
    """From each feature to its point in the right picture; nan where there is none. None: no stereo pair."""
    seconds: dict[str, float] = field(default_factory=dict)
    """CPU seconds of this thread for "extract" and "match"."""


@dataclass(frozen=True)
class KeyframeWorker:
    """Extracts and matches keyframes. It has no state: the same job gives the same answer."""

    extractor: Extractor
    matcher: Matcher
    camera: PinholeCamera | None
    spacing_px: float
    min_matches: int
    vocabulary: Vocabulary | None = None

    @torch.no_grad()
    def run(self, job: KeyframeJob) -> KeyframeDone:
        """Do the work on one keyframe."""
        start = time.thread_time()
        features = self._extract(job.image, job.mask)
        right = None if job.right is None else self._extract(job.right, None)
        vector = None if self.vocabulary is None else self.vocabulary.describe(features.descriptors, features.kind)
        middle = time.thread_time()
        links = self._links(job, features, vector)
        scale = max(features.image_size) / 640
        found = _identified(features.keypoints.cpu().numpy(), job.live, links, job.known, scale)
        ids = found.ids
        gap = _nearest_px(features.keypoints.cpu().numpy(), job.live.points)
        ids[(ids == -1) & (gap > self.spacing_px * scale)] = NEW
        keyframe = Keyframe(
            frame=job.frame, timestamp=job.timestamp, reason=job.reason, image=job.image, mask=job.mask,
            features=features.cpu(),
            ids=ids, points=found.points, born=found.born, links=tuple(links), vector=vector,
        )  # fmt: skip
        disparities = None if right is None else self._disparities(features, right)
        seconds = {"extract": middle - start, "match": time.thread_time() - middle}
        return KeyframeDone(
            keyframe=keyframe,
            scores=found.scores,
            wrong=self._wrong(job, scale),
            disparities=disparities,
            seconds=seconds,
        )

    def _extract(self, image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"] | None) -> Features:
        return self.extractor.extract_many([photo_of_array(image)], [mask])[0]

    def _links(self, job: KeyframeJob, features: Features, vector: Float[Tensor, " f"] | None) -> list[Link]:
        """Matches with the last keyframe, or, if the camera is lost or they fail, with those most like this one."""
        if not len(features) or not job.known:
            return []
        last = job.known[-1]
        links = [] if job.lost else [self._link(last, features)]
        if links and int(links[0].inliers.sum()) >= self.min_matches:
            return links
        tried = [] if job.lost else [last]
        for known in self._most_alike(job.known, features, vector, tried):
            link = self._link(known, features)
            if int(link.inliers.sum()) >= self.min_matches:
                return [link]
        return []

    def _most_alike(
        self,
        known: Sequence[Keyframe],
        features: Features,
        vector: Float[Tensor, " f"] | None,
        tried: Sequence[Keyframe],
    ) -> list[Keyframe]:
        chosen = {each.frame: each for each in known[-RECENT:]}
        if vector is not None:
            vectors = torch.stack([each.vector for each in known if each.vector is not None])
            index = PhotoIndex.of_vectors([str(i) for i in range(len(vectors))], vectors, "vlad")
            rows = index.search(vector[None], "vlad", RETRIEVED).rows[0].tolist()
            chosen |= {known[row].frame: known[row] for row in rows}
        else:
            chosen = {each.frame: each for each in known[-RECENT - RETRIEVED :]}
        left = [each for each in chosen.values() if each not in tried]
        common = {each.frame: mutual_neighbors(each.features.descriptors, features.descriptors.cpu()) for each in left}
        return sorted(left, key=lambda each: (-common[each.frame], -each.frame))[:TRIED]

    def _link(self, known: Keyframe, features: Features) -> Link:
        matches = self.matcher.match(known.features.to(self.extractor.device), features).cpu()
        inliers, pose = self._verified(matches.points0, matches.points1, features.image_size, known.features.image_size)
        return Link(frame=known.frame, matches=matches, inliers=inliers, rotation=pose[0], translation=pose[1])

    def _verified(
        self,
        points0: Float[Tensor, "k 2"],
        points1: Float[Tensor, "k 2"],
        size: tuple[int, int],
        other: tuple[int, int],
    ) -> tuple[Bool[Tensor, " k"], tuple[Tensor | None, Tensor | None]]:
        """Which points agree with one geometry, and, with a known camera, the rotation and direction of motion."""
        threshold = GEOMETRY_PX * max(size) / 640
        camera = self.camera if self.camera is not None and size == other == self.camera.image_size else None
        found = poselib.verify(
            points0, points1, "fundamental" if camera is None else "essential", camera0=camera, camera1=camera,
            threshold_px=threshold, max_iterations=1000,
        )  # fmt: skip
        return found.inliers, (found.rotation, found.translation)

    def _wrong(self, job: KeyframeJob, scale: float) -> Int64[np.ndarray, " k"]:
        """Tracks since the last keyframe that contradict the geometry of most."""
        if job.lost or not job.known:
            return np.zeros(0, dtype=np.int64)
        last = job.known[-1]
        _, rows0, rows1 = np.intersect1d(last.ids, job.live.ids, return_indices=True)
        if len(rows0) < 4 * self.min_matches:
            return np.zeros(0, dtype=np.int64)
        points0 = torch.from_numpy(last.points[rows0])
        points1 = torch.from_numpy(job.live.points[rows1])
        moved = (points1 - points0).norm(dim=1).median()
        if float(moved) < 2 * scale:  # nearly still: a geometry would be one of noise
            return np.zeros(0, dtype=np.int64)
        inliers, _ = self._verified(points0, points1, last.features.image_size, last.features.image_size)
        if int(inliers.sum()) < len(inliers) / 2:
            return np.zeros(0, dtype=np.int64)
        return np.asarray(job.live.ids[rows1[~inliers.numpy()]])

    def _disparities(self, left: Features, right: Features) -> Float32[np.ndarray, "n 2"]:
        matches = self.matcher.match(left, right).cpu()
        found = np.full((len(left), 2), np.nan, dtype=np.float32)
        if len(matches) >= self.min_matches:
            inliers, _ = self._verified(matches.points0, matches.points1, left.image_size, (0, 0))
            good = matches.select(inliers)
            found[good.indices[:, 0].numpy()] = (good.points1 - good.points0).numpy()
        return found


def vocabulary_for(extractor: Extractor) -> Vocabulary | None:
    """The vocabulary that comes with this package for these features, if there is one."""
    try:
        return Vocabulary.pretrained(extractor.kind)
    except ConfigError:
        return None


def remembered(keyframe: Keyframe) -> Keyframe:
    """What the tracker keeps of a keyframe."""
    return replace(keyframe, image=None, mask=None, links=())


def _nearest_px(points: Float32[np.ndarray, "n 2"], others: Float32[np.ndarray, "k 2"]) -> Float32[np.ndarray, " n"]:
    """How far each point is from the nearest of others."""
    if not len(others) or not len(points):
        return np.full(len(points), np.inf, dtype=np.float32)
    return np.asarray(np.sqrt(np.square(points[:, None] - others[None]).sum(axis=2).min(axis=1)), dtype=np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Identified:
    """Which track each keypoint of a keyframe is of."""

    ids: Int64[np.ndarray, " n"]
    points: Float32[np.ndarray, "n 2"]
    born: Int64[np.ndarray, " n"]
    scores: Float32[np.ndarray, " n"]


def _identified(
    keypoints: Float32[np.ndarray, "n 2"],
    live: Live,
    links: Sequence[Link],
    known: Sequence[Keyframe],
    scale: float,
) -> _Identified:
    """The track, its place, first frame, and score of each keypoint of a keyframe; -1 where it is of none.

    A keypoint that the matcher found in an earlier keyframe goes on with that point's track: it had ended, is here, or
    drifted away from here. Others are of the track that is at their place.
    """
    count = len(keypoints)
    found = _Identified(
        ids=np.full(count, -1, dtype=np.int64),
        points=keypoints.copy(),
        born=np.zeros(count, dtype=np.int64),
        scores=np.ones(count, dtype=np.float32),
    )
    where = {track: row for row, track in enumerate(live.ids.tolist())}
    keyframes = {each.frame: each for each in known}
    for link in links:
        old, good = keyframes[link.frame], link.matches.select(link.inliers)
        beside = old.points - old.features.keypoints.numpy()
        for (row0, row1), score in zip(good.indices.tolist(), good.scores.tolist(), strict=True):
            track = int(old.ids[row0])
            if track < 0:
                continue
            alive, place = where.get(track), keypoints[row1] + beside[row0]
            distance = 0.0 if alive is None else float(np.linalg.norm(live.points[alive] - place))
            # Between the two the track and the matcher mean neighbouring points: the track goes on as it is.
            if alive is None or distance <= SAME_PX * scale or distance > DRIFT_PX * scale:
                here = alive is not None and distance <= SAME_PX * scale
                found.points[row1] = live.points[alive] if here else place
                found.ids[row1], found.born[row1], found.scores[row1] = track, old.born[row0], score
    _at_their_place(found, keypoints, live, SAME_PX * scale)
    return found


def _at_their_place(found: _Identified, keypoints: Float32[np.ndarray, "n 2"], live: Live, same_px: float) -> None:
    """Give keypoints that have no track yet the one that is where they are."""
    if not len(live.ids) or not len(keypoints):
        return
    distances = np.square(keypoints[:, None] - live.points[None]).sum(axis=2)
    taken = set(found.ids[found.ids >= 0].tolist())
    for row in np.flatnonzero(found.ids < 0).tolist():
        nearest = int(distances[row].argmin())
        track = int(live.ids[nearest])
        mutual = int(distances[:, nearest].argmin()) == row
        if distances[row, nearest] <= same_px**2 and mutual and track not in taken:
            found.ids[row], found.born[row] = track, live.born[nearest]
            found.points[row] = live.points[nearest]
            taken.add(track)
