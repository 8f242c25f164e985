"""Matches to a fraction of a pixel: the point of image 1 is moved to where the photos look most alike.

The keypoints of both photos were found without knowledge of each other, so that partners are off by some tenths of a
pixel. Here a patch around each point of image 0 is found again in image 1 by Lucas and Kanade's method ("An iterative
image registration technique", IJCAI 1981), in its inverse form (Baker and Matthews, "Lucas-Kanade 20 years on", IJCV
2004). How the patch is turned, scaled and sheared on the way is known from the matches around it; only the shift is
sought. Brightness and contrast of the patches do not count.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from photoglue.decode import Photo
from photoglue.errors import ConfigError, ShapeError
from photoglue.image import ImageSource, Resize, load_image, to_gray
from photoglue.structs import Features, Matches

ROUNDS = 6
"""Rounds of the robust fit of affine maps; in each a neighbour that does not fit counts for less."""
LARGEST_STRETCH = 4.0
"""Affine maps that stretch or shrink a direction by more are those of wrong matches."""
LARGEST_STEP = 1.0
"""A single step goes no farther, pixels; where the photo is not linear that far, steps overshoot."""
STILL = 0.1
"""A last step that is longer has not converged, pixels."""
FLAT = 0.004
"""Standard deviation of a patch, white being 1, below which there is nothing to see in it: one level of 8 bits."""
ROWS_AT_ONCE = 2048
"""Points whose distances to all others are held at a time."""


@dataclass(frozen=True, kw_only=True)
class Subpixel:
    """How matches are refined.

    Raises:
        ConfigError: If a number makes no sense.
    """

    patch: int = 15
    """Side of the square patches, pixels of the resized photo; odd."""
    neighbors: int = 14
    """Matches around each one that say how its patch is turned, scaled and sheared."""
    iterations: int = 8
    """Steps of each match."""
    reach_px: float = 2.5
    """A match that would move farther stays as it was, pixels of the resized photo."""
    min_correlation: float | None = None
    """Matches whose patches are less alike are dropped, in [-1, 1]; None: all are kept. 0.8 is a good value."""
    min_cosine: float | None = None
    """Matches whose descriptors are less alike are dropped, in [-1, 1]; None: all are kept. For SIFT, 0.8 is a good
    value."""
    min_matches: int = 30
    """If fewer matches than that would be kept, none is dropped."""

    def __post_init__(self) -> None:
        if self.patch < 3 or self.patch % 2 == 0:
            raise ConfigError(f"patch is {self.patch}; it must be an odd number of pixels from 3 on.")
        if min(self.neighbors, self.iterations) < 1 or not self.reach_px > 0:
            raise ConfigError(
                f"neighbors, iterations and reach_px are {self.neighbors}, {self.iterations} and {self.reach_px}; "
                "they must be positive."
            )
        for name in ("min_correlation", "min_cosine"):
            value = getattr(self, name)
            if value is not None and not -1 <= value <= 1:
                raise ConfigError(f"{name} is {value}; it must be in [-1, 1], or None.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Refinement:
    """Points of image 1 once they are refined."""

    points: Float[Tensor, "k 2"]
    """Where they are now, pixels; as they were where ``moved`` is False."""
    moved: Bool[Tensor, " k"]
    """Which were refined. The others lie too near the border, see nothing, did not converge, would have moved too far,
    or did not come to look more alike."""
    correlation: Float[Tensor, " k"]
    """How alike the patches are at ``points``, in [-1, 1]: the normalised cross-correlation; 0 where one of them is
    not inside its image or has no texture."""
    affines: Float[Tensor, "k 2 2"]
    """Offsets around the point of image 1 = affine · offsets around its partner in image 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GrayView:
    """A photo as matches are refined in it."""

    image: Float[Tensor, "h w"]
    """Gray, resized, white being 1."""
    resize: Resize
    """From the photo as read to ``image``."""

    @classmethod
    def of(
        cls, image: ImageSource | Photo, resize: int | None = 1024, device: torch.device | str = "cpu"
    ) -> "GrayView":
        """The photo with its longer side ``resize`` pixels long, None: as it is; on ``device``.

        Raises:
            ImageError: If the image cannot be read.
        """
        photo = to_gray(load_image(image).to(device))
        size = Resize.long_side((photo.shape[2], photo.shape[1]), resize)
        return cls(image=size.apply(photo)[0], resize=size)


