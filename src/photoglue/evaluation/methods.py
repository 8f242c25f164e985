"""Methods by name, EXTRACTOR+MATCHER: ``aliked+lightglue``, ``disk+lightglue@bfloat16``, ``sift+ratio0.8~refined``."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast, get_args

import torch

from photoglue.errors import ConfigError
from photoglue.evaluation.protocols import Protocol
from photoglue.export import certified_file, is_exported_matcher, load_matcher
from photoglue.extractors import EXTRACTORS
from photoglue.extractors.named import is_class, is_exported, label_of, source_digest
from photoglue.files import digest_of_file
from photoglue.limits.subpixel import Subpixel
from photoglue.matchers.lightglue import LightGlueConfig, pretrained
from photoglue.matchers.lightglue.engine.choice import matching_precision
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.pipeline import Pipeline
from photoglue.precision import Precision, choose_precision
from photoglue.presets import EXTRACTION, PRESETS
from photoglue.weights import resolve

RATIO = 0.8
"""Threshold of ``ratio`` without a number: Lowe's."""

MATCHERS: Mapping[str, str] = MappingProxyType(
    {
        "lightglue": "LightGlue, all layers and points",
        "lightglue-adaptive": "LightGlue with early exit and pruning, at their defaults or at the confidences of depth "
        "and width behind it: lightglue-adaptive:0.9:off",
        "nn": "mutual nearest neighbours",
        "ratio": f"mutual nearest neighbours with Lowe's ratio test, {RATIO} or the number behind it: ratio0.9",
        "best, edge": "LightGlue as these presets have it, with their own points and sizes of photos, whatever the "
        "protocol says; best refined",
        "PATH": "LightGlue with the weights and thresholds of a file, or of a released model by its name, all layers "
        "and points; or a file or folder that `photoglue export matcher` wrote",
        "adaptive:PATH": "LightGlue with the weights and thresholds of a file, with early exit and pruning",
    }
)
"""What can stand behind the plus sign."""
CONFIGS: Mapping[str, Callable[[], LightGlueConfig]] = MappingProxyType(
    {"lightglue": LightGlueConfig.accurate, "lightglue-adaptive": LightGlueConfig}
)
REFINED = re.compile(r"(.*)~refined(\d*\.?\d+)?")
CONFIDENCE = r"off|\d*\.?\d+"
ALWAYS_FLOAT32 = ("sift", "doghardnet")
"""Extractors for which a precision changes nothing."""
SUPERPOINT = "superpoint"
"""The extractor that a protocol's suppression and detection threshold are for."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """An extractor and a matcher."""

    name: str
    """The name that it was asked for by, with the class instead of "path/file.py:Class"."""
    extractor: str
    """A name that ``named_extractor`` takes: a key of ``EXTRACTORS``, a class of the user's, or an exported file."""
    matcher: str
    """``lightglue``, ``lightglue-adaptive``, ``nn`` or ``exported``."""
    ratio: float | None = None
    """Threshold of the ratio test; None: no test. Only with ``nn``."""
    confidences: tuple[float | None, float | None] | None = None
    """Confidences of depth and width (None: off), instead of the defaults. Only with ``lightglue-adaptive``."""
    weights: Path | None = None
    """A LightGlue checkpoint, or an exported matcher; None: the released one."""
    preset: str | None = None
    """A preset with points and sizes of photos of its own, instead of the protocol's; None: the protocol's."""
    precision: Precision = "auto"
    """What both compute in."""
    refine: Subpixel | None = None
    """How matches are refined; None: not at all."""

    @classmethod
    def parse(cls, text: str) -> "Method":
        """The method of that name.

        Raises:
            ConfigError: If there is none; the message says what there is.
            WeightsError: If the weights of a released model cannot be had.
        """
        if found := REFINED.fullmatch(text):
            refine = Subpixel(min_correlation=float(found[2]) if found[2] else None)
            plain = cls.parse(found[1])
            return replace(plain, name=f"{plain.name}{text[len(found[1]) :]}", refine=refine)
        extractor, plus, rest = _split(text)
        if not plus or not (extractor in EXTRACTORS or is_class(extractor) or is_exported(extractor)):
            raise ConfigError(f"{text!r} is no method. {_grammar()}")
        name = f"{label_of(extractor)}+{rest}"
        matcher, at, ending = rest.rpartition("@")
        precision: Precision = "auto"
        if at and ending in get_args(Precision):
            precision = cast(Precision, ending)
        else:
            matcher = rest
        plain = cls(name=name, extractor=extractor, matcher="nn", precision=precision)
        if found := re.fullmatch(r"ratio(\d*\.?\d+)?", matcher):
            ratio = float(found[1]) if found[1] else RATIO
            NearestNeighbor(ratio)  # refuses numbers that make no sense
            return replace(plain, ratio=ratio)
        if matcher in ("nn", *CONFIGS):
            return replace(plain, matcher=matcher)
        if found := re.fullmatch(rf"lightglue-adaptive:({CONFIDENCE}):({CONFIDENCE})", matcher):
            confidences = (_confidence(found[1]), _confidence(found[2]))
            _adaptive(confidences)  # refuses numbers that make no sense
            return replace(plain, matcher="lightglue-adaptive", confidences=confidences)
        if matcher in EXTRACTION:
            subpixel = Subpixel() if "refine" in EXTRACTION[matcher] else None
            return replace(plain, matcher="lightglue", preset=matcher, refine=subpixel)
        path = Path(matcher.removeprefix("adaptive:"))
        if pretrained.is_released(path):
            path = resolve(pretrained.WEIGHTS[str(path)])
        if not path.is_file() and not is_exported_matcher(path):
            raise ConfigError(f"{text!r} is no method, and {str(path)!r} no file of weights. {_grammar()}")
        return replace(plain, matcher=_kind_of(matcher, path), weights=path)

    def resolved_name(self, device: torch.device) -> str:
        """The name with the precision that "auto" means on this device, unless it is float32 or nothing uses it."""
        chosen = self._precisions(device)[-1]
        plain, tilde, refined = self.name.rpartition("~") if REFINED.fullmatch(self.name) else (self.name, "", "")
        name = plain.removesuffix(f"@{self.precision}")
        unused = self.matcher in ("nn", "exported") and (
            self.extractor in ALWAYS_FLOAT32 or is_exported(self.extractor)
        )
        at = "" if unused or chosen == "float32" else f"@{chosen}"
        return f"{name}{at}{tilde}{refined}"

    def _precisions(self, device: torch.device) -> list[str]:
        """What the extractor and LightGlue, if it takes part, compute in on a device."""
        extraction = str(choose_precision(self.precision, device, "extraction")).removeprefix("torch.")
        matching = matching_precision(self.precision, device) if self.matcher in CONFIGS else None
        return [extraction, *([] if matching is None else [matching])]

    def seen(self, protocol: Protocol) -> Protocol:
        """The protocol with this method's own number of points and size of photos, if it has such."""
        if self.preset is None:
            return protocol
        own: dict[str, Any] = {name: EXTRACTION[self.preset][name] for name in ("max_keypoints", "resize")}
        return replace(protocol, resize_side="long", **own)

    def build(self, protocol: Protocol, device: torch.device, *, allow_noncommercial: bool) -> Pipeline:
        """The extractor with the protocol's options, and the matcher.

        The extractor resizes nothing: its images come resized.

        Raises:
            ConfigError: If there is no released model for these features.
            LicenceError: If weights are non-commercial and that was not accepted.
            WeightsError: If weights cannot be had or are corrupt.
        """
        options: dict[str, Any] = {"max_keypoints": protocol.max_keypoints, "precision": self.precision}
        options["refine"] = self.refine
        if self.extractor == SUPERPOINT:
            wanted = {"nms_radius": protocol.nms_radius, "detection_threshold": protocol.detection_threshold}
            options |= {name: value for name, value in wanted.items() if value is not None}
        if self.matcher == "nn":
            options["matcher"] = NearestNeighbor(self.ratio)
        elif self.matcher == "exported" and self.weights is not None:
            options["matcher"] = load_matcher(self.weights)
        else:
            options |= {"config": self._config(), "weights": self.weights}
        return Pipeline.pretrained(
            self.extractor, resize=None, device=device, allow_noncommercial=allow_noncommercial, **options
        )

    def _config(self) -> LightGlueConfig:
        """LightGlue's options: those stored with weights of one's own, but for exit and pruning."""
        if self.preset is not None:
            return PRESETS[self.preset]
        if self.confidences is not None:
            return _adaptive(self.confidences)
        config = CONFIGS[self.matcher]()
        stored = None if self.weights is None else pretrained.checkpoint(self.weights).config
        if stored is None:
            return config
        if self.matcher == "lightglue":
            return replace(stored, depth_confidence=None, width_confidence=None)
        return stored

    def fingerprint(self, device: torch.device) -> dict[str, Any]:
        """What the matches depend on besides the features: for files that must not be mixed up."""
        return {
            "extractor": label_of(self.extractor),
            **({"source": source} if (source := source_digest(self.extractor)) is not None else {}),
            "matcher": self.matcher,
            "ratio": self.ratio,
            "confidences": self.confidences,
            **({} if self.preset is None else {"preset": self.preset}),
            "weights": None if self.weights is None else digest_of_file(certified_file(self.weights)),
            "precision": "/".join(dict.fromkeys(self._precisions(device))),
            "device": device.type,
            **({} if self.refine is None else {"refine": asdict(self.refine)}),
        }


