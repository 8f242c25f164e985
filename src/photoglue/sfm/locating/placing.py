"""One photo: from its features to its place in a map, round by round, or to the reason why it has none."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from photoglue.errors import ConfigError
from photoglue.matchers.base import Matcher
from photoglue.retrieval import Describer, PhotoIndex
from photoglue.sfm.locating.answer import Localisation, NearPhoto, Uncertainty
from photoglue.sfm.locating.cameras import colmap_camera, focal_of
from photoglue.sfm.locating.guided import guided_links
from photoglue.sfm.locating.known import KnownMap
from photoglue.sfm.locating.search import (
    MIN_INLIERS,
    Found,
    Links,
    Query,
    depth_of,
    found_pose,
    rival_of,
    spread_of,
    with_more,
)
from photoglue.solvers.absolute_pose import PoseSpread

Prior = Float64[Tensor, "4 4"]


@dataclass(frozen=True, kw_only=True)
class LocalizeOptions:
    """How a photo is placed, and what is believed.

    Raises:
        ConfigError: If a number makes no sense.
    """

    top: int = 20
    """At most so many photos of the map are matched with a photo."""
    enough: int = 100
    """With so many inliers no more photos are matched."""
    min_inliers: int = MIN_INLIERS
    """A pose that fewer points agree with is not believed."""
    min_share: float = 0.6
    """A pose that a smaller share of the matches with the best photo of the map agrees with is not believed. Wrong
    poses on facades that repeat themselves had up to 0.58, right ones of the same and of rooms 0.72 and more."""
    max_uncertainty: float = 0.1
    """A pose whose position is less certain than this share of the distance to the scene is not believed."""
    turn: bool = True
    """A photo that has no place as it is shown is also tried turned by 90, 180 and 270 degrees."""

    def __post_init__(self) -> None:
        for name, least in (("top", 1), ("enough", 4), ("min_inliers", 4)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if not (0 <= self.min_share <= 1 and self.max_uncertainty > 0):
            raise ConfigError("min_share must be in [0, 1], and max_uncertainty positive.")


ROUNDS = (3, 8, 20)
"""So many photos of the map are matched before it is asked whether the pose is certain."""
GUIDED = 20
"""Photos of the map whose points are looked for where the pose predicts them."""
COMPARABLE = 0.6
"""A second group of photos is looked at from the start if its best one has this share of the best one's similarity."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tools:
    """What photos are looked for with."""

    matcher: Matcher
    index: PhotoIndex | None
    """Vectors of the photos of the map; None: all photos are looked at."""
    describer: Describer | None
    """Makes the vector of a photo."""


