"""Photos, scenes and features so small that a run of training takes seconds."""

import json

import numpy as np
import PIL.Image

EXTRACTOR = '''
import torch
import photoglue

class Corners(photoglue.Extractor):
    """The 60 brightest pixels of a coarse grid, described by the pixels around them."""

    kind = "corners"
    descriptor_dim = 9

    def __init__(self):
        from photoglue.extractors import ExtractorConfig

        super().__init__(ExtractorConfig())

    def detect(self, images, masks=None):
        gray = images.mean(dim=1)
        found = []
        for image in gray:
            patches = image.unfold(0, 3, 1).unfold(1, 3, 1)[::5, ::5].flatten(2)
            scores = patches.std(dim=2).flatten()
            best = scores.argsort(descending=True)[:60]
            rows, columns = best // patches.shape[1], best % patches.shape[1]
            descriptors = patches[rows, columns] - patches[rows, columns].mean(dim=1, keepdim=True)
            found.append(
                photoglue.Features(
                    keypoints=torch.stack([columns, rows], dim=1).float() * 5 + 1,
                    descriptors=torch.nn.functional.normalize(descriptors + 1e-6, dim=1),
                    scores=scores[best],
                    image_size=(image.shape[1], image.shape[0]),
                    kind=self.kind,
                )
            )
        return found

class NoKind(photoglue.Extractor):
    def __init__(self):
        from photoglue.extractors import ExtractorConfig

        super().__init__(ExtractorConfig())

    def detect(self, images, masks=None):
        return []

class Needy(Corners):
    def __init__(self, size):
        super().__init__()

other = 3
'''


def write_photos(place, astronaut):
    """A folder with photos, good and bad, and a file with a class that finds features in them."""
    folder = place / "photos"
    folder.mkdir()
    with PIL.Image.open(astronaut) as picture:
        for i, (left, top) in enumerate([(0, 0), (200, 0), (0, 200)]):
            picture.crop((left, top, left + 300, top + 260)).save(folder / f"{i}.png")
        picture.crop((0, 0, 100, 90)).save(folder / "tiny.png")
    # Noise has features, and none of them match.
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 260, 3), dtype=np.uint8)).save(folder / "3.png")
    whole = (folder / "1.png").read_bytes()
    (folder / "broken.png").write_bytes(whole[: len(whole) // 2])  # its header can be read
    (folder / "text.jpg").write_text("no photo")
    (place / "corners.py").write_text(EXTRACTOR)
    return place


def write_flat_scene(folder, *, size=(30, 20), focal=100.0, step=2):
    """Three photos of a wall with a random texture at depth 1; the camera moves by some pixels each time."""
    width, height = size
    wall = np.random.default_rng(3).integers(0, 255, (height, width + 2 * step), dtype=np.uint8)
    for part in ("images", "depths"):
        (folder / part).mkdir(parents=True)
    frames = {}
    for i in range(3):
        PIL.Image.fromarray(wall[:, i * step : i * step + width]).save(folder / "images" / f"{i}.png")
        PIL.Image.fromarray(np.full((height, width), 1000, np.uint16)).save(folder / "depths" / f"{i}.png")
        pose = np.eye(4)
        pose[0, 3] = -i * step / focal
        matrix = [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]
        frames[str(i)] = {"K": matrix, "T_w2c": pose.tolist(), "width": width, "height": height}
    (folder / "cameras.json").write_text(json.dumps({"depth_scale": 1000, "frames": frames}))
    (folder / "pairs.txt").write_text("0 1 0.6\n1 2 0.6\n0 2 0.4\n")
    return folder


def write_megadepth(root, *names):
    """Two photos in each scene, with files of depth that nobody reads."""
    (root / "scene_info").mkdir(parents=True)
    for name in names:
        images = [f"images/{name}/{i}.png" for i in range(2)]
        for path in images:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.new("L", (30, 20)).save(root / path)
        arrays = {
            "image_paths": np.array(images, dtype=object),
            "depth_paths": np.array(images, dtype=object),
            "intrinsics": np.array([[[25.0, 0, 15.0], [0, 25.0, 10.0], [0, 0, 1]]] * 2),
            "poses": np.array([np.eye(4)] * 2),
            "overlap_matrix": np.full((2, 2), 0.5),
        }
        np.savez(root / "scene_info" / f"{name}.npz", **arrays)
    return root
