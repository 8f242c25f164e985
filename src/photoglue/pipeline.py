"""An extractor and a matcher that belong together: from two photos to their matches and all that follows from them."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch

from photoglue.decode import Photo
from photoglue.errors import ConfigError
from photoglue.extractors.base import Extractor
from photoglue.extractors.named import named_extractor
from photoglue.geometry.camera import PinholeCamera
from photoglue.image import ImageSource, load_photo
from photoglue.limits.joined import CROP, features_beside, joined_features, joined_matches, joined_probability
from photoglue.limits.look_alikes import partnered_share
from photoglue.limits.remedies import NONE, Limits, When, remedied
from photoglue.limits.subpixel import Subpixel, refine_matches
from photoglue.limits.views import Masked, Matched
from photoglue.limits.zoom import closer_matches
from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.matchers.lightglue.pretrained import is_released
from photoglue.pair import Clock, PairResult, verify_pair
from photoglue.precision import Precision, choose_device
from photoglue.solvers import poselib
from photoglue.solvers.poselib import Model
from photoglue.structs import Features, Matches

Refine: TypeAlias = Literal["subpixel"] | Subpixel
"""What is done with matches: "subpixel" is ``Subpixel()``."""
ALSO_RESIZE = 1024
"""Longest side at which the other extractor of ``also`` sees photos, pixels: what is seen at two sizes gives more."""


@dataclass(frozen=True)
class Pipeline:
    """An extractor and a matcher that belong together."""

    extractor: Extractor
    matcher: Matcher
    refine: Refine | None = None
    """Move the points of image 1 to where they look most like their partners; None: they stay where the extractor found
    them. See ``limits.refine_matches``."""
    also: "Pipeline | None" = None
    """Another extractor and matcher, whose points and matches are added; it may have others itself. See
    ``limits.joined_matches``."""
    closer: bool = False
    """Add matches between crops of what the images share, by all matches found; see ``limits.closer_matches``."""

    @classmethod
    def pretrained(  # noqa: PLR0913  (everything that `photoglue match` can choose)
        cls,
        features: str = "aliked",
        *,
        max_keypoints: int | None = 2048,
        resize: int | None = 1024,
        matcher: Matcher | None = None,
        config: LightGlueConfig | None = None,
        weights: str | os.PathLike[str] | None = None,
        device: str | torch.device | None = None,
        precision: Precision = "auto",
        allow_noncommercial: bool = False,
        refine: Refine | None = None,
        also: str | Sequence[str] | None = None,
        **extractor_options: Any,
    ) -> "Pipeline":
        """An extractor with its released weights, and a matcher for its features.

        Args:
            features: A name from ``photoglue.EXTRACTORS``, or a class of your own: "path/file.py:Class" or
                "package.module:Class", a subclass of ``Extractor`` that is made without arguments.
            max_keypoints: At most so many points an image, the best; None: all.
            resize: Length of the longer side that the extractor sees, pixels; None: the image as it is.
            matcher: A matcher to use as it is, such as ``NearestNeighbor(ratio=0.8)``; None: LightGlue.
            config: LightGlue's options; None: the official ones, or those stored with ``weights``.
            weights: A LightGlue checkpoint of your own, or the name of a released model, such as "sift-official"; None:
                the released weights for these features.
            device: Where to compute, such as "cuda:0"; None: on a GPU if there is one.
            precision: What to compute in; "auto": what was measured to be fastest here, see ``Precision``.
            allow_noncommercial: Accept weights whose licence forbids commercial use (SuperPoint, HardNet).
            refine: "subpixel": move the points of image 1 to where they look most like their partners; None: leave
                them where the extractor found them.
            also: Other features, such as "disk", ["disk", "sift"] or "disk,sift", whose matches by their released
                LightGlue are added: seen at 1024 pixels at most, with the same ``max_keypoints``, ``ignore_alpha``,
                ``config`` and ``refine``; "crop" among them: those of ``features`` again, between crops of what all
                matches say that the images share. None: none;
                ``features`` themselves do not count.
            **extractor_options: Other fields of the extractor's config, such as ``nms_radius`` or
                ``detection_threshold``.

        Raises:
            ConfigError: If there are no such features or options, no matcher for them, or no such device, or ``also``
                has features twice.
            LicenceError: If the weights are non-commercial and that was not accepted.
            WeightsError: If weights cannot be had, are corrupt or do not fit.
        """
        chosen, others = choose_device(device), features_beside(also, features)
        if matcher is not None and not (config is None and weights is None):
            raise ConfigError("config and weights are LightGlue's; leave them out where a matcher is given.")
        extractor = named_extractor(
            features,
            max_keypoints=max_keypoints,
            resize=resize,
            precision=precision,
            allow_noncommercial=allow_noncommercial,
            **extractor_options,
        ).to(chosen)
        other = None
        closer = CROP in others
        others = [name for name in others if name != CROP]
        if others:
            options: dict[str, Any] = {"max_keypoints": max_keypoints, "config": config, "refine": refine}
            options |= {"resize": min(resize or ALSO_RESIZE, ALSO_RESIZE), "device": chosen, "precision": precision}
            options["ignore_alpha"] = extractor.config.ignore_alpha
            options |= {"allow_noncommercial": allow_noncommercial, "also": others[1:]}
            other = cls.pretrained(others[0], **options)
        matcher = matcher or create_matcher(extractor.kind, config, weights, chosen, precision)
        return cls(extractor, matcher, refine, other, closer)

    def match(
        self,
        image0: ImageSource,
        image1: ImageSource,
        *,
        mask0: ImageSource | None = None,
        mask1: ImageSource | None = None,
        rotation: When = "auto",
        zoom: When = "auto",
        tiles: When = "auto",
        max_memory_gb: float | None = None,
    ) -> Matches:
        """Matches of two images. What was done beyond one pass is in ``Matches.remedies``.

        Args:
            image0: A path, PIL image, numpy array (h × w × c) or tensor (c × h × w).
            image1: The second image, in any of these forms.
            mask0: No keypoints of image0 where it is black; a file or PIL image is in stored pixels, an array upright.
            mask1: No keypoints of image1 where it is black, in pixels as for mask0.
            rotation: Turn image1 if it is turned against image0: "auto" where one pass fails, "off" or "always".
            zoom: Match crops of what the images share: "auto" where one pass fails or finds little; "off" or "always".
            tiles: Match large images part by part: "auto" where one pass finds little; "off" or "always".
            max_memory_gb: Memory for tiles, beside the images, in 10⁹ bytes; None: no limit.

        Raises:
            ImageError: If an image or mask cannot be read, or their sizes differ.
            ConfigError: If a word is not one of three, or tiles do not fit into the memory.
        """
        limits = Limits(rotation=rotation, zoom=zoom, tiles=tiles, max_memory_gb=max_memory_gb)
        return self.run(image0, image1, mask0=mask0, mask1=mask1, limits=limits).matches

    def match_many(self, images: Sequence[ImageSource], pairs: Iterable[tuple[int, int]]) -> list[Matches]:
        """Matches of many pairs of images, in their order. Each image is read and extracted once.

        Args:
            images: Paths, PIL images, numpy arrays (h × w × c) or tensors (c × h × w).
            pairs: The pairs to match, as positions in ``images``, which count from 0.

        Raises:
            ConfigError: If a pair has a number that is no image's.
            ImageError: If an image cannot be read.
        """
        pairs = list(pairs)
        for pair in pairs:
            if not all(0 <= number < len(images) for number in pair):
                raise ConfigError(f"The pair {tuple(pair)} is not among the {len(images)} images; they count from 0.")
        features: list[Features] = self.extractor.extract_many(images)
        matched = self.matcher.match_many([(features[i], features[j]) for i, j in pairs])
        found = [
            self._refined((images[i], images[j]), (features[i], features[j]), matches)
            for (i, j), matches in zip(pairs, matched, strict=True)
        ]
        if self.also is not None:
            more = self.also.match_many(images, pairs)
            found = [joined_matches(first, second) for first, second in zip(found, more, strict=True)]
        if self.closer:
            for at, (i, j) in enumerate(pairs):
                crops = self._closer((images[i], images[j]), (None, None), found[at])
                found[at] = found[at] if crops is None else joined_matches(found[at], crops.matches)
        return found

    def _joined(
        self,
        photos: tuple[Photo, Photo],
        masks: tuple[ImageSource | None, ImageSource | None],
        found: tuple[Features, Features, Matches],
        overlap_probability: float | None,
        clock: Clock,
    ) -> tuple[tuple[Features, Features, Matches], float | None]:
        """What other features, and crops, find beside; and how likely the photos overlap by all verdicts."""
        if self.also is not None:
            with clock("also"):
                more = self.also.run(*photos, mask0=masks[0], mask1=masks[1], limits=NONE)
            found = _beside(found, more)
            overlap_probability = joined_probability(overlap_probability, more.overlap_probability)
        if self.closer:
            with clock("crop"):
                crops = self._closer(photos, masks, found[2])
            if crops is not None:
                found = _beside(found, crops)
        return found, overlap_probability

    def _closer(
        self, images: Sequence[ImageSource | Photo], masks: Sequence[ImageSource | None], matches: Matches
    ) -> Matched | None:
        """What crops of the common part give, refined."""
        photo0, photo1 = (Masked.of(image, mask) for image, mask in zip(images, masks, strict=True))
        options = Subpixel() if self.refine == "subpixel" else self.refine
        return closer_matches((photo0, photo1), matches, (self.extractor, self.matcher), options)

    def _refined(
        self,
        images: tuple[ImageSource | Photo, ImageSource | Photo],
        features: tuple[Features, Features],
        matches: Matches,
    ) -> Matches:
        if self.refine is None:
            return matches
        options = Subpixel() if self.refine == "subpixel" else self.refine
        closer = matches.remedies is not None and not {"zoom", "tiles"}.isdisjoint(matches.remedies.applied)
        resize = None if closer else self.extractor.config.resize
        return refine_matches(*images, matches, resize=resize, options=options, features=features)

    def run(  # noqa: PLR0913  (everything that can be asked of two photos)
        self,
        image0: ImageSource | Photo,
        image1: ImageSource | Photo,
        *,
        mask0: ImageSource | None = None,
        mask1: ImageSource | None = None,
        verify: Model | None = None,
        camera0: PinholeCamera | str | None = None,
        camera1: PinholeCamera | str | None = None,
        threshold_px: float | None = None,
        limits: Limits | None = None,
    ) -> PairResult:
        """Match two images, say how likely they overlap, and check the matches against one geometric model.

        Args:
            image0: A path, PIL image, numpy array (h × w × c) or tensor (c × h × w).
            image1: The second image, in any of these forms.
            mask0: No keypoints of image0 where it is black; a file or PIL image is in stored pixels, an array upright.
            mask1: No keypoints of image1 where it is black, in pixels as for mask0.
            verify: "homography" for flat scenes and turning cameras, "essential" for all else if the cameras are known,
                "fundamental" if they are not; None: no check.
            camera0: The first camera, for "essential": a ``PinholeCamera``, or a text as ``PinholeCamera.parse`` reads
                it, such as "fx,fy,cx,cy" in pixels.
            camera1: The second camera; None: the same as the first.
            threshold_px: Largest error of a match that agrees, pixels; None: what suits the model and the size of the
                photos (``solvers.poselib.scaled_threshold_px``).
            limits: What is done where one pass fails, as ``match`` has it; None: what helps, each "auto".

        Raises:
            ImageError: If an image or mask cannot be read, or their sizes differ.
            ConfigError: If there is no such model, a camera is missing or makes no sense, or the threshold does not.
            MissingExtra: If PoseLib is needed and not installed.
        """
        if verify == "essential" and camera0 is None:
            raise ConfigError('verify="essential" needs the cameras, such as camera0="fx,fy,cx,cy" in pixels.')
        clock = Clock()
        with clock("read"):
            photos = load_photo(image0), load_photo(image1)
        with clock("extract"):
            features0, features1 = self.extractor.extract_many(photos, [mask0, mask1])
        with clock("match"):
            matches = self.matcher.match(features0, features1)
        with clock("limits"):
            tools, first = (self.extractor, self.matcher), (features0, features1, matches)
            features0, features1, matches = remedied(photos, (mask0, mask1), first, tools, limits or Limits())
        if matches.remedies is None:
            del clock.seconds["limits"]
        overlap_probability = self.matcher.overlap_probability(matches)
        if self.refine is not None:
            with clock("refine"):
                matches = self._refined(photos, (features0, features1), matches)
        own = features0, features1, matches
        joined, overlap_probability = self._joined(photos, (mask0, mask1), own, overlap_probability, clock)
        features0, features1, matches = joined
        verification = share = None
        if verify is not None:
            with clock("verify"):
                sizes = features0.image_size, features1.image_size
                cameras = camera0, camera0 if camera1 is None else camera1
                if threshold_px is None:
                    threshold_px = poselib.scaled_threshold_px(verify, sizes, self.extractor.config.resize)
                verification = verify_pair(matches, verify, sizes, cameras, threshold_px)
                share = partnered_share(*own, verification.inliers[: len(own[2])])  # others' points come last
        return PairResult(
            image0=photos[0].image.cpu(),
            image1=photos[1].image.cpu(),
            paths=(photos[0].path, photos[1].path),
            features0=features0,
            features1=features1,
            matches=matches,
            overlap_probability=overlap_probability,
            verification=verification,
            partnered_share=share,
            seconds=clock.seconds,
        )


def _beside(
    first: tuple[Features, Features, Matches], more: PairResult | Matched
) -> tuple[Features, Features, Matches]:
    features0, features1, matches = first
    return (
        joined_features(features0, more.features0),
        joined_features(features1, more.features1),
        joined_matches(matches, more.matches),
    )


def create_matcher(
    kind: str,
    config: LightGlueConfig | None = None,
    weights: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "auto",
) -> LightGlue:
    """LightGlue for a kind of features, where no extractor is needed, such as for features of a file.

    Args:
        kind: What the features are called, such as "aliked-n16"; unused with ``weights``.
        config: LightGlue's options; None: the official ones, or those stored with ``weights``.
        weights: A LightGlue checkpoint of your own, or the name of a released model, if no file is called so; None: the
            released weights for these features.
        device: Where to compute, such as "cuda:0"; None: on a GPU if there is one.
        precision: What to compute in; "auto": what was measured to be fastest here, see ``Precision``.

    Raises:
        ConfigError: If there is no released model for these features, or no such device.
        WeightsError: If weights cannot be had, are corrupt or do not fit.
    """
    if weights is not None and not is_released(weights):
        return LightGlue.from_checkpoint(weights, config, precision=precision).to(choose_device(device))
    name = kind if weights is None else str(weights)
    return LightGlue.pretrained(name, config, precision=precision).to(choose_device(device))
