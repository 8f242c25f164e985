"""Low-rank changes to the network of ALIKED n16 for the features of t16: the second step of `aliked-t16-photoglue`.

    python benchmarks/distil_matcher.py --images PHOTOS --scenes SCENES --out run --hours 2

The first step is that of ``adopt_matcher.py``: an input projection by least squares. Then it, the norms, the heads, and
low-rank changes of all other layers learn from labels (homographies, depth and poses), and from what the network of n16
says of the same points. The file holds the changes alone, some 2 MB. A run that was interrupted goes on with --resume.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import adopt_matcher
import safetensors.torch
import torch
from adopt_matcher import WIDTH, adopted, caches, fitted
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from photoglue import Features, LightGlue, LightGlueConfig
from photoglue.datasets.scenes import read_folders
from photoglue.files import write_whole
from photoglue.matchers.lightglue.config import options_to_json
from photoglue.store.cache import FeatureCache
from photoglue.training import TrainingConfig
from photoglue.training.ground_truth import label
from photoglue.training.loop import Trainer
from photoglue.training.losses import LossTerms, losses
from photoglue.training.objective import Example
from photoglue.training.pairs.base import PairSource, TrainingPair
from photoglue.training.pairs.homography_pairs import HomographyPairs
from photoglue.training.pairs.mixture import Mixture
from photoglue.training.pairs.posed_pairs import PosedPairs
from photoglue.training.progress import Hooks, Report


class LowRank(nn.Module):
    """Makes of a matrix that stays as it is one with a change that learns: the product of two thin matrices."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """The matrix with the change."""
        return weight + self.up @ self.down


def opened(model: LightGlue, rank: int) -> None:
    """Let the input projection, norms and heads learn, and low-rank changes of the other layers."""
    model.requires_grad_(False)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.LayerNorm) or name == "input_proj" or getattr(module, "out_features", 0) == 1:
            module.requires_grad_(True)
        elif isinstance(module, nn.Linear) and not name.startswith("posenc."):
            change = LowRank(module.out_features, module.in_features, rank)
            parametrize.register_parametrization(module, "weight", change)


def write(model: LightGlue, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write what differs from the model "aliked", in half precision, for ``LightGlue.from_checkpoint``."""
    found = {}
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name in learning:
        found[name.replace("parametrizations.weight.0", "weight")] = tensors[name].detach().half().contiguous()
    metadata = {"format": "photoglue-lightglue", "version": "1", "base": "aliked"}
    metadata["config"] = options_to_json(model.shape, LightGlueConfig())
    write_whole(path, safetensors.torch.save(found, metadata))


class Distillation:
    """The loss of labels, and how far each layer's descriptors are from those of the network that teaches."""

    def __init__(self, teacher: LightGlue) -> None:
        self.teacher = teacher

    def prepare(self, pair: TrainingPair, _number: int) -> Example:
        """Label a pair."""
        return Example(features0=pair.features0, features1=pair.features1, labels=label(pair))

    def __call__(self, model: LightGlue, pairs: Sequence[Example], *, checkpointed: bool = False) -> LossTerms:
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


def halves(pair: Example, part: slice) -> tuple[Features, Features]:
    """The two images of a pair with the descriptors of one of the networks."""
    first, second = (
        replace(each, descriptors=each.descriptors[:, part].contiguous()) for each in (pair.features0, pair.features1)
    )
    return first, second


def pairs_of(paths: Sequence[Path], scenes: Sequence[Path], names: Sequence[str], keypoints: int) -> PairSource:
    """Pairs to learn from: half of them of scenes, if there are any."""
    views = HomographyPairs(FeatureCache.open(paths[0]), selection="random", max_keypoints=keypoints)
    if not scenes:
        return views
    folders, cache = read_folders(scenes, only=tuple(names)), FeatureCache.open(paths[1])
    posed = PosedPairs(folders, cache, overlap=(0.1, 0.85), max_keypoints=keypoints)
    return Mixture([(posed, 0.5), (views, 0.5)])


def said(report: Report) -> None:
    """Say how the run stands."""
    print(f"{report.pairs} pairs, loss {report.loss:.3f}, last layer {report.last_layer:.3f}", flush=True)


def main() -> None:
    """Extract, fit, learn, write."""
    parser = adopt_matcher.parser(__doc__)
    parser.add_argument("--hours", type=float, default=2.0, help="length of the training")
    parser.add_argument("--keypoints", type=int, default=512, help="points of an image")
    parser.add_argument("--batch", type=int, default=4, help="pairs of a step")
    parser.add_argument("--rank", type=int, default=16, help="rank of the changes")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    paths = caches(args)
    teacher = LightGlue.pretrained("aliked", LightGlueConfig.accurate(), precision=None)
    model = adopted(teacher, fitted(paths)[0])
    torch.manual_seed(0)
    opened(model, args.rank)
    schedule = TrainingConfig(hours=args.hours, batch_size=args.batch, learning_rate=5e-4, warmup_steps=50, ema=0.99)
    source, hooks = pairs_of(paths, args.scenes, args.use, args.keypoints), Hooks(on_report=said)
    trainer = Trainer(model, source, Distillation(teacher), schedule, args.out, hooks=hooks)
    if args.resume:
        trainer.resume()
    trainer.run()
    averaged = trainer.averaged
    tensors = dict((model if averaged is None else averaged).named_parameters())
    write(model, tensors, args.out / "model.safetensors")


if __name__ == "__main__":
    main()
