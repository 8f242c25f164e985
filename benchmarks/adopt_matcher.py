"""A LightGlue for ALIKED's smallest network (t16), made of the one for n16: the script behind `aliked-t16-photoglue`.

    python benchmarks/adopt_matcher.py --images PHOTOS --scenes SCENES --out run

n16 can describe the points that t16 found. So each photo gives exact targets: the linear map that takes t16's
descriptors nearest to n16's, by least squares, makes an input projection behind which the network of n16 works at once
(run/adopted.safetensors, 34 kB: what differs from the official weights).

run/edge.safetensors is a network of 5 layers of width 128, fitted layer by layer to what the large one computes
(``shrink_matcher.py``). It is a beginning, to be trained:

    photoglue train posed --scenes SCENES --features aliked-t16 --model edge --init run/edge.safetensors --out edge
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from shrink_matcher import shrunk
from torch import Tensor, nn
from torch.nn import functional

from photoglue import ALIKED, ALIKEDConfig, Extractor, ExtractorConfig, Features, LightGlue, LightGlueConfig
from photoglue.datasets.photos import find_photos
from photoglue.datasets.scenes import read_folders
from photoglue.files import write_whole
from photoglue.matchers.lightglue import LightGlueShape
from photoglue.matchers.lightglue.config import options_to_json
from photoglue.store.cache import FeatureCache
from photoglue.training.pairs.homography_cache import HomographyCacheConfig, build_homography_cache
from photoglue.training.pairs.homography_pairs import HomographyPairs
from photoglue.training.pairs.posed_cache import PosedCacheConfig, build_posed_cache

WIDTH = 64
"""Length of t16's descriptors; those of n16 follow in the same tensor."""
EVERY = 6
"""One view of so many is enough for the least squares."""


class Both(Extractor):
    """t16's points with its own descriptors and those that n16 gives there, side by side."""

    kind = "aliked-t16"
    descriptor_dim = WIDTH + 128

    def __init__(self, config: ExtractorConfig | None = None) -> None:
        super().__init__(config or ExtractorConfig(max_keypoints=1024))
        self.small = ALIKED.pretrained(ALIKEDConfig(variant="t16", max_keypoints=self.config.max_keypoints))
        self.large = ALIKED.pretrained()

    def detect(self, images: Tensor, masks: Tensor | None = None) -> list[Features]:
        """Features of a batch: ``images`` is b × (1 or 3) × h × w in [0, 1], ``masks`` b × h × w or None."""
        return [
            self._described(image, found) for image, found in zip(images, self.small.detect(images, masks), strict=True)
        ]

    def _described(self, image: Tensor, found: Features) -> Features:
        if not len(found):
            return replace(found, descriptors=found.descriptors.new_zeros(0, self.descriptor_dim))
        limits = found.keypoints.new_tensor([image.shape[2] - 1, image.shape[1] - 1])
        targets = self.large.describe_in(image, torch.minimum(found.keypoints.clamp(min=0), limits))
        return replace(found, descriptors=torch.cat([found.descriptors, targets], dim=1))


def caches(args: argparse.Namespace) -> list[Path]:
    """The files with features of views of the photos, and of the scenes."""
    made = [args.out / "views.h5"]
    options = HomographyCacheConfig(views=args.views, max_keypoints=1024, min_keypoints=64)
    photos = find_photos(args.images, only=args.only)
    build_homography_cache(photos, Both(), made[0], options, workers=args.workers)
    if args.scenes:
        made.append(args.out / "scenes.h5")
        extractor, scenes = Both(ExtractorConfig(max_keypoints=2048)), read_folders(args.scenes, only=tuple(args.use))
        build_posed_cache(scenes, extractor, made[1], PosedCacheConfig(max_keypoints=2048), workers=args.workers)
    return made


