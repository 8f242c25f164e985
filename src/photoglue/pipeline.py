"""From two photos to matches, in one call."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from photoglue.errors import ConfigError
from photoglue.extractors import create_extractor
from photoglue.extractors.base import Extractor
from photoglue.image import ImageSource
from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.precision import Precision, choose_device
from photoglue.structs import Features, Matches


@dataclass(frozen=True)
class Pipeline:
    """An extractor and a matcher that belong together."""

    extractor: Extractor
    matcher: Matcher

    @classmethod
    def pretrained(
        cls,
        features: str = "aliked",
        *,
        max_keypoints: int | None = 2048,
        resize: int | None = 1024,
        config: LightGlueConfig | None = None,
        device: str | torch.device | None = None,
        precision: Precision = "auto",
        allow_noncommercial: bool = False,
    ) -> "Pipeline":
        """An extractor with its LightGlue, both with their released weights.

        Args:
            features: A name from ``photoglue.EXTRACTORS``.
            max_keypoints: At most so many points an image, the best; None: all.
            resize: Length of the longer side that the extractor sees, pixels; None: the image as it is.
            config: The matcher's options; None: the official ones.
            device: Where to compute; None: on a GPU if there is one.
            precision: What to compute in; "auto": bfloat16 where the hardware has it natively.
            allow_noncommercial: Accept weights whose licence forbids commercial use (SuperPoint).

        Raises:
            ConfigError: If there are no such features, no matcher for them, or no such device.
            LicenceError: If the weights are non-commercial and that was not accepted.
            WeightsError: If weights cannot be had or are corrupt.
        """
        chosen = choose_device(device)
        extractor = create_extractor(
            features,
            max_keypoints=max_keypoints,
            resize=resize,
            precision=precision,
            allow_noncommercial=allow_noncommercial,
        ).to(chosen)
        return cls(extractor, LightGlue.pretrained(extractor.kind, config, precision=precision).to(chosen))

    def match(
        self,
        image0: ImageSource,
        image1: ImageSource,
        *,
        mask0: ImageSource | None = None,
        mask1: ImageSource | None = None,
    ) -> Matches:
        """Matches of two images.

        Args:
            image0: A path, PIL image, numpy array (h × w × c) or tensor (c × h × w).
            image1: The other image.
            mask0: No keypoints where this image is black.
            mask1: The same for the other image.

        Raises:
            ImageError: If an image cannot be read.
        """
        features0, features1 = self.extractor.extract_many([image0, image1], [mask0, mask1])
        return self.matcher.match(features0, features1)

    def match_many(self, images: Sequence[ImageSource], pairs: Sequence[tuple[int, int]]) -> list[Matches]:
        """Matches of many pairs of images, in their order. Each image is read and extracted once.

        Args:
            images: Any images.
            pairs: Which of them to match, by number.

        Raises:
            ConfigError: If a pair has a number that is no image's.
            ImageError: If an image cannot be read.
        """
        for pair in pairs:
            if not all(0 <= number < len(images) for number in pair):
                raise ConfigError(f"The pair {tuple(pair)} is not among the {len(images)} images; they count from 0.")
        features: list[Features] = self.extractor.extract_many(images)
        return self.matcher.match_many([(features[i], features[j]) for i, j in pairs])


def match_images(
    image0: ImageSource,
    image1: ImageSource,
    *,
    features: str = "aliked",
    max_keypoints: int | None = 2048,
    resize: int | None = 1024,
    device: str | None = None,
    allow_noncommercial: bool = False,
) -> Matches:
    """Which points of two photos show the same thing.

    ``matches.points0`` and ``matches.points1`` are the matched points, ``matches.scores`` their confidences. The models
    are kept between calls; for options of the matcher, build a ``Pipeline``.

    Args:
        image0: A path, PIL image, numpy array (h × w × c) or tensor (c × h × w).
        image1: The other image.
        features: A name from ``photoglue.EXTRACTORS``.
        max_keypoints: At most so many points an image, the best; None: all.
        resize: Length of the longer side that the extractor sees, pixels; None: the image as it is.
        device: Where to compute; None: on a GPU if there is one.
        allow_noncommercial: Accept weights whose licence forbids commercial use (SuperPoint).

    Raises:
        ImageError: If an image cannot be read.
        ConfigError: If there are no such features, or no such device.
        LicenceError: If the weights are non-commercial and that was not accepted.
        WeightsError: If weights cannot be had or are corrupt.
    """
    pipeline = _kept_pipeline(features, max_keypoints, resize, device, allow_noncommercial)
    return pipeline.match(image0, image1)


@lru_cache(maxsize=4)
def _kept_pipeline(
    features: str, max_keypoints: int | None, resize: int | None, device: str | None, allow_noncommercial: bool
) -> Pipeline:
    return Pipeline.pretrained(
        features,
        max_keypoints=max_keypoints,
        resize=resize,
        device=device,
        allow_noncommercial=allow_noncommercial,
    )