def refine_matches(
    image0: ImageSource | Photo | GrayView,
    image1: ImageSource | Photo | GrayView,
    matches: Matches,
    *,
    resize: int | None = 1024,
    options: Subpixel | None = None,
    features: tuple[Features, Features] | None = None,
) -> Matches:
    """Matches whose points of image 1 are moved to where they look most like their partners in image 0.

    The refined points are ``points1`` of the answer, and its ``keypoints1``; those of image 0 stay, and so do the
    features that the matches were made from. A match that cannot be refined stays as it is.

    Args:
        image0: Path, PIL image, array or tensor: what the features were extracted from; or a view of it.
        image1: The second image, in any of these forms.
        matches: Those of the two images, in pixels of the images as read.
        resize: The photos are compared with their longer side so long, pixels; None: as they are. What the extractor
            saw is right: there its points are precise to a fraction of a pixel. Views have their size.
        options: How it is done; None: the defaults.
        features: Those that were matched; needed for ``Subpixel.min_cosine`` only.

    Raises:
        ImageError: If an image cannot be read.
        ConfigError: If ``min_cosine`` is asked for without features.
    """
    options = options or Subpixel()
    if options.min_cosine is not None and features is None:
        raise ConfigError("min_cosine compares descriptors; pass features=(features0, features1).")
    device = matches.keypoints1.device
    view0, view1 = (
        each if isinstance(each, GrayView) else GrayView.of(each, resize, device) for each in (image0, image1)
    )
    starts = view0.resize.redo(matches.points0), view1.resize.redo(matches.points1)
    found = refine_points(view0.image, view1.image, *starts, options=options)
    points = torch.where(found.moved[:, None], view1.resize.undo(found.points), matches.points1)
    keypoints1 = matches.keypoints1.index_copy(0, matches.indices[:, 1], points)
    refined = replace(matches, keypoints1=keypoints1, refine="subpixel")
    keep = torch.ones_like(found.moved)
    if options.min_correlation is not None:
        keep &= found.correlation > options.min_correlation
    if options.min_cosine is not None and features is not None:
        side0, side1 = (each.descriptors[rows] for each, rows in zip(features, matches.indices.T, strict=True))
        keep &= torch.nn.functional.cosine_similarity(side0, side1) > options.min_cosine
    return refined.select(keep) if int(keep.sum()) >= options.min_matches else refined


@torch.no_grad()
def refine_points(
    image0: Float[Tensor, "h0 w0"],
    image1: Float[Tensor, "h1 w1"],
    points0: Float[Tensor, "k 2"],
    points1: Float[Tensor, "n 2"],
    *,
    options: Subpixel | None = None,
) -> Refinement:
    """Where in image 1 each point of image 0 is, starting from near by.

    Args:
        image0: Gray, white being 1.
        image1: Gray, white being 1.
        points0: (x, y) in pixels of image 0; they are taken as exact.
        points1: Their partners in image 1, which may be off by two pixels; wrong ones may be among them.
        options: How it is done; None: the defaults.

    Raises:
        ShapeError: If there are not as many points in both images.
    """
    options = options or Subpixel()
    if points0.shape != points1.shape:
        raise ShapeError(f"There are {len(points0)} points in image 0 and {len(points1)} in image 1; give pairs.")
    start0, start1 = points0.to(image0), points1.to(image0)
    affines = local_affines(start0, start1, options.neighbors)
    stretch = torch.linalg.matrix_norm(affines, ord=2), torch.linalg.matrix_norm(affines, ord=-2)
    usable = (stretch[0] < LARGEST_STRETCH) & (stretch[1] > 1 / LARGEST_STRETCH)
    template, slopes, textured = _templates(image0, start0, options.patch)
    usable &= textured & _inside(image0, start0, torch.eye(2).to(affines), options.patch)
    # The rows of `solve` turn a difference of patches into a step of image 1.
    curvature = slopes.transpose(1, 2) @ slopes
    usable &= torch.linalg.matrix_norm(curvature, ord=-2) > 1e-6
    solve = affines @ torch.linalg.solve_ex(curvature, slopes.transpose(1, 2))[0]
    offsets = _offsets(options.patch, affines) @ affines.transpose(1, 2)

    def seen(points: Tensor) -> tuple[Tensor, Tensor]:
        return _normalized(_sample(image1, points[:, None] + offsets))

    points, step = start1, torch.zeros_like(start1)
    patch, contrast = seen(points)
    usable &= contrast > FLAT * options.patch
    before = (patch * template).sum(dim=1)
    for _ in range(options.iterations):
        step = -(solve @ (patch - template)[..., None])[..., 0]
        step = step * (LARGEST_STEP / step.norm(dim=1, keepdim=True).clamp(min=LARGEST_STEP))
        points = points + step
        patch, contrast = seen(points)
    usable &= contrast > FLAT * options.patch
    after = (patch * template).sum(dim=1)
    inside = usable & _inside(image1, start1, affines, options.patch)
    moved = inside & _inside(image1, points, affines, options.patch) & (after >= before) & points.isfinite().all(dim=1)
    moved &= (step.norm(dim=1) < STILL) & ((points - start1).norm(dim=1) <= options.reach_px)
    return Refinement(
        points=torch.where(moved[:, None], points.to(points1), points1),
        moved=moved,
        correlation=torch.where(moved, after, torch.where(inside, before, 0.0)).clamp(-1, 1).to(points1),
        affines=affines.to(points1),
    )


