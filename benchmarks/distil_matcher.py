"""A LightGlue for ALIKED's smallest network (t16), made of the one for n16: the script behind `aliked-t16-photoglue`.

    python benchmarks/distil_matcher.py --images PHOTOS --out run --hours 0                 # no training: least squares
    python benchmarks/distil_matcher.py --images PHOTOS --scenes SCENES --out run --hours 2

n16 can describe the points that t16 found. So each photo gives exact targets: the linear map that takes t16's
descriptors nearest to n16's, by least squares, makes an input projection behind which the network of n16 works at once.
Then low-rank changes to its other layers learn from labels (homographies, depth and poses), and from what the network
of n16 says of the same points. The result holds the changes alone, some 2 MB.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from photoglue import ALIKED, ALIKEDConfig, Extractor, ExtractorConfig, LightGlue, LightGlueConfig
from photoglue.datasets.photos import find_photos
from photoglue.datasets.scenes import read_folders
from photoglue.files import write_whole
from photoglue.matchers.lightglue import LightGlueShape
from photoglue.matchers.lightglue.config import options_to_json
from photoglue.store.cache import FeatureCache
from photoglue.training import TrainingConfig
from photoglue.training.ground_truth import label
from photoglue.training.loop import Trainer
from photoglue.training.losses import losses
from photoglue.training.objective import Example
from photoglue.training.pairs.homography_cache import HomographyCacheConfig, build_homography_cache
from photoglue.training.pairs.homography_pairs import HomographyPairs
from photoglue.training.pairs.mixture import Mixture
from photoglue.training.pairs.posed_cache import PosedCacheConfig, build_posed_cache
from photoglue.training.pairs.posed_pairs import PosedPairs
from photoglue.training.progress import Hooks

WIDTH = 64
"""Length of t16's descriptors; those of n16 follow in the same tensor."""
EVERY = 6
"""One view of so many is enough for the least squares."""


class Both(Extractor):
    """t16's points with its own descriptors and those that n16 gives there, side by side."""

    kind = "aliked-t16"
    descriptor_dim = WIDTH + 128

    def __init__(self, config=None):
        super().__init__(config or ExtractorConfig(max_keypoints=1024))
        self.small = ALIKED.pretrained(ALIKEDConfig(variant="t16", max_keypoints=self.config.max_keypoints))
        self.large = ALIKED.pretrained()

    def detect(self, images, masks=None):
        """Features of a batch: ``images`` is b × (1 or 3) × h × w in [0, 1], ``masks`` b × h × w or None."""
        return [
            self._described(image, found) for image, found in zip(images, self.small.detect(images, masks), strict=True)
        ]

    def _described(self, image, found):
        if not len(found):
            return replace(found, descriptors=found.descriptors.new_zeros(0, self.descriptor_dim))
        limits = found.keypoints.new_tensor([image.shape[2] - 1, image.shape[1] - 1])
        targets = self.large.describe_in(image, torch.minimum(found.keypoints.clamp(min=0), limits))
        return replace(found, descriptors=torch.cat([found.descriptors, targets], dim=1))


def caches(args: argparse.Namespace) -> list[Path]:
    """The files with features of views of the photos, and of the scenes."""
    made = [args.out / "views.h5"]
    options = HomographyCacheConfig(views=args.views, max_keypoints=1024, min_keypoints=min(64, args.keypoints))
    photos = find_photos(args.images, only=args.only)
    build_homography_cache(photos, Both(), made[0], options, workers=args.workers)
    if args.scenes:
        made.append(args.out / "scenes.h5")
        extractor, scenes = Both(ExtractorConfig(max_keypoints=2048)), read_folders(args.scenes, only=tuple(args.use))
        build_posed_cache(scenes, extractor, made[1], PosedCacheConfig(max_keypoints=2048), workers=args.workers)
    return made


def fitted(paths: Sequence[Path]) -> tuple[torch.Tensor, float]:
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


def adopted(teacher: LightGlue, affine: torch.Tensor) -> LightGlue:
    """The network of n16 behind another input projection."""
    projection = teacher.input_proj
    state = dict(teacher.state_dict())
    state["input_proj.weight"] = (projection.weight.double() @ affine[:WIDTH].T).float()
    state["input_proj.bias"] = (projection.bias.double() + projection.weight.double() @ affine[WIDTH]).float()
    model = LightGlue(LightGlueConfig.accurate(), shape=LightGlueShape(input_dim=WIDTH, kinds=(Both.kind,)))
    model.load_state_dict(state)
    return model.eval()


class LowRank(nn.Module):
    """A linear layer that stays as it is, and a product of two thin matrices that learns."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x):
        """The layer's output with the change."""
        return self.layer(x) + functional.linear(functional.linear(x, self.down), self.up)


