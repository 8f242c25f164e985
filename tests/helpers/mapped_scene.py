"""Photos that say where they were taken, and an extractor that believes them: maps of known truth in a second."""

from itertools import combinations

import numpy as np
import PIL.Image

from photoglue import batch
from photoglue.extractors.base import Extractor, ExtractorConfig
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.sfm import CameraOptions, VerifiedStore, find_cameras, verify_matches
from photoglue.store import FeatureStore
from photoglue.structs import Features

SIZE = 320, 240
FOCAL = 280.0
PLACES = 8
"""Numbers of a place's photos: 0 to 7 are of the first place, 8 to 15 of the second, …"""
TURNING, FLAT, EMPTY = 5, 6, 7
"""Places where the camera only turns, with a flat scene, and with nothing to be seen."""
POINTS = 160


def cloud(place):
    """The points of a place, and their descriptors."""
    source = np.random.default_rng(place)
    points = source.uniform((-3, -2, 4), (3, 2, 8), (POINTS, 3))
    if place == FLAT:
        points[:, 2] = 6 + 0.2 * points[:, 0]
    descriptors = source.normal(size=(POINTS, 16))
    return points, descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)


def pose(number):
    """World to camera, 3 × 4: along an arc around the points."""
    place, step = divmod(number, PLACES)
    angle = 0.12 * (step - 2)
    rotation = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    centre = np.zeros(3) if place == TURNING else np.array([6 * np.sin(angle), 0.1 * step, 6 - 6 * np.cos(angle)])
    return np.c_[rotation, -rotation @ centre]


def seen(number):
    """Where the points are in photo ``number``, upright pixels whose centres are whole numbers; and which are seen."""
    points, _ = cloud(number // PLACES)
    in_camera = np.c_[points, np.ones(len(points))] @ pose(number).T
    noise = np.random.default_rng(1000 + number).normal(scale=0.1, size=(len(points), 2))
    pixels = in_camera[:, :2] / in_camera[:, 2:] * FOCAL + (SIZE[0] / 2 - 0.5, SIZE[1] / 2 - 0.5) + noise
    inside = ((pixels > 0) & (pixels < np.array(SIZE) - 1)).all(axis=1) & (number // PLACES != EMPTY)
    return pixels, inside


class Told(Extractor):
    """Finds the points that a photo of ``write`` says it sees."""

    kind = "told"
    descriptor_dim = 16

    def __init__(self, config=None):
        super().__init__(config or ExtractorConfig(max_keypoints=None, resize=None))

    def detect(self, images, masks=None):
        return [self._features(image) for image in images]

    def _features(self, image):
        number = round(float(image.mean()) * 255)
        pixels, inside = seen(number)
        _, descriptors = cloud(number // PLACES)
        return Features.from_arrays(
            pixels[inside], descriptors[inside], (image.shape[2], image.shape[1]), kind=self.kind
        )


def write(folder, *numbers, exif=None):
    """Photos of those numbers.

    Args:
        folder: Is made.
        exif: EXIF tags by photo; orientation 6 has the photo stored turned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        tags = (exif or {}).get(number, {})
        size = SIZE[::-1] if tags.get(0x0112) == 6 else SIZE
        header = PIL.Image.Exif()
        header.update(tags)
        PIL.Image.new("L", size, number).save(folder / f"{number:03}.png", exif=header)
    return folder


class Scene:
    """Photos with features and matches in files, and their cameras."""

    def __init__(self, folder, *numbers, focal=None, **how):
        self.folder, photos = folder, write(folder / "photos", *numbers, **how)
        batch.extract(photos, folder / "f.h5", Told())
        with FeatureStore.open(folder / "f.h5") as store:
            self.features = {name: store[name] for name in store.names()}
        self.pairs = list(combinations(self.features, 2))
        batch.match(self.pairs, folder / "f.h5", folder / "m.h5", NearestNeighbor(0.8))
        paths = {name: photos / name for name in self.features}
        self.cameras = find_cameras(paths, CameraOptions(intrinsics=focal))

    def verify(self, **options):
        files = (self.folder / name for name in ("f.h5", "m.h5", "v.h5"))
        return verify_matches(self.pairs, *files, self.cameras, **options)

    def kinds(self):
        with VerifiedStore.open(self.folder / "v.h5") as store:
            return [store.read(*pair).kind for pair in store.pairs()]


def position_error(model):
    """Largest distance of a camera from its true place, after a similarity; the photos are some six units away."""
    from photoglue.solvers.colmap import pycolmap

    read = pycolmap().Reconstruction(str(model))
    found, true = [], []
    for number in read.reg_image_ids():
        image = read.images[number]
        matrix = image.cam_from_world
        matrix = (matrix() if callable(matrix) else matrix).matrix()
        truth = pose(int(image.name.split("/")[-1].split(".")[0]))
        found.append(-matrix[:, :3].T @ matrix[:, 3])
        true.append(-truth[:, :3].T @ truth[:, 3])
    found, true = np.array(found), np.array(true)
    left, right = found - found.mean(0), true - true.mean(0)
    u, scale, v = np.linalg.svd(right.T @ left)
    flip = np.diag([1, 1, np.linalg.det(u @ v)])
    aligned = left @ (u @ flip @ v).T * (scale * np.diag(flip)).sum() / (left**2).sum()
    return float(np.linalg.norm(aligned - right, axis=1).max())
