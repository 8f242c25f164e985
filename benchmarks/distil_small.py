"""A LightGlue of 5 layers of width 128 for the features of ALIKED t16: the script behind `aliked-t16-edge`.

    python benchmarks/distil_small.py --images PHOTOS --scenes SCENES --out run --hours 1.6

It begins with what ``shrink_matcher.py`` makes of `aliked-t16-photoglue`, and learns from labels (homographies, depth
and poses), and at each of its layers from what the last layer of that network says of the same points: which ones
match, how surely, and which have no partner. The caches are those of ``adopt_matcher.py``. A run that
was interrupted goes on with --resume.
"""

from collections.abc import Sequence
from dataclasses import replace

import adopt_matcher
import torch
from adopt_matcher import WIDTH, caches
from distil_matcher import halves, pairs_of, said
from shrink_matcher import shrunk
from torch import Tensor
from torch.nn import functional

from photoglue import LightGlue, LightGlueConfig
from photoglue.matchers.lightglue.states import LayerOutput
from photoglue.training import TrainingConfig
from photoglue.training.ground_truth import label
from photoglue.training.loop import Trainer
from photoglue.training.losses import LossTerms, losses
from photoglue.training.objective import Example
from photoglue.training.pairs.base import TrainingPair
from photoglue.training.progress import Hooks


class Imitation:
    """The loss of labels, and at each layer the cross-entropy with what the last layer of a teacher says."""

    def __init__(self, teacher: LightGlue) -> None:
        self.teacher = teacher

    def prepare(self, pair: TrainingPair, _number: int) -> Example:
        """Label a pair, and keep t16's descriptors of it."""
        example = Example(features0=pair.features0, features1=pair.features1, labels=label(pair))
        features0, features1 = halves(example, slice(WIDTH))
        return replace(example, features0=features0, features1=features1)

    def __call__(self, model: LightGlue, pairs: Sequence[Example], *, checkpointed: bool = False) -> LossTerms:
        """The loss of some pairs."""
        usable = [pair for pair in pairs if len(pair.features0) and len(pair.features1)]
        images = [(pair.features0, pair.features1) for pair in usable]
        found = model.all_layers(images, checkpointed=checkpointed)
        terms = losses(found, [pair.labels for pair in usable])
        with torch.no_grad():
            wanted = self.teacher.all_layers(images).layers[-1]
        with torch.autocast(model.device.type, enabled=False):
            spans = found.segments.lengths
            distances = [disagreement(layer, wanted, spans) for layer in found.layers]
        return replace(terms, total=terms.total + torch.stack(distances).mean())


def disagreement(found: LayerOutput, wanted: LayerOutput, lengths: Sequence[int]) -> Tensor:
    """The cross-entropy of rows and columns of the matches, each as much as it is matched, and of matchabilities."""
    total, begin = found.descriptors.new_zeros(()), 0
    for count0, count1 in zip(lengths[::2], lengths[1::2], strict=True):
        first, second = slice(begin, begin + count0), slice(begin + count0, begin + count0 + count1)
        begin += count0 + count1
        ours, theirs = (each.descriptors[first] @ each.descriptors[second].T for each in (found, wanted))
        for part, axis in ((first, 1), (second, 0)):
            share = torch.sigmoid(wanted.matchability[part])
            likely = (theirs.softmax(axis) * ours.log_softmax(axis)).sum(axis)
            missed = functional.binary_cross_entropy_with_logits(found.matchability[part], share)
            total = total + (missed - (share * likely).sum() / share.sum().clamp(min=1)) / 2
    return total / (len(lengths) // 2)


def main() -> None:
    """Extract, shrink, learn, write."""
    parser = adopt_matcher.parser(__doc__)
    parser.add_argument("--hours", type=float, default=1.6, help="length of the training")
    parser.add_argument("--keypoints", type=int, default=512, help="points of an image")
    parser.add_argument("--fitted", type=int, default=48, help="pairs that the small network is fitted to at first")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    source = pairs_of(caches(args), args.scenes, args.use, args.keypoints)
    teacher = LightGlue.pretrained("aliked-t16", LightGlueConfig.accurate(), precision=None)
    teach = Imitation(teacher)
    examples = [teach.prepare(source.pair(0, number), number) for number in range(args.fitted)]
    model, shares = shrunk(teacher, [(each.features0, each.features1) for each in examples])
    print(f"variance of the states that the small network keeps: {', '.join(f'{share:.3f}' for share in shares)}")
    torch.manual_seed(0)
    schedule = TrainingConfig(hours=args.hours, batch_size=4, learning_rate=6e-4, warmup_steps=100, ema=0.998)
    trainer = Trainer(model.train(), source, teach, schedule, args.out, hooks=Hooks(on_report=said))
    if args.resume:
        trainer.resume()
    trainer.run()
    learned = trainer.model if trainer.averaged is None else trainer.averaged
    learned.config = LightGlueConfig()  # which files are used with if nothing else is said
    learned.eval().half().save(args.out / "model.safetensors")


if __name__ == "__main__":
    main()
