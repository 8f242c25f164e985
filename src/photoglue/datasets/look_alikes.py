"""Parts of photos that look alike: left and right parts of façades, which share nothing, or some of what they show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from PIL import Image
from torch import Tensor

from photoglue.datasets.base import EvaluationPair
from photoglue.datasets.images import Images
from photoglue.datasets.truths import Shared
from photoglue.errors import ConfigError, OutputError
from photoglue.files import from_json, to_json, write_whole
from photoglue.geometry.homography import estimate_homography_dlt, warp_points
from photoglue.image import load_image

LIST = "look_alikes.json"
"""The file that lists the pairs of a folder of such parts."""
SHARES = (0.0, 0.2, 0.4)
"""How much of what a part shows the other one shows, too."""
MOVED = 0.05
"""The corners of a right part are moved by up to this share of its sides, as if it were seen from elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Two parts of one photo."""

    photo: str
    """Name of the photo."""
    image0: str
    """File of the left part."""
    image1: str
    """File of the right part."""
    shared: float
    """How much of what a part shows the other one shows, too."""


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """What the list of a folder holds."""

    cuts: tuple[Cut, ...]


def cut(
    image: Float[Tensor, "c h w"], shared: float, seed: int
) -> tuple[Float[Tensor, "c h w0"], Float[Tensor, "c h w0"], Float64[Tensor, "3 3"]]:
    """The left part of a photo, the right one as seen through a small random homography, and the way back.

    The matrix takes homogeneous pixels of the right part to those of the left one.

    Args:
        image: The photo.
        shared: How much of what a part shows the other one shows, too, in [0, 1); 0: they are halves.
        seed: Of the homography.
    """
    height, width = image.shape[1:]
    half = int(width / (2 - shared))
    right = image[:, :, width - half :]
    size = torch.tensor([float(half), float(height)])
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]) * size
    moves = torch.from_numpy(np.random.default_rng(seed).uniform(-MOVED, MOVED, (4, 2)).astype(np.float32)) * size
    homography = estimate_homography_dlt(corners, corners + moves)
    assert homography is not None
    y, x = torch.meshgrid(torch.arange(height), torch.arange(half), indexing="ij")
    places = warp_points(torch.stack([x, y], dim=-1).view(-1, 2).float(), homography)
    grid = (2 * places / (size - 1) - 1).view(1, height, half, 2)
    sampled = torch.nn.functional.grid_sample(right[None], grid, padding_mode="reflection", align_corners=True)
    moved = torch.tensor([[1.0, 0, width - half], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    return image[:, :, :half], sampled[0].clamp(0, 1), moved @ homography.double()


def write_look_alikes(photos: Iterable[Path], folder: Path, shares: Sequence[float] = SHARES) -> None:
    """Cut photos into left and right parts, for ``load_dataset`` and the benchmark "look_alikes".

    Photos of façades are wanted, or of anything that repeats. Parts that are in the folder are replaced.

    Args:
        photos: Files; their names without endings must differ.
        folder: Where the parts go; made if it is not there.
        shares: How much of what a part shows the other one shows, too, each in [0, 1); 0: nothing.

    Raises:
        ConfigError: If there is no photo, two have one name, one is too narrow, or a share makes no sense.
        ImageError: If a photo cannot be read.
        OutputError: If a file cannot be written.
    """
    photos = [Path(photo) for photo in photos]
    names = [photo.stem for photo in photos]
    if not photos or len(set(names)) < len(names) or not all(0 <= shared < 1 for shared in shares):
        raise ConfigError(
            f"There are {len(photos)} photos with {len(set(names))} names, to be cut into parts that share "
            f"{', '.join(map(str, shares))}; give at least one photo, different names, and shares from 0 to below 1."
        )
    folder.mkdir(parents=True, exist_ok=True)
    cuts = []
    for seed, photo in enumerate(photos):
        image = load_image(photo)
        if min(image.shape[1], image.shape[2] // 2) < 16:
            raise ConfigError(f"{str(photo)!r} has {image.shape[2]} × {image.shape[1]} pixels, too few to be cut.")
        for shared in shares:
            files = [f"{photo.stem}.{round(100 * shared)}.{side}.png" for side in ("left", "right")]
            for file, part in zip(files, cut(image, shared, seed)[:2], strict=True):
                _write(folder / file, part)
            cuts.append(Cut(photo=photo.name, image0=files[0], image1=files[1], shared=shared))
    write_whole(folder / LIST, to_json(Cuts(cuts=tuple(cuts))).encode())


def _write(path: Path, image: Float[Tensor, "c h w"]) -> None:
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    try:
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror or error}.") from error


def is_look_alikes(folder: Path) -> bool:
    """Whether a folder has a list of parts of photos."""
    return (folder / LIST).is_file()


def look_alikes(folder: Path, images: Images) -> list[EvaluationPair]:
    """The pairs of parts in a folder that ``write_look_alikes`` made; pairs that share as much are a scene.

    Raises:
        ConfigError: If the list is damaged.
        ImageError: If a part is missing.
    """
    path = folder / LIST
    pairs = []
    for each in from_json(Cuts, path.read_text(), origin=str(path)).cuts:
        with images.unless_missing():
            names = [images.name_of(folder / file) for file in (each.image0, each.image1)]
            for name in names:
                images.size(name, path)
            scene = f"{each.shared:.0%} shared".replace("%", " %")
            truth = Shared(share=each.shared)
            pairs.append(EvaluationPair(scene=scene, name0=names[0], name1=names[1], truth=truth))
    return pairs
