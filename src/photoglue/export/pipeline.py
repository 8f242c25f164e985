"""`photoglue export pipeline`: extractor and matcher as one ONNX file, in the form of the LightGlue-ONNX project."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from photoglue.errors import ConfigError
from photoglue.export.cases import Case, photo_pairs, plain_reference
from photoglue.export.convert import check_opset, graph_sha256, ports, to_onnx
from photoglue.export.extractor import SMALL, Deform, exported_extractor, exported_options
from photoglue.export.graph import PlainMatcher
from photoglue.export.matcher import matcher_of, written
from photoglue.export.networks import plain_extractor
from photoglue.export.points import last_place
from photoglue.exported import Certificate
from photoglue.extractors import ALIKED
from photoglue.extractors.base import Extractor, ReleasedExtractor
from photoglue.extractors.onnx import network_input
from photoglue.files import check_output, to_json
from photoglue.image import Resize
from photoglue.matchers.lightglue import LightGlue
from photoglue.matchers.lightglue.kinds import model_of

OUTPUTS = ("keypoints", "matches", "mscores")


class Pipeline(nn.Module):
    """Extractor and matcher as one network, for a fixed number of pairs.

    Args:
        extractor: A plain extractor of one image.
        matcher: The plain network of the matcher.
        pairs: Number of pairs.
    """

    def __init__(self, extractor: nn.Module, matcher: PlainMatcher, pairs: int) -> None:
        super().__init__()
        self.extractor, self.matcher, self.pairs = extractor, matcher, pairs

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b k 2"], Int64[Tensor, "m 3"], Float[Tensor, " m"]]:
        """Keypoints (x, y) in pixels of all images, matches as (pair, point, point), and their scores.

        Args:
            images: Images 0 and 1 of the first pair, then those of the second one.
        """
        found = [self.extractor(images[i : i + 1]) for i in range(2 * self.pairs)]
        points, scores, descriptors = (torch.cat(parts) for parts in zip(*found, strict=True))
        size = torch.cat([last_place(images.shape[3]), last_place(images.shape[2])]).expand(self.pairs, 2) + 1
        both = [(parts[0::2], parts[1::2]) for parts in (points, descriptors, scores > 0)]
        matches0, _, scores0, _ = self.matcher(*both[0], *both[1], size, size, *both[2])
        rows = (matches0 >= 0).nonzero()
        partners = matches0[rows[:, 0], rows[:, 1]]
        return points, torch.cat([rows, partners[:, None]], dim=1), scores0[rows[:, 0], rows[:, 1]]


def export_pipeline(
    out: str | os.PathLike[str],
    features: str | Extractor = "aliked",
    matcher: str | LightGlue | None = None,
    *,
    max_keypoints: int = 1024,
    pairs: int = 1,
    deform: Deform = "native",
    photos: Sequence[str | os.PathLike[str]] = (),
    allow_noncommercial: bool = False,
) -> Certificate:
    """Write an extractor and a matcher as one ONNX file from images to matches, and check it against PyTorch.

    Its form is that of LightGlue-ONNX: ``images`` (2B, C, H, W), the two of each pair side by side, RGB (SuperPoint:
    gray) in [0, 1], all of one size; ``keypoints`` (2B, K, 2) in pixels; ``matches`` (M, 3): pair, point of its first
    image, point of its second one; ``mscores`` (M). B is fixed when it is exported, H and W are not.

    Args:
        out: The file, ending in .onnx; its folder exists.
        features: "aliked" or one of its variants, "disk", "superpoint"; or such an extractor.
        matcher: What ``export_matcher`` takes; None: the released one for these features.
        max_keypoints: Number of points of each image; those that an image has not are never matched.
        pairs: B, the number of pairs that go in at once.
        deform: How ALIKED's deformable convolutions are written; see ``export_extractor``.
        photos: Photos to check with, each with the next one; none: those that come with scikit-image.
        allow_noncommercial: Accept weights whose licence forbids commercial use.

    Returns:
        The certificate; its ``faults`` are empty if the file agrees with PyTorch.

    Raises:
        ConfigError: If there are no such features or options, or they do not go together.
        LicenceError: If the weights are non-commercial and that was not accepted.
        WeightsError: If the weights cannot be had.
        OutputError: If the file cannot be written.
        MissingExtra: If onnx, onnxscript or onnxruntime are not installed.
    """
    path = Path(out)
    check_output(path, (".onnx",))
    if not 1 <= max_keypoints <= 3840 or pairs < 1:
        raise ConfigError(f"max_keypoints is {max_keypoints} and pairs {pairs}; they must be 1 to 3840, and 1 or more.")
    extractor = exported_extractor(features, max_keypoints, allow_noncommercial)
    native = deform == "native" and isinstance(extractor, ALIKED)
    opset = 22 if native else 18
    check_opset(opset)
    model, origin = matcher_of(matcher or model_of(extractor.kind), None)
    if model.shape.add_scale_ori or model.shape.input_dim != extractor.descriptor_dim:
        raise ConfigError(f"The matcher is not for {extractor.kind}: it wants other descriptors, or scales.")
    plain = plain_extractor(extractor, max_keypoints, native=native)
    assert plain is not None
    options = exported_options(extractor, max_keypoints)
    module = Pipeline(plain, PlainMatcher(model), pairs)
    example = {"images": torch.rand(2 * pairs, options.channels, 160, 224)}
    graph = to_onnx(module, example, OUTPUTS, {"images": {2: "height", 3: "width"}}, opset=opset)
    record = cast("ReleasedExtractor", extractor).records[extractor.kind]
    certificate = Certificate(
        role="pipeline",
        flavour="lightglue-onnx",
        dtype="float32",
        opset=opset,
        options=to_json(asdict(options)),
        inputs=ports(graph.graph.input),
        outputs=ports(graph.graph.output),
        graph_sha256=graph_sha256(graph),
        **origin
        | {
            "features": extractor.kind,
            "licence": f"{record.licence}; {origin['licence']}",
            "commercial": record.commercial and origin["commercial"],
            "weights": f"{record.name}; {origin['weights']}",
        },
    )
    cases = [pipeline_case(extractor, model, pair, pairs) for pair in photo_pairs(photos)]
    return written(path, graph, certificate, cases)


@torch.no_grad()
def pipeline_case(extractor: Extractor, model: LightGlue, pair: tuple[str, Tensor, Tensor], pairs: int) -> Case:
    """Two photos, made small, cut to one size and rounded to whole shades, and PyTorch's matches of them."""
    name, *images = pair
    options = exported_options(extractor, extractor.config.max_keypoints or 3840)
    small = [Resize.long_side((each.shape[2], each.shape[1]), SMALL).apply(each) for each in images]
    height, width = (min(each.shape[axis] for each in small) for axis in (1, 2))
    seen = [network_input(each[:, :height, :width], options.channels, options.multiple) for each in small]
    seen = [(each * 255).round().clamp(0, 255) / 255 for each in seen]
    both = [extractor.detect(each[None])[0][: options.count] for each in seen]
    matches = plain_reference(model).match(*both)
    rows0, rows1 = matches.indices.T
    ends = torch.cat([both[0].keypoints[rows0], both[1].keypoints[rows1]], dim=1)
    expected = {"ends": ends.numpy(), "mscores": matches.matching_scores0[rows0].numpy()}
    return Case(name=name, real=True, inputs={"images": torch.stack(seen * pairs).numpy()}, expected=expected)
