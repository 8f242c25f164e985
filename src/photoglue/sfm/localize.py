"""Where a photo was taken: retrieval → matches → points of a map → pose, or the reason why not."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import final

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from photoglue.decode import Photo
from photoglue.errors import ConfigError, ImageError, require
from photoglue.extractors.base import Extractor
from photoglue.extractors.named import named_extractor
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.frames import StoredFrame
from photoglue.image import ImageSource, load_photo
from photoglue.matchers.base import Matcher
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.pipeline import create_matcher
from photoglue.precision import choose_device
from photoglue.retrieval import Describer
from photoglue.sfm.cameras import ColmapCamera
from photoglue.sfm.locating.answer import Localisation, NearPhoto, Uncertainty
from photoglue.sfm.locating.cameras import colmap_camera, focal_of, guesses_of
from photoglue.sfm.locating.guided import guided_links
from photoglue.sfm.locating.known import KnownMap, setting
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
from photoglue.sfm.locating.turning import TURNS, turned_photo
from photoglue.solvers.absolute_pose import PoseSpread
from photoglue.solvers.colmap import pycolmap
from photoglue.structs import Features

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
    min_share: float = 0.25
    """A pose that a smaller share of the matches with the best photo of the map agrees with is not believed; COLMAP's
    ``abs_pose_min_inlier_ratio``."""
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


@final
class Localizer:
    """Places photos in a map. Models and the index of the map's photos are loaded once.

    ```python
    from photoglue.sfm import Localizer

    with Localizer("map") as localizer:
        answer = localizer.localize("photo.jpg")
        print(answer.cam_from_world if answer.localised else answer.reason)
    ```

    Args:
        folder: The folder of a map: of ``map_photos`` (``photoglue map``), or of ``adopt_model``.
        options: What is matched and what is believed; None: the defaults.
        device: Where to compute; None: on a GPU if there is one.
        extractor: An extractor to use as it is; None: the one that the map was made with.
        matcher: A matcher to use as it is; None: LightGlue for these features.

    Raises:
        ConfigError: If there is no map with a model, or it was made with other features than the extractor's.
        OutputError: If a file cannot be read.
        MissingExtra: If pycolmap or h5py is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        options: LocalizeOptions | None = None,
        *,
        device: str | torch.device | None = None,
        extractor: Extractor | None = None,
        matcher: Matcher | None = None,
    ) -> None:
        require("h5py", extra="sfm")
        pycolmap()
        self.options = options or LocalizeOptions()
        self.map = KnownMap(Path(folder))
        chosen, record = choose_device(device), self.map.record
        self.extractor = extractor or named_extractor(
            setting(record, "features", "aliked"),
            allow_noncommercial=bool(setting(record, "allow_noncommercial", default=False)),
            max_keypoints=setting(record, "max_keypoints", 4096),
            resize=setting(record, "resize", 1024),
            ignore_alpha=bool(setting(record, "ignore_alpha", default=False)),
        ).to(chosen)
        kind = self.map.kind
        if kind != self.extractor.kind:
            raise ConfigError(
                f"The map {os.fspath(folder)!r} was made of {kind!r} features and the photos would get "
                f"{self.extractor.kind!r}: give no extractor, or one of the map's features."
            )
        nearest = setting(record, "matcher", "lightglue") == "nearest"
        self.matcher = matcher or (NearestNeighbor() if nearest else create_matcher(kind, None, None, chosen, "auto"))
        self.index = self.map.index
        self.describer = None if self.index is None else Describer.of_name(self.index.made_by)

    def __enter__(self) -> "Localizer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.map.close()

    def localize(
        self,
        photo: ImageSource,
        *,
        camera: PinholeCamera | ColmapCamera | None = None,
        prior: Localisation | Prior | None = None,
        mask: ImageSource | None = None,
        name: str | None = None,
    ) -> Localisation:
        """Where a photo was taken; ``reason`` says why that is not known, instead of a pose that may be wrong.

        Args:
            photo: A path, PIL image, numpy array (h × w × c) or tensor (c × h × w).
            camera: Its camera, of the upright photo, or as COLMAP has it (stored pixels); if it does not fit the
                matches, an estimated one is used and said. None: from a photo of the map by the same camera, from EXIF,
                or estimated.
            prior: About where it was taken, such as the answer for the photo before: photos of the map near there are
                matched first. A pose is ``cam_from_world`` in the frame of the map.
            mask: No keypoints where it is black; a file or PIL image is in stored pixels, an array upright.
            name: What the answer calls it; None: the path.

        Raises:
            ImageError: If the photo or the mask cannot be read, or their sizes differ.
            ConfigError: If the camera is of another size, or features of the map are not those of its model.
        """
        clock = _Clock()
        with clock("read"):
            loaded = load_photo(photo)
        frame = StoredFrame(
            orientation=loaded.orientation, upright_size=(loaded.image.shape[2], loaded.image.shape[1])
        )
        called = (loaded.path or "") if name is None else name
        answer = Localisation(name=called, localised=False, frame=frame)
        if frame.mirrors:
            reason = f"its EXIF orientation {frame.orientation} mirrors it; save it anew without"
            return replace(answer, reason=reason, seconds=clock.seconds)
        guesses = guesses_of(photo if not isinstance(photo, Photo) else loaded, frame, camera, self.map.cameras)
        near = prior.cam_from_world if isinstance(prior, Localisation) else prior
        best: tuple[int, Localisation] | None = None
        for turn in TURNS if self.options.turn else TURNS[:1]:
            with clock("extract"):
                turned, features = turned_photo(loaded, mask, turn, self.extractor)
            if not len(features):
                return replace(answer, reason="no keypoints were found in it", seconds=clock.seconds)
            query = Query.of(features, turned, frame, guesses, self.extractor.config.resize)
            found = _Placing(self, query, clock).answer(replace(answer, turned_deg=turn), near)
            if best is None or found.localised or found.inliers > best[1].inliers:
                best = turn, found
            if found.localised:
                break
        assert best is not None
        return replace(best[1], seconds=clock.seconds)