class Placing:
    """One photo, turned in one way, while its place is looked for."""

    def __init__(self, known: KnownMap, tools: "Tools", options: LocalizeOptions, query: Query, clock: "Clock") -> None:
        self.map, self.tools, self.options, self.query, self.clock = known, tools, options, query, clock
        self.matched: list[tuple[str, int]] = []
        self.links = Links.none()
        self.agreeing = 0

    def answer(self, answer: Localisation, near: Prior | None) -> Localisation:
        """Where the photo was taken, or why that is not known."""
        with self.clock("retrieve"):
            groups = self._groups(near)
        found: Found | None = None
        problem = "no photo of the map has enough in common with it"
        order = _first(groups, ROUNDS[0])
        rounds = ROUNDS if answer.turned_deg == 0 else ROUNDS[:1]
        for count in rounds:
            new = order[len(self.matched) : min(count, self.options.top)]
            if not new:
                break
            self._match(new)
            with self.clock("pose"):
                found = self._best(groups)
                if found is not None:
                    found, problem, answer = self._judged(found, answer)
            if not problem and self.agreeing >= self.options.enough:
                break
        matches = len(self.links.once())
        answer = replace(answer, matches=matches, nearest=self._near(found))
        if found is None or problem:
            return replace(answer, localised=False, reason=problem)
        return self._with_pose(answer, found)

    def _groups(self, near: Prior | None) -> list[list[tuple[str, float]]]:
        """The photos of the map to match, in groups that see the same, each the likeliest first, with its score."""
        tools, top = self.tools, self.options.top
        names = self.map.names
        if tools.index is None or tools.describer is None or len(names) <= 3:
            ranked = dict.fromkeys(names[: top if near is not None else None], 1.0)
        else:
            vector = tools.describer.describe(self.query.features.cpu(), None)
            found = tools.index.search(vector[None], tools.describer.name, top)
            ranked = {
                names[row]: score for row, score in zip(found.rows[0].tolist(), found.scores[0].tolist(), strict=True)
            }
        if near is not None:
            expected = self.map.near(near, max(2, top // 4))
            ranked = {**dict.fromkeys(expected, 1.0), **{n: s for n, s in ranked.items() if n not in expected}}
        groups: list[list[tuple[str, float]]] = []
        for name, score in ranked.items():
            mine = [group for group in groups if any(name in self.map.shared[other] for other, _ in group)]
            merged = [each for group in groups if group in mine for each in group] + [(name, score)]
            groups = [group for group in groups if group not in mine] + [merged]
            groups.sort(key=lambda group: -max(score for _, score in group))
        return groups

    def _match(self, names: Sequence[str]) -> None:
        with self.clock("read"):
            others = [self.map.features(name).to(self.query.features.keypoints.device) for name in names]
        with self.clock("match"):
            found = self.tools.matcher.match_many([(self.query.features, other) for other in others])
        for name, matches in zip(names, found, strict=True):
            self.links = self.links.and_of(matches, self.map.photo(name).points, len(self.matched))
            self.matched.append((name, len(matches)))

    def _best(self, groups: Sequence[Sequence[tuple[str, float]]]) -> Found | None:
        """The pose with the most inliers among those of the groups."""
        number = {name: i for i, (name, _) in enumerate(self.matched)}
        best = None
        for group in groups:
            rows = [number[name] for name, _ in group if name in number]
            found = found_pose(self.query, self.map, self.links.select(np.isin(self.links.photos, rows)))
            if found is not None and (best is None or len(found) > len(best)):
                best = found
        return best

    def _judged(self, found: Found, answer: Localisation) -> tuple[Found, str, Localisation]:
        """The pose made better, and why it is not believed; empty: it is."""
        query, known, options = self.query, self.map, self.options
        raw = self.agreeing = len(found)
        photos = self._seeing(found)
        predicted = confirmed = 0
        for _ in range(2):
            guided = guided_links(query, known, found, photos)
            predicted, confirmed = guided.predicted, len(guided.links.points)
            found = with_more(query, known, found, guided.links)
        rival = rival_of(query, known, found, self.links, raw)
        spread, depth = spread_of(query, known, found), depth_of(known, found)
        share, least = self._share(found), options.min_inliers
        answer = replace(
            answer,
            inliers=len(found),
            agreement=share,
            predicted=predicted,
            confirmed=confirmed,
            uncertainty=_uncertainty(spread, found),
            notes=found.notes,
        )
        if raw < least:
            return found, f"only {raw} points of the map agree with one pose; {least} are wanted", answer
        if confirmed < least:
            what = f"only {confirmed} points are seen where the likeliest pose predicts them; {least} are wanted"
            return found, what, answer
        if share < options.min_share:
            return (
                found,
                f"only {share:.0%} of the matches agree with one pose: the photo may be of another place",
                answer,
            )
        if rival:
            return found, f"two places fit: {len(found)} points agree with one, {rival} with another", answer
        if not spread.position <= options.max_uncertainty * depth:
            return (
                found,
                f"the pose is uncertain: its position by {spread.position / depth:.0%} of the distance",
                answer,
            )
        return found, "", answer

    def _share(self, found: Found) -> float:
        """Share of the matches with the photo of the most inliers that agrees with the pose."""
        pairs = set(zip(found.inliers.keypoints.tolist(), found.inliers.points.tolist(), strict=True))
        good: dict[int, list[bool]] = {}
        for keypoint, point, photo in zip(
            self.links.keypoints.tolist(), self.links.points.tolist(), self.links.photos.tolist(), strict=True
        ):
            good.setdefault(photo, []).append((keypoint, point) in pairs)
        best = max(good.values(), key=sum, default=[])
        return sum(best) / len(best) if best else 0.0

    def _seeing(self, found: Found) -> list[str]:
        """The photos that see most of the inliers, and those taken from nearest by."""
        votes = np.zeros(len(self.map.xyz), dtype=bool)
        votes[found.inliers.points] = True
        near = self.map.near(found.pose.cam_from_world, GUIDED)
        close = list(dict.fromkeys([name for name, _ in self.matched] + near))
        counts = {name: int(votes[self.map.images[name].points.numpy()].sum()) for name in close}
        return [name for name in sorted(close, key=lambda name: -counts[name]) if counts[name]][:GUIDED]

    def _near(self, found: Found | None) -> tuple[NearPhoto, ...]:
        inliers = np.empty(0, np.int64) if found is None else found.inliers.points
        rows = [
            NearPhoto(
                name=name,
                matches=count,
                inliers=int(np.isin(inliers, self.map.images[name].points.numpy()).sum()),
            )
            for name, count in self.matched
        ]
        return tuple(sorted(rows, key=lambda row: (-row.inliers, -row.matches)))

    def _with_pose(self, answer: Localisation, found: Found) -> Localisation:
        query, inliers = self.query, found.inliers
        stored = found.pose.cam_from_world
        upright = stored.clone()
        upright[:3] = query.stored.upright_cam_from_stored_cam() @ stored[:3]
        keypoints = query.features.keypoints.cpu()
        return replace(
            answer,
            localised=True,
            cam_from_world=upright,
            stored_cam_from_world=stored,
            stored_camera=colmap_camera(found.pose.camera),
            focal_source=found.source,
            keypoints=keypoints[torch.from_numpy(inliers.keypoints)],
            points=torch.from_numpy(inliers.points),
        )


def _first(groups: Sequence[Sequence[tuple[str, float]]], count: int) -> list[str]:
    """All photos in the order in which they are matched: the best of all, but for one of a second group that is nearly
    as similar, so that two places that look alike are both seen."""  # noqa: D205, D209
    order = sorted(((score, name) for group in groups for name, score in group), key=lambda each: -each[0])
    names = [name for _, name in order]
    if len(groups) > 1 and groups[1][0][1] >= COMPARABLE * groups[0][0][1]:
        other = groups[1][0][0]
        if other not in names[:count]:
            names.remove(other)
            names.insert(count - 1, other)
    return names


def _uncertainty(spread: PoseSpread, found: Found) -> Uncertainty:
    focal = focal_of(found.pose.camera) * spread.focal if found.source in ("EXIF", "estimated") else None
    return Uncertainty(position=spread.position, rotation_deg=spread.rotation_deg, focal_px=focal)


class Clock:
    """CPU seconds of the steps: ``with clock("match"): …``; steps of one name add up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time of what happens inside."""
        start = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start