def local_affines(
    points0: Float[Tensor, "k 2"], points1: Float[Tensor, "k 2"], neighbors: int = Subpixel.neighbors
) -> Float[Tensor, "k 2 2"]:
    """How the surroundings of each match are turned, scaled and sheared from image 0 to image 1.

    It is a robust fit to the matches around it. Where these do not say, it is the identity.

    Args:
        points0: (x, y) in pixels of image 0.
        points1: Their partners, pixels of image 1; wrong ones may be among them.
        neighbors: How many of the nearest matches in image 0 are looked at.
    """
    k = min(neighbors + 1, len(points0))  # each point is one of them, with no weight: its offsets are 0
    if k < 2:
        return torch.eye(2).to(points0).expand(len(points0), 2, 2)
    blocks = [points0[start : start + ROWS_AT_ONCE] for start in range(0, len(points0), ROWS_AT_ONCE)]
    near = torch.cat([torch.cdist(rows, points0).topk(k, largest=False).indices for rows in blocks])
    offsets0, offsets1 = (points[near] - points[:, None] for points in (points0, points1))
    weights = torch.ones_like(offsets0[..., :1])
    affines = torch.eye(2).to(points0).expand(len(points0), 2, 2)
    for _ in range(ROUNDS):
        weighted = (weights * offsets0).transpose(1, 2)
        # One pixel's worth of identity: it decides where all neighbours lie on one line.
        ridge = torch.eye(2).to(points0)
        left, right = weighted @ offsets0 + ridge, weighted @ offsets1 + ridge
        affines = torch.linalg.solve(left, right).transpose(1, 2)
        misses = (offsets1 - offsets0 @ affines.transpose(1, 2)).norm(dim=2, keepdim=True)
        weights = 1 / (1 + (misses / (1 + 2 * misses.median(dim=1, keepdim=True).values)).square())
    return affines


def _offsets(patch: int, like: Tensor) -> Float[Tensor, "p 2"]:
    """(x, y) of each pixel of a patch from its centre, row by row."""
    steps = torch.arange(patch, dtype=like.dtype, device=like.device) - (patch - 1) / 2
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def _templates(
    image: Float[Tensor, "h w"], points: Float[Tensor, "k 2"], patch: int
) -> tuple[Float[Tensor, "k p"], Float[Tensor, "k p 2"], Bool[Tensor, " k"]]:
    """Patches of mean 0 and length 1, how each of their values changes with x and y beyond a change of brightness and
    contrast, and which of the patches have texture."""  # noqa: D205, D209
    side = patch + 2
    wide = _sample(image, points[:, None] + _offsets(side, points)).view(-1, side, side)
    template, length = _normalized(wide[:, 1:-1, 1:-1].flatten(1))
    slopes = torch.stack([wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2], wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]], dim=-1)
    slopes = slopes.flatten(1, 2) / (2 * length[:, None, None])
    slopes = slopes - slopes.mean(dim=1, keepdim=True)
    slopes = slopes - template[..., None] * (template[:, None] @ slopes)
    return template, slopes, length > FLAT * patch


def _normalized(patches: Float[Tensor, "k p"]) -> tuple[Float[Tensor, "k p"], Float[Tensor, " k"]]:
    """Patches of mean 0 and length 1, and how long they were."""
    centred = patches - patches.mean(dim=1, keepdim=True)
    length = centred.norm(dim=1).clamp(min=1e-6)
    return centred / length[:, None], length


def _sample(image: Float[Tensor, "h w"], places: Float[Tensor, "k p 2"]) -> Float[Tensor, "k p"]:
    """Values at (x, y) in pixels, between pixels bilinear, beyond the border those of the border."""
    last = places.new_tensor([max(image.shape[1] - 1, 1), max(image.shape[0] - 1, 1)])
    return torch.nn.functional.grid_sample(
        image[None, None], (2 * places / last - 1)[None], mode="bilinear", padding_mode="border", align_corners=True
    )[0, 0]


def _inside(
    image: Float[Tensor, "h w"], points: Float[Tensor, "k 2"], affines: Float[Tensor, "*k 2 2"], patch: int
) -> Bool[Tensor, " k"]:
    """Whether the patches around these points lie in the image."""
    extent = affines.abs().sum(dim=-1) * (patch - 1) / 2
    last = points.new_tensor([image.shape[1] - 1, image.shape[0] - 1])
    return ((points >= extent) & (points <= last - extent)).all(dim=1)
