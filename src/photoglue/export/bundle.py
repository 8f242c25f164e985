"""`photoglue export bundle`: an extractor and its matcher, and a manifest that says how they follow each other."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from photoglue.errors import FeatureKindError, OutputError
from photoglue.export.extractor import export_extractor
from photoglue.export.matcher import export_matcher
from photoglue.exported import Certificate
from photoglue.files import to_json, write_whole
from photoglue.matchers.lightglue.config import options_from_json
from photoglue.matchers.lightglue.kinds import model_of

EXTRACTOR, MATCHER, MANIFEST = "extractor.onnx", "matcher.onnx", "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An extractor and a matcher that belong together."""

    extractor: Certificate
    """Certificate of extractor.onnx."""
    matcher: Certificate
    """Certificate of matcher.onnx."""

    @property
    def faults(self) -> list[str]:
        """Everything in which the two do not agree with PyTorch."""
        return self.extractor.faults + self.matcher.faults


def export_bundle(
    out: str | os.PathLike[str],
    features: str = "aliked",
    *,
    photos: Sequence[str | os.PathLike[str]] = (),
    allow_noncommercial: bool = False,
    **options: Any,
) -> Bundle:
    """Write an extractor and the matcher for its features into a folder, with a manifest.

    Args:
        out: The folder; it is made.
        features: "aliked" or one of its variants, "disk", "superpoint".
        photos: Photos to check with; none: those that come with scikit-image.
        allow_noncommercial: Accept weights whose licence forbids commercial use.
        **options: What ``export_matcher`` takes: ``n_layers``, ``dtype``, ``flavour``, ``opset``; and
            ``export_extractor``: ``max_keypoints``, ``deform``.

    Raises:
        ConfigError: If there are no such features or options.
        FeatureKindError: If no released matcher is for these features.
        LicenceError: If the weights are non-commercial and that was not accepted.
        OutputError: If the files cannot be written.
        MissingExtra: If onnx, onnxscript or onnxruntime are not installed.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {str(folder)!r} cannot be made: {error.strerror}.") from error
    own = {name: options.pop(name) for name in ("max_keypoints", "deform") if name in options}
    extractor = export_extractor(
        folder / EXTRACTOR, features, photos=photos, allow_noncommercial=allow_noncommercial, **own
    )
    matcher = export_matcher(folder / MATCHER, model_of(extractor.features), photos=photos, **options)
    _fits(extractor, matcher)
    write_whole(folder / MANIFEST, _manifest(extractor, matcher).encode())
    return Bundle(extractor=extractor, matcher=matcher)


def _fits(extractor: Certificate, matcher: Certificate) -> None:
    kinds = options_from_json(matcher.options, MATCHER)[0].kinds
    if kinds and extractor.features not in kinds:
        raise FeatureKindError(f"The extractor gives {extractor.features!r}; the matcher is for {', '.join(kinds)}.")


def _manifest(extractor: Certificate, matcher: Certificate) -> str:
    """How the two files follow each other, for who writes the program between them."""
    parts = {}
    for name, certificate in ((EXTRACTOR, extractor), (MATCHER, matcher)):
        facts = {each.name: getattr(certificate, each.name) for each in fields(Certificate)}
        kept = ("role", "features", "dtype", "opset", "licence", "commercial", "inputs", "outputs", "file_sha256")
        parts[name] = {key: facts[key] for key in kept}
    return to_json(
        {
            "format": "photoglue-bundle",
            "convention": "(x, y) in pixels, the centre of the top-left pixel at (0, 0); image_size is (width, height)",
            "steps": [
                "image: RGB (SuperPoint: gray) in [0, 1], 1 x c x h x w, resized as the options of the extractor say",
                "of the extractor's points those count whose score is above 0; scale them back to the photo's pixels",
                "kpts, desc and image_size of both photos into the matcher; mask is False for padding",
                "matches0[i] is the partner in photo 1 of point i of photo 0, or -1; mscores0[i] its score",
            ],
            "files": parts,
        },
        indent=2,
    )