def opened(model: LightGlue, rank: int) -> None:
    """Let the input projection, norms and heads learn, and low-rank changes of the other layers."""
    model.requires_grad_(False)
    for name, module in list(model.named_modules()):
        place, _, last = name.rpartition(".")
        linear = isinstance(module, nn.Linear)
        if isinstance(module, nn.LayerNorm) or name == "input_proj" or (linear and module.out_features == 1):
            module.requires_grad_(True)
        elif linear:
            setattr(model.get_submodule(place), last, LowRank(module, rank))


def changes(model: nn.Module) -> dict[str, torch.Tensor]:
    """What a file holds of a model that was opened, in half precision."""
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            place, _, last = name.rpartition(".")
            found[f"{place}.weight.{last}" if last in ("up", "down") else name] = parameter.detach().half().contiguous()
    return found


def write(model: nn.Module, path: Path) -> None:
    """Write what differs from the model "aliked", for ``LightGlue.from_checkpoint``."""
    options = options_to_json(model.shape, LightGlueConfig())
    metadata = {"format": "photoglue-lightglue", "version": "1", "base": "aliked", "config": options}
    write_whole(path, safetensors.torch.save(changes(model), metadata))


class Distillation:
    """The loss of labels, and how far each layer's descriptors are from those of the network that teaches."""

    def __init__(self, teacher: LightGlue) -> None:
        self.teacher = teacher

    def prepare(self, pair):
        """Label a pair."""
        return Example(features0=pair.features0, features1=pair.features1, labels=label(pair))

    def __call__(self, model, pairs, *, checkpointed=False):
        """The loss of some pairs."""
        usable = [pair for pair in pairs if len(pair.features0) and len(pair.features1)]
        found = model.all_layers([halves(pair, slice(WIDTH)) for pair in usable], checkpointed=checkpointed)
        with torch.no_grad():
            wanted = self.teacher.all_layers([halves(pair, slice(WIDTH, None)) for pair in usable])
        terms = losses(found, [pair.labels for pair in usable])
        distances = [
            (ours.descriptors - theirs.descriptors).square().mean() / theirs.descriptors.var(dim=0).mean()
            + 0.1 * functional.smooth_l1_loss(ours.matchability, theirs.matchability)
            for ours, theirs in zip(found.layers, wanted.layers, strict=True)
        ]
        return replace(terms, total=terms.total + torch.stack(distances).mean())


def halves(pair, part: slice):
    """The two images of a pair with the descriptors of one of the networks."""
    return tuple(
        replace(each, descriptors=each.descriptors[:, part].contiguous()) for each in (pair.features0, pair.features1)
    )


def pairs_of(args: argparse.Namespace, paths: Sequence[Path]):
    """Pairs to learn from: half of them of scenes, if there are any."""
    most = {"max_keypoints": args.keypoints}
    views = HomographyPairs(FeatureCache.open(paths[0]), selection="random", **most)
    if not args.scenes:
        return views
    scenes = read_folders(args.scenes, only=tuple(args.use))
    posed = PosedPairs(scenes, FeatureCache.open(paths[1]), overlap=(0.1, 0.85), **most)
    return Mixture([(posed, 0.5), (views, 0.5)])


def main() -> None:
    """Extract, fit, learn, write."""
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    paths = caches(args)
    affine, explained = fitted(paths)
    print(f"least squares: {explained:.1%} of the variance of n16's descriptors")
    teacher = LightGlue.pretrained("aliked", LightGlueConfig.accurate(), precision=None)
    model = adopted(teacher, affine)
    model.requires_grad_(False).input_proj.requires_grad_(True)
    write(model, args.out / "least-squares.safetensors")
    if not args.hours:
        return
    torch.manual_seed(0)
    opened(model, args.rank)
    config = TrainingConfig(
        hours=args.hours, batch_size=args.batch, learning_rate=5e-4, warmup_steps=50, ema=0.99, workers=args.workers
    )
    hooks = Hooks(
        on_report=lambda report: print(f"{report.pairs} pairs, last layer {report.last_layer:.3f}", flush=True)
    )
    trainer = Trainer(model, pairs_of(args, paths), Distillation(teacher), config, args.out, hooks=hooks)
    trainer.run()
    write(trainer.averaged or model, args.out / "model.safetensors")


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of photos")
    parser.add_argument("--only", type=Path, help="text file with the names of those to use")
    parser.add_argument("--scenes", type=Path, nargs="*", default=[], help="folders of scenes; docs/training.md")
    parser.add_argument("--use", nargs="*", default=[], help="names of the scenes to use; none: all")
    parser.add_argument("--out", type=Path, required=True, help="folder for caches, checkpoints and weights")
    parser.add_argument("--hours", type=float, default=2.0, help="length of the training; 0: none")
    parser.add_argument("--views", type=int, default=6, help="views of a photo")
    parser.add_argument("--keypoints", type=int, default=512, help="points of an image")
    parser.add_argument("--batch", type=int, default=4, help="pairs of a step")
    parser.add_argument("--rank", type=int, default=16, help="rank of the changes")
    parser.add_argument("--workers", type=int, default=0, help="processes that extract and read; 0: this one alone")
    return parser.parse_args()


if __name__ == "__main__":
    main()
