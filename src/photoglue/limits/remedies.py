"""What is done where one pass of extractor and matcher fails: who decides, and in which order.

First the photos are matched as they are. Where that went well, nothing else happens. Where it did not, image 1 is
turned; where that does not help, photos of different scale are sought; and large photos of which little matched are
matched tile by tile. Whatever gives no better matches is forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from photoglue.decode import Photo
from photoglue.errors import ConfigError
from photoglue.extractors.base import Extractor
from photoglue.image import ImageSource
from photoglue.limits.common import Common, common_part
from photoglue.limits.oriented import TurnedPoints, seen_by, turn_of_descriptors, turn_of_matches
from photoglue.limits.rotation import best_turn, probe_features, score_sums, small, steadier
from photoglue.limits.tiles import match_tiles, tile_side
from photoglue.limits.views import Masked, Matched, Turned
from photoglue.limits.zoom import match_zoomed, probe_zoom
from photoglue.matchers.base import Matcher
from photoglue.structs import Features, Matches, Remedies

When: TypeAlias = Literal["auto", "off", "always"]
"""When something is done: where matches are poor and it may help, never, or always; it is kept only if it helps."""

UNSURE = 0.5
"""Probability of overlap below which the first pass failed."""
POOR = 0.1
"""And the sum of its scores is below this share of the points."""
POOREST = 0.03
"""Share below which it failed in any case: of turned photos, single pairs look as if they overlapped."""
FEW = 0.2
"""Below this share of the points there is room for a closer look."""
UNCALIBRATED = 0.02
"""Share below which a matcher failed that gives no probability of overlap."""
SCALE = 1.5
"""Objects that are seen so many times larger in one photo are brought to one size, where few points match."""
FAR_SCALE = 2.5
"""And from here on in any case: of the points of one photo, most are beside what both show."""
AGREEING = 12
"""So many matches must agree on scale or turn."""
ODD_DEG = 37.5
"""A turn by more than this, of what quarters leave, is undone: up to there four fifths of the matches are found."""
STEADY_DEG = 22.5
"""And a turn by more than this is matched with features that stand turns, if there are such."""
LARGE = 2.5
"""Photos so many times larger than what the extractor sees of them are large."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When photos are looked at again.

    Raises:
        ConfigError: If a word is not one of three, or the memory not positive.
    """

    rotation: When = "auto"
    """Photos that are turned against each other."""
    zoom: When = "auto"
    """Photos of very different scale, or that share a part only."""
    tiles: When = "auto"
    """Photos much larger than what the extractor sees."""
    max_memory_gb: float | None = None
    """Memory for tiles, beside the photos, in 10⁹ bytes; None: no limit."""

    def __post_init__(self) -> None:
        for name in ("rotation", "zoom", "tiles"):
            if getattr(self, name) not in ("auto", "off", "always"):
                raise ConfigError(f'{name} is {getattr(self, name)!r}; it must be "auto", "off" or "always".')
        if self.max_memory_gb is not None and not self.max_memory_gb > 0:
            raise ConfigError(f"max_memory_gb is {self.max_memory_gb}; it must be positive, or None.")


NONE = Limits(rotation="off", zoom="off", tiles="off")
"""One pass, whatever it gives."""


def remedied(
    images: Sequence[ImageSource | Photo],
    masks: Sequence[ImageSource | None],
    first: tuple[Features, Features, Matches],
    tools: tuple[Extractor, Matcher],
    limits: Limits,
) -> tuple[Features, Features, Matches]:
    """Features and matches after all that helps was done; those of the first pass if nothing was.

    Args:
        images: The two images, as they were extracted.
        masks: Their masks.
        first: Features and matches of the first pass.
        tools: The extractor and the matcher.
        limits: What may be done.

    Raises:
        ConfigError: If tiles are asked for and do not fit into memory.
    """
    plain = Matched(features0=first[0], features1=first[1], matches=first[2])
    work = _Work(tools=tools, limits=limits, now=plain)
    if limits == NONE or not (len(plain.features0) and len(plain.features1)):
        return first
    if limits.tiles == "always":
        tile_side(tools[0], limits.max_memory_gb)  # what does not fit is said before the work
    wanted = [work.wants_rotation(), work.wants_odd_turn(), work.wants_zoom(), work.wants_tiles()]
    if not any(wanted):
        return first
    work.read(images, masks)
    if wanted[0]:
        work.turn()
    if work.wants_odd_turn():
        work.turn_oddly()
    if work.wants_zoom():
        work.zoom()
    if work.wants_tiles():
        work.tile()
    return work.done(first)


class _Work:
    """The best matches so far, and what was done for them."""

    def __init__(self, *, tools: tuple[Extractor, Matcher], limits: Limits, now: Matched) -> None:
        self.tools, self.limits, self.now = tools, limits, now
        self.record = Remedies(tried=())
        self._common: tuple[Matched, Common | None] | None = None
        self.photos: tuple[Masked, Masked]
        self.turned: Turned | None = None

    def read(self, images: Sequence[ImageSource | Photo], masks: Sequence[ImageSource | None]) -> None:
        photo0, photo1 = (Masked.of(image, mask) for image, mask in zip(images, masks, strict=True))
        self.photos, self.upright1 = (photo0, photo1), photo1

    @property
    def points(self) -> int:
        return min(len(self.now.features0), len(self.now.features1))

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return self.now.features0.image_size, self.now.features1.image_size

    @property
    def common(self) -> Common | None:
        """The part that both photos share, by the best matches so far."""
        if self._common is None or self._common[0] is not self.now:
            self._common = self.now, common_part(self.now.matches, self.sizes)
        return self._common[1]

    def failed(self) -> bool:
        """Whether the matches say that the photos do not overlap, or that they were not found."""
        probability, share = self.tools[1].overlap_probability(self.now.matches), self.now.score_sum / self.points
        if probability is None:
            return self.now.matches.stop is not None and share < UNCALIBRATED
        return share < POOREST or (probability < UNSURE and share < POOR)

    def _likely(self, matched: Matched) -> bool:
        """Whether matches of crops are not those of different things: what is shared is seen in most of a crop."""
        probability = self.tools[1].overlap_probability(matched.matches)
        points = min(len(matched.features0), len(matched.features1))
        return (probability is None or probability >= UNSURE) and matched.score_sum >= POOR * points

    def wants_rotation(self) -> bool:
        return self.limits.rotation == "always" or (self.limits.rotation == "auto" and self.failed())

    def wants_odd_turn(self) -> bool:
        """Whether what the matches agree on is a turn that is far from all quarters, or from upright."""
        if self.limits.rotation == "off" or self.failed():
            return False
        if self._oriented:
            return abs(self._turn_of_points() or 0.0) > ODD_DEG
        common = self.common
        if common is None or common.agreeing < AGREEING or abs(common.angle_deg) <= STEADY_DEG:
            return False
        return abs(common.angle_deg) > ODD_DEG or steadier(*self.tools) is not None

    def wants_zoom(self) -> bool:
        if self.limits.zoom != "auto":
            return self.limits.zoom == "always"
        if self.failed():
            return True
        common = self.common
        resize = self.tools[0].config.resize
        seen = 1.0 if resize is None else max(self.sizes[0]) / max(self.sizes[1])
        scale = 1.0 if common is None or common.agreeing < AGREEING else common.scale * seen
        least = SCALE if self.now.score_sum < FEW * self.points else FAR_SCALE
        return max(scale, 1 / scale) >= least

    def wants_tiles(self) -> bool:
        if self.limits.tiles == "off" or not len(self.now.matches):
            return False
        side = tile_side(self.tools[0], None)
        if self.limits.tiles == "always":
            return min(max(size) for size in self.sizes) > side
        large = min(max(size) for size in self.sizes) >= LARGE * side
        points = max(len(self.now.features0), len(self.now.features1))
        return large and not self.failed() and self.now.score_sum < FEW * points

    def turn(self) -> None:
        """By the quarters that fit best; features that have orientations by any angle."""
        extractor, matcher = self.tools
        self._tried("rotation")
        if self._oriented:
            self._turn_points()
            return
        photos = self.photos
        features0 = small(extractor).extract_many([photos[0].photo], [photos[0].mask])[0]
        sums = score_sums(matcher, features0, probe_features(extractor, photos[1].photo, photos[1].mask))
        self.record = replace(self.record, turn_sums=tuple(round(each, 2) for each in sums))
        if best_turn(sums):
            self._turn_by(best_turn(sums) or 0, 0.0)

    def turn_oddly(self) -> None:
        """By the angle that the matches agree on; by the nearest quarter, where the features stand the rest."""
        self._tried("rotation")
        if self._oriented:
            self._turn_points()
            return
        if (common := self.common) is None:
            return
        # Turned clockwise against image 0, it is turned back counterclockwise.
        angle = common.angle_deg + (0.0 if self.turned is None else self.turned.quarters * 90.0)
        quarters, steady = round(angle / 90), steadier(*self.tools)
        if steady is not None and self._turn_by(quarters % 4, 0.0, steady):
            self.tools = steady, self.tools[1]
            self.record = replace(self.record, features=steady.kind)
        elif abs(common.angle_deg) > ODD_DEG:
            self._turn_by(quarters % 4, angle - 90 * quarters)

    @property
    def _oriented(self) -> bool:
        return seen_by(self.tools[1], self.now.features1)

    def _turn_of_points(self) -> float | None:
        features = self.now.features0, self.now.features1
        return turn_of_descriptors(*features) if self.failed() else turn_of_matches(*features, self.now.matches)

    def _turn_points(self) -> None:
        """Turn the points of image 1, whose descriptors stay, and keep the matches if they are better."""
        angle = self._turn_of_points()
        if angle is None or abs(angle) <= STEADY_DEG or isinstance(self.tools[1], TurnedPoints):
            return
        turned = TurnedPoints(self.tools[1], angle)
        features0, features1 = self.now.features0, self.now.features1
        found = Matched(features0=features0, features1=features1, matches=turned.match(features0, features1))
        if found.score_sum > self.now.score_sum:
            self.now, self.tools = found, (self.tools[0], turned)
            self.record = replace(self.record, turned_deg=round(angle, 2) % 360)

    def _turn_by(self, quarters: int, rest_deg: float, steady: Extractor | None = None) -> bool:
        """Turn image 1, and keep the matches if they are better; with another extractor, if one is given."""
        extractor, matcher = steady or self.tools[0], self.tools[1]
        options = extractor.config.resize, extractor.config.max_keypoints
        turned = Turned.by(self.upright1, quarters, rest_deg)
        features1 = turned.masked.features(extractor, *options)
        features0 = self.now.features0 if steady is None else self.photos[0].features(extractor, *options)
        found = Matched(features0=features0, features1=features1, matches=matcher.match(features0, features1))
        better = found.score_sum > self.now.score_sum
        if better:
            self.now, self.turned, self.photos = found, turned, (self.photos[0], turned.masked)
            self.record = replace(self.record, turned_deg=round(quarters * 90 + rest_deg, 2) % 360)
        return better

    def zoom(self) -> None:
        """Between crops of what the photos share."""
        self._tried("zoom")
        guide, probed = self.now, probe_zoom(self.photos, self.tools) if self.failed() else None
        if probed is not None and probed.score_sum > guide.score_sum:
            guide = probed
        found = match_zoomed(self.photos, guide, self.tools)
        if found is not None and found[0].score_sum > self.now.score_sum and self._likely(found[0]):
            self.now = found[0]
            self.record = replace(self.record, boxes=(found[1].box0, found[1].box1))

    def tile(self) -> None:
        """Tile by tile, at full resolution."""
        self._tried("tiles")
        found = match_tiles(self.photos, self.now, self.tools, tile_side(self.tools[0], self.limits.max_memory_gb))
        if found is not None and found[0].score_sum > self.now.score_sum:
            self.now = found[0]
            self.record = replace(self.record, tiles=found[1])

    def done(self, first: tuple[Features, Features, Matches]) -> tuple[Features, Features, Matches]:
        """The matches in pixels of the photos as read."""
        if not self.record.applied:
            return first[0], first[1], replace(first[2], remedies=self.record)
        features0, features1 = self.now.features0, self.now.features1
        if self.turned is not None:
            features1 = self.turned.undo(features1)
        found = self.now.at(
            replace(features0, exif_orientation=self.photos[0].photo.orientation),
            replace(features1, exif_orientation=self.upright1.photo.orientation),
        )
        return found.features0, found.features1, replace(found.matches, remedies=self.record)

    def _tried(self, name: str) -> None:
        if name not in self.record.tried:
            self.record = replace(self.record, tried=(*self.record.tried, name))