class _Placing:
    """One photo, turned in one way, while its place is looked for."""

    def __init__(self, localizer: Localizer, query: Query, clock: "_Clock") -> None:
        self.localizer, self.query, self.clock = localizer, query, clock
        self.map, self.options = localizer.map, localizer.options
        self.matched: list[tuple[str, int]] = []
        self.links = Links.none()

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
            if found is not None and not problem and len(found) >= self.options.enough:
                break
        matches = len(self.links.once())
        answer = replace(answer, matches=matches, nearest=self._near(found))
        if found is None or problem:
            return replace(answer, localised=False, reason=problem)
        return self._with_pose(answer, found)

    def _groups(self, near: Prior | None) -> list[list[tuple[str, float]]]:
        """The photos of the map to match, in groups that see the same, each the likeliest first, with its score."""
        localizer, top = self.localizer, self.options.top
        names = self.map.names
        if localizer.index is None or localizer.describer is None or len(names) <= 3:
            ranked = {name: 1.0 for name in names[: top if near is not None else None]}
        else:
            vector = localizer.describer.describe(self.query.features.cpu(), None)
            found = localizer.index.search(vector[None], localizer.describer.name, top)
            ranked = {
                names[row]: score for row, score in zip(found.rows[0].tolist(), found.scores[0].tolist(), strict=True)
            }
        if near is not None:
            expected = self.map.near(near, max(2, top // 4))
            ranked = {**{name: 1.0 for name in expected}, **{n: s for n, s in ranked.items() if n not in expected}}
        groups: list[list[tuple[str, float]]] = []
        for name, score in ranked.items():
            mine = [group for group in groups if any(name in self.map.shared[other] for other, _ in group)]
            merged = [each for group in groups if group in mine for each in group] + [(name, score)]
            groups = [group for group in groups if group not in mine] + [merged]
            groups.sort(key=lambda group: -max(score for _, score in group))
        return groups

    def _match(self, names: Sequence[str]) -> None:
        localizer, device = self.localizer, self.localizer.extractor.device
        with self.clock("read"):
            others = [self.map.features(name).to(device) for name in names]
        with self.clock("match"):
            found = localizer.matcher.match_many([(self.query.features, other) for other in others])
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
        raw = len(found)
        photos = self._seeing(found)
        predicted = 0
        for _ in range(2):
            guided = guided_links(query, known, found, photos)
            predicted = guided.predicted
            found = with_more(query, known, found, guided.links)
        rival = rival_of(query, known, found, self.links)
        spread, depth = spread_of(query, known, found), depth_of(known, found)
        answer = replace(
            answer,
            inliers=len(found),
            predicted=predicted,
            uncertainty=_uncertainty(spread, found),
            notes=found.notes,
        )
        share = self._share(found)
        if raw < options.min_inliers:
            return found, f"only {raw} points of the map agree with one pose; {options.min_inliers} are wanted", answer
        if share < options.min_share:
            return found, f"only {share:.0%} of the matches agree with one pose: the photo may be of another place", answer
        if rival:
            return found, f"two places fit: {len(found)} points agree with one, {rival} with another", answer
        if not spread.position <= options.max_uncertainty * depth:
            return found, f"the pose is uncertain: its position by {spread.position / depth:.0%} of the distance", answer
        return found, "", answer

    def _share(self, found: Found) -> float:
        """Of the matches with the photo that has the most inliers, the share that agrees."""
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
        keypoints = query.turned.from_upright(query.features.keypoints.cpu())
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


class _Clock:
    """CPU seconds of the steps: ``with clock("match"): …``; steps of one name add up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start
