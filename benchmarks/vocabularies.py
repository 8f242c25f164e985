"""Make ``pretrained/vlad-photoglue.safetensors`` again: centres of local descriptors by k-means, and a mean.

    python benchmarks/vocabularies.py PHOTOS --only LIST --out vlad-photoglue.safetensors --work FOLDER

PHOTOS is a folder of photos whose licences allow it, LIST names those below it that are used, one a line. Features are
kept in the folder of ``--work``. One core, 175 photos of 640 pixels: 5 minutes, most of them DISK's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import safetensors.torch
import torch
import tyro
from torch import Tensor

from photoglue import batch, create_extractor
from photoglue.datasets.photos import find_photos
from photoglue.files import write_whole
from photoglue.image import read_image
from photoglue.retrieval.efficientnet import RECORD, EfficientNetLite0
from photoglue.retrieval.vlad import Vocabulary
from photoglue.store import FeatureStore


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to train on."""

    photos: Annotated[Path, tyro.conf.Positional]
    """Folder of photos."""
    only: Path | None = None
    """A list of those to use, one a line; None: all."""
    out: Path = Path("vlad-photoglue.safetensors")
    """The file to write."""
    work: Path = Path("runs/vocabularies")
    """Folder for features."""


def centres(photos: dict[str, Path], features: str, work: Path) -> Tensor:
    """Centres for one kind of features: 1024 points of each photo at 640 pixels."""
    store = work / f"{features}.h5"
    extractor = create_extractor(features, max_keypoints=1024, resize=640)
    batch.extract(photos, store, extractor)
    with FeatureStore.open(store) as opened:
        descriptors = torch.cat([opened[name].descriptors for name in sorted(photos)])
    print(f"{features}: {len(descriptors):,} descriptors")
    return Vocabulary.trained(descriptors, extractor.kind).centres


def mean_of_network(photos: dict[str, Path]) -> Tensor:
    """The mean of EfficientNet-lite0's vectors."""
    network = EfficientNetLite0.pretrained(centred=False)
    return torch.stack([network.describe(read_image(photos[name])) for name in sorted(photos)]).mean(dim=0)


def main(options: Options) -> None:
    """Trains, and writes the file."""
    found = find_photos(options.photos, only=options.only)
    photos = {name: found.path(i) for i, name in enumerate(found.names)}
    options.work.mkdir(parents=True, exist_ok=True)
    tensors = {features: centres(photos, features, options.work) for features in ("aliked", "disk", "sift")}
    tensors[RECORD.name] = mean_of_network(photos)
    write_whole(options.out, safetensors.torch.save(tensors))
    print(f"{len(photos)} photos → {options.out}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__, config=(tyro.conf.OmitArgPrefixes,)))
