"""Values for a run that are known to work, as a table: what to run, what it costs, what comes out.

The official ones are those of the published training code (glue-factory): Adam, no warm-up, no weight decay, no
clipping, and a learning rate that falls by 10^(-1/10) an epoch, here smoothly instead of at each epoch's end. Their
runs are long; the warm starts are for everybody else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from photoglue.training.config import TrainingConfig

PresetName: TypeAlias = Literal[
    "official-homography", "official-megadepth", "warm-start", "warm-start-posed", "confidence"
]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Values of a recipe that belong together."""

    command: str
    """A command that runs it."""
    cost: str
    """Time, machine and data that it takes."""
    result: str
    """What comes out, and where that is known from."""
    keypoints: int
    """Number of keypoints of each image, at most."""
    config: TrainingConfig
    """Values of the training loop."""


_OFFICIAL = {
    "learning_rate": 1e-4,
    "warmup_steps": 0,
    "schedule": "exponential",
    "final_share": 0.01,
    "weight_decay": 0.0,
    "clip_norm": None,
    "checkpointed": True,
    "validate_every": 64_000,
    "save_every": 32_000,
    "log_every": 2_560,
    "workers": 8,
}

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "official-homography": Preset(
            command="photoglue train homography --images DIR --features aliked --preset official-homography",
            cost="6 M pairs of 150,000 photos: 2 days on two RTX 3090 (the authors); 450 GB if they are revisitop1m",
            result="the published first stage; the loss of the last layer is below 0.2 in the paper, and stays above "
            "0.8 for many who ran it",
            keypoints=512,
            # 40 epochs of 150,000 pairs; falls from the 20th.
            config=TrainingConfig(**_OFFICIAL, batch_size=128, pairs=6_000_000, decay_from=0.5),  # type: ignore[arg-type]
        ),
        "official-megadepth": Preset(
            command="photoglue train posed --scenes MEGADEPTH --init RUN --resize 1024 --preset official-megadepth",
            cost="2.3 M pairs of 2048 points: 2 days on two RTX 3090 (the authors); 420 GB of photos and depth",
            result="the published second stage: AUC@5/10/20 of 49.9/67.0/80.1 on MegaDepth-1500 with SuperPoint",
            keypoints=2048,
            # 50 epochs of 45,900 pairs; falls from the 30th, to 10^(-20/10).
            config=TrainingConfig(**_OFFICIAL, batch_size=32, pairs=2_295_000, decay_from=0.6),  # type: ignore[arg-type]
        ),
        "warm-start": Preset(
            command="photoglue train homography --images DIR --features sift --init aliked --hours 3",
            cost="an afternoon on two CPU cores, from a few hundred photos",
            result="precision 0.89 at recall 0.80 on homographies of held-out photos after 1,600 pairs, where mutual "
            "nearest neighbours have 0.61 and 0.65 (SIFT, 512 points, our first trial)",
            keypoints=512,
            config=TrainingConfig(batch_size=8, learning_rate=2e-4, warmup_steps=100, hours=3.0),
        ),
        "warm-start-posed": Preset(
            command="photoglue train posed --scenes DIR --init RUN --hours 3",
            cost="an afternoon on two CPU cores, from a few scenes with depth",
            result="a matcher that has seen parallax and occlusion; measure it with `photoglue evaluate`",
            keypoints=1024,
            config=TrainingConfig(
                batch_size=4, learning_rate=1e-4, warmup_steps=100, hours=3.0, validate_every=2000, save_every=1000
            ),
        ),
        "confidence": Preset(
            command="photoglue train confidence --init RUN --images DIR",
            cost="half an hour on two CPU cores",
            result="exits and pruning that keep the accuracy; matches at full depth do not change",
            keypoints=512,
            config=TrainingConfig(batch_size=8, learning_rate=1e-3, warmup_steps=20, weight_decay=0.0, hours=0.5),
        ),
    }
)
"""Every preset by its name; a recipe's own defaults are those of one of them."""
