"""Inputs and what PyTorch makes of them, to compare an exported file with: real photos, and awkward sizes.

They are written beside the file, so that it can be checked where there is no PyTorch, and on every provider.
"""

import importlib.util
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from photoglue.errors import ConfigError, WeightsError
from photoglue.extractors.base import Extractor
from photoglue.image import load_image
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.matchers.onnx import graph_inputs
from photoglue.structs import Features

SIZES = ((0, 0), (0, 5), (1, 1), (1, 2), (2, 2), (300, 200), (512, 512), (2048, 2048))
"""Numbers of points of the two images that are tried besides."""
PAIR_POINTS = 512
"""Points of each image of a real pair."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """Inputs of the general form, as a batch of one, and what PyTorch makes of them."""

    name: str
    """What it is, such as the names of two photos."""
    real: bool
    """Whether it comes from photos."""
    inputs: dict[str, np.ndarray]
    """Inputs of the graph by name."""
    expected: dict[str, np.ndarray]
    """Outputs of PyTorch by name."""


def real_pairs(
    extractor: Extractor, photos: Sequence[str | os.PathLike[str]], most: int
) -> list[tuple[str, Features, Features]]:
    """Names and features of pairs of photos, with up to ``most`` points each: each photo and the next one.

    Without photos those that come with scikit-image are taken, if it is installed: the two of a stereo pair, and four
    photos each with a turned and enlarged view of itself. Descriptors are rounded to half precision, so that they can
    be kept in half the space.

    Raises:
        ConfigError: If there is one photo only.
        ImageError: If a photo cannot be read.
    """
    found = []
    for name, *both in photo_pairs(photos):
        features = [replace(each, descriptors=each.descriptors.half().float()) for each in extractor.extract_many(both)]
        found.append((name, features[0][:most], features[1][:most]))
    return found


def photo_pairs(photos: Sequence[str | os.PathLike[str]]) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    """Names and images of pairs of photos: each and the next one; without photos those that come with scikit-image.

    Raises:
        ConfigError: If there is one photo only.
        ImageError: If a photo cannot be read.
    """
    if len(photos) == 1:
        raise ConfigError("One photo makes no pair to check with; give two or more, or none.")
    if not photos:
        return _photos_of_scikit_image()
    images = [(Path(path).name, load_image(path)) for path in photos]
    return [(f"{a} {b}", first, second) for (a, first), (b, second) in pairwise(images)]


def single_photos(photos: Sequence[str | os.PathLike[str]]) -> list[tuple[str, torch.Tensor]]:
    """Names and images of photos; without photos those that come with scikit-image, if it is installed."""
    if photos:
        return [(Path(path).name, load_image(path)) for path in photos]
    return [(name.partition(" and ")[0], image) for name, image, _ in _photos_of_scikit_image()]


def _photos_of_scikit_image() -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parent / "data"
    left, right = (load_image(folder / f"motorcycle_{side}.png") for side in ("left", "right"))
    pairs = [("motorcycle left right", left, right)]
    for number, name in enumerate(("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg")):
        image = load_image(folder / name)
        angle, scale = torch.tensor(0.1 + 0.1 * number), 0.95 - 0.1 * number
        cosine, sine, aspect = angle.cos() * scale, angle.sin() * scale, image.shape[2] / image.shape[1]
        turn = torch.tensor([[cosine, -sine / aspect, 0.02], [sine * aspect, cosine, 0.03]])
        grid = functional.affine_grid(turn[None], [1, *image.shape], align_corners=False)
        turned = functional.grid_sample(image[None], grid, align_corners=False)[0]
        pairs.append((f"{name} and itself, turned", image, turned))
    return pairs


def made_up(model: LightGlue, count0: int, count1: int, seed: int = 0) -> tuple[Features, Features]:
    """Features of random numbers, of which those that both images have are alike."""
    random = torch.Generator().manual_seed(seed)
    most, width = max(count0, count1), model.shape.input_dim
    points = torch.rand(most, 2, generator=random) * torch.tensor([640.0, 480.0])
    descriptors = torch.randn(most, width, generator=random)
    both = []
    for count in (count0, count1):
        near = descriptors + 0.2 * torch.randn(most, width, generator=random)
        both.append(
            Features(
                keypoints=points[:count] + 5 * torch.rand(count, 2, generator=random),
                descriptors=functional.normalize(near, dim=1).half().float()[:count],
                scores=torch.ones(count),
                image_size=(650, 490),
                scales=1 + 4 * torch.rand(count, generator=random),
                orientations=3 * torch.rand(count, generator=random),
            )
        )
    return both[0], both[1]


def matcher_cases(
    model: LightGlue,
    pairs: Sequence[tuple[str, Features, Features]],
    sizes: Sequence[tuple[int, int]] = SIZES,
) -> list[Case]:
    """Pairs of features, and pairs of these sizes, with the matches of the plain network in single precision.

    Args:
        model: The network; its exits and pruning are switched off meanwhile.
        pairs: Real pairs, with a name each; the first has the points of the sizes, as far as they go.
        sizes: Numbers of points of further pairs.
    """
    reference = plain_reference(model)
    cases = [
        _case(reference, name, features0[:PAIR_POINTS], features1[:PAIR_POINTS], real=True)
        for name, features0, features1 in pairs
    ]
    for m, n in sizes:
        enough = bool(pairs) and min(len(pairs[0][1]) - m, len(pairs[0][2]) - n) >= 0
        first, second = (pairs[0][1][:m], pairs[0][2][:n]) if enough else made_up(model, m, n)
        cases.append(_case(reference, f"{m} × {n} points", first, second, real=enough))
    return cases


def plain_reference(model: LightGlue) -> LightGlue:
    """A copy of the network on the CPU, plain, in single precision, without exits and pruning."""
    config = LightGlueConfig.accurate(filter_threshold=model.config.filter_threshold, n_layers=model.shape.n_layers)
    reference = LightGlue(config, shape=model.shape)
    reference.load_state_dict(model.state_dict())
    return reference.eval().requires_grad_(False).prepare(None)


def _case(model: LightGlue, name: str, features0: Features, features1: Features, *, real: bool) -> Case:
    matches = model.match(features0, features1)
    inputs = graph_inputs(features0, 0) | graph_inputs(features1, 1)
    if not model.shape.add_scale_ori:
        inputs = {key: array for key, array in inputs.items() if not key.startswith(("scales", "oris"))}
    expected = {"matches0": matches.matches0.numpy(), "mscores0": matches.matching_scores0.numpy()}
    return Case(name=name, real=real, inputs=inputs, expected=expected)


def cases_to_bytes(cases: Sequence[Case]) -> bytes:
    """The cases as one .npz file: descriptors in half precision, images in whole shades, which they were rounded to."""
    arrays = {}
    for number, case in enumerate(cases):
        for part, named in (("inputs", case.inputs), ("expected", case.expected)):
            for name, array in named.items():
                arrays[f"{number}/{part}/{name}"] = _small(name, array)
    facts = json.dumps([{"name": case.name, "real": case.real} for case in cases])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, cases=np.array(facts), **arrays)
    return buffer.getvalue()


def read_cases(path: Path) -> list[Case]:
    """The cases that ``cases_to_bytes`` wrote.

    Raises:
        ConfigError: If there is no such file.
        WeightsError: If it cannot be read.
    """
    if not path.is_file():
        raise ConfigError(f"There is no {str(path)!r}; it lies beside the exported file and has what to compare with.")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            facts = json.loads(str(file["cases"]))
            arrays = {name: file[name] for name in file.files if name != "cases"}
        cases = []
        for number, fact in enumerate(facts):
            parts: dict[str, dict[str, np.ndarray]] = {"inputs": {}, "expected": {}}
            for name, array in arrays.items():
                place, _, rest = name.partition("/")
                part, _, key = rest.partition("/")
                if place == str(number):
                    parts[part][key] = _large(array)
            cases.append(Case(name=str(fact["name"]), real=bool(fact["real"]), **parts))
    except Exception as error:
        raise WeightsError(f"{str(path)!r} cannot be read: {error}. It may be cut off; export again.") from error
    return cases


def _small(name: str, array: np.ndarray) -> np.ndarray:
    if name in ("image", "images"):
        return np.round(array * 255).astype(np.uint8)
    return array.astype(np.float16) if name.startswith("desc") else array


def _large(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return (torch.from_numpy(array).float() / 255).numpy()
    return array.astype(np.float32) if array.dtype == np.float16 else array