def fitted(paths: Sequence[Path]) -> tuple[Tensor, float]:
    """The affine map from t16's descriptors to n16's, 65 × 128, and the share of the variance that it explains."""
    inner = torch.zeros(WIDTH + 1, WIDTH + 1, dtype=torch.float64)
    outer = torch.zeros(WIDTH + 1, 128, dtype=torch.float64)
    total, squares, count = torch.zeros(128, dtype=torch.float64), 0.0, 0
    for path in paths:
        cache = FeatureCache.open(path)
        for image in range(0, len(cache), EVERY if cache.has_per_image("view_from_photo") else 1):
            both = cache.features(image).descriptors.double()
            x, y = functional.pad(both[:, :WIDTH], (0, 1), value=1.0), both[:, WIDTH:]
            inner, outer = inner + x.T @ x, outer + x.T @ y
            total, squares, count = total + y.sum(0), squares + float(y.square().sum()), count + len(y)
    solution = torch.linalg.lstsq(inner, outer, driver="gelsd").solution
    missed = squares - float((solution * outer).sum())
    return solution, 1 - missed / (squares - float(total.square().sum()) / count)


def adopted(teacher: LightGlue, affine: Tensor) -> LightGlue:
    """The network of n16 behind another input projection."""
    projection = teacher.input_proj
    assert isinstance(projection, nn.Linear)
    state = dict(teacher.state_dict())
    state["input_proj.weight"] = (projection.weight.double() @ affine[:WIDTH].T).float()
    state["input_proj.bias"] = (projection.bias.double() + projection.weight.double() @ affine[WIDTH]).float()
    model = LightGlue(LightGlueConfig.accurate(), shape=LightGlueShape(input_dim=WIDTH, kinds=(Both.kind,)))
    model.load_state_dict(state)
    return model.eval()


def write(model: LightGlue, path: Path) -> None:
    """Write the input projection, which is all that differs from the model "aliked"."""
    tensors = {name: tensor.half() for name, tensor in model.state_dict().items() if name.startswith("input_proj.")}
    options = options_to_json(model.shape, LightGlueConfig())
    metadata = {"format": "photoglue-lightglue", "version": "1", "base": "aliked", "config": options}
    write_whole(path, safetensors.torch.save(tensors, metadata))


def pairs_of(path: Path, count: int) -> Iterator[tuple[Features, Features]]:
    """Features of some pairs of views, as t16 describes them."""
    source = HomographyPairs(FeatureCache.open(path), max_keypoints=512, selection="random")
    for number in range(count):
        pair = source.pair(*divmod(number, len(source)))
        yield _narrowed(pair.features0), _narrowed(pair.features1)


def _narrowed(features: Features) -> Features:
    return replace(features, descriptors=features.descriptors[:, :WIDTH].contiguous())


def main() -> None:
    """Extract, fit, write."""
    options = parser(__doc__)
    options.add_argument("--pairs", type=int, default=24, help="pairs of views that the small network is fitted to")
    args = options.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    paths = caches(args)
    affine, explained = fitted(paths)
    print(f"{explained:.1%} of the variance of n16's descriptors are explained by t16's")
    model = adopted(LightGlue.pretrained("aliked", LightGlueConfig.accurate(), precision=None), affine)
    write(model, args.out / "adopted.safetensors")
    small, shares = shrunk(model, list(pairs_of(paths[0], args.pairs)))
    print(f"variance of the states that the small network keeps: {', '.join(f'{share:.3f}' for share in shares)}")
    small.save(args.out / "edge.safetensors")


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that say what to learn from, here and in ``distil_matcher.py``."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--images", type=Path, required=True, help="folder of photos")
    options.add_argument("--only", type=Path, help="text file with the names of those to use")
    options.add_argument("--scenes", type=Path, nargs="*", default=[], help="folders of scenes; docs/training.md")
    options.add_argument("--use", nargs="*", default=[], help="names of the scenes to use; none: all")
    options.add_argument("--out", type=Path, required=True, help="folder for caches and weights")
    options.add_argument("--views", type=int, default=6, help="views of a photo")
    options.add_argument("--workers", type=int, default=0, help="processes that extract; 0: this one alone")
    return options


if __name__ == "__main__":
    main()
