"""Features of the images of a data set, extracted once and kept in a file."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from photoglue.batch import extract
from photoglue.datasets.base import DataSet
from photoglue.decode import Photo
from photoglue.errors import ImageError, OutputError, PhotoGlueWarning
from photoglue.evaluation.results import ResizeSide
from photoglue.extractors.base import Extractor, Prepared, extractor_options
from photoglue.files import digest_of
from photoglue.image import ImageSource, Resize, load_image
from photoglue.store import FeatureStore
from photoglue.structs import Features


def resize_to(image_size: tuple[int, int], side: ResizeSide, length: int | None) -> Resize:
    """The resize that makes the longer or shorter side so long, up or down.

    Args:
        image_size: (width, height), pixels.
        side: Which side is meant.
        length: Pixels; None: no resize.
    """
    if side == "long" or length is None:
        return Resize.long_side(image_size, length)
    scale = length / min(image_size)
    width, height = (max(1, round(extent * scale)) for extent in image_size)
    return Resize(original_size=image_size, resized_size=(width, height))


@final
class ProtocolExtractor(Extractor):
    """An extractor that sees the images of a data set turned and resized as a protocol says.

    Args:
        model: What it extracts with; its own ``resize`` is not used.
        dataset: Says which images are turned.
        side: Which side of an image is made ``length`` pixels.
        length: Pixels; None: no resize.
    """

    def __init__(self, model: Extractor, dataset: DataSet, side: ResizeSide, length: int | None) -> None:
        super().__init__(model.config)
        self.model, self.side, self.length = model, side, length
        self.kind, self.descriptor_dim = model.kind, model.descriptor_dim
        self.turns = {str(dataset.folder / name): turn for name, turn in dataset.turns.items()}

    def detect(self, images: Float[Tensor, "b c h w"], masks: Bool[Tensor, "b h w"] | None = None) -> list[Features]:
        """Features of a batch of images as the model finds them; the best, if a user's model ignores the limit."""
        limit = self.config.max_keypoints
        return [
            each if limit is None or len(each) <= limit else each[each.scores.topk(limit).indices]
            for each in self.model.detect(images, masks)
        ]

    def _prepare(self, source: ImageSource | Photo, mask: ImageSource | None) -> Prepared:
        assert mask is None
        image = load_image(source).to(self.device)
        image = torch.rot90(image, self.turns.get(str(source), 0), dims=(1, 2)).contiguous()
        resize = resize_to((image.shape[2], image.shape[1]), self.side, self.length)
        return Prepared(image=resize.apply(image), mask=None, resize=resize)


def feature_file(
    dataset: DataSet,
    extractor: Callable[[], Extractor],
    options: dict[str, Any],
    folder: Path,
    progress: Callable[[int, int], None],
) -> Path:
    """The file with the features of all images of a data set; made, or completed, if need be.

    Its name tells the options apart. Features of images that changed since are extracted again. A file that cannot be
    read is made anew, with a notice.

    Args:
        dataset: The data set whose images are extracted.
        extractor: Makes the extractor.
        options: What the features depend on besides: method, protocol, device. ``resize`` and ``resize_side`` are used.
        folder: Where the file is; it exists.
        progress: Called with (images done, images in all).

    Raises:
        ImageError: If an image cannot be read.
        OutputError: If the file cannot be written.
        MissingExtra: If h5py is not installed.
    """
    besides = {"protocol": options, "folder": str(dataset.folder.resolve()), "turns": dict(dataset.turns)}
    model = ProtocolExtractor(extractor(), dataset, options["resize_side"], options["resize"])
    digest = digest_of({**besides, **extractor_options(model)})
    path = folder / f"{dataset.name}.{options['extractor']}.{digest}.h5"
    _remove_if_damaged(path)
    photos = {name: dataset.folder / name for name in dataset.images}
    summary = extract(photos, path, model, options=besides, progress=progress)
    if summary.failed:
        raise ImageError(next(iter(summary.failed.values())))
    if summary.again:
        lines = [line for line in summary.lines() if line.endswith(" again")]
        warnings.warn(f"{str(path)!r}: {'; '.join(lines)}.", PhotoGlueWarning, stacklevel=2)
    return path


def digest_of_features(path: Path) -> str:
    """A name for what is in a file of features: other features of any image have another one."""
    with FeatureStore.open(path) as store:
        return digest_of({name: store.digest(name) for name in store.names()})


def _remove_if_damaged(path: Path) -> None:
    try:
        if path.exists():
            with FeatureStore.open(path) as store:
                store.names()
    except OutputError as error:
        warnings.warn(f"{error} The features in it are extracted again.", PhotoGlueWarning, stacklevel=3)
        path.unlink()