def _split(text: str) -> tuple[str, str, str]:
    """Extractor, plus sign and matcher; a path of either may have plus signs of its own.

    The extractor ends at the first plus sign, that of a class at the first behind its colon.
    """
    colon = re.match(r".*?\.py:|[\w.]+:", text)
    start = colon.end() if colon else 0
    head, plus, rest = text[start:].partition("+")
    return text[:start] + head, plus, rest


def _confidence(text: str) -> float | None:
    return None if text == "off" else float(text)


def _adaptive(confidences: tuple[float | None, float | None]) -> LightGlueConfig:
    return LightGlueConfig(depth_confidence=confidences[0], width_confidence=confidences[1])


def _grammar() -> str:
    matchers = "; ".join(f"{name} ({meaning})" for name, meaning in MATCHERS.items())
    return (
        f"A method is EXTRACTOR+MATCHER, and may end in @float32, @bfloat16, @float16 or @int16, and then in ~refined "
        "(to fractions of a pixel; ~refined0.8 keeps those matches only whose patches correlate so well). Extractors: "
        f"{', '.join(EXTRACTORS)}, path/file.py:Class or package.module:Class. Matchers: {matchers}."
    )


def _kind_of(matcher: str, path: Path) -> str:
    """What a file is run as."""
    if is_exported_matcher(path):
        return "exported"
    return "lightglue-adaptive" if matcher.startswith("adaptive:") else "lightglue"
