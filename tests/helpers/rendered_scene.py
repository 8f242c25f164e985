"""A scene of which everything is known: a textured wall with a textured box before it, rendered by formula."""

import json

import numpy as np
import PIL.Image

SIZE = 240, 180
CAMERA = np.array([[200.0, 0.0, 121.0], [0.0, 205.0, 88.0], [0.0, 0.0, 1.0]])
WALL, BOX = 6.0, 4.5
"""Z of the wall, and of the front of the box, which covers |X|, |Y| < 0.8."""
DEPTH_SCALE = 1000


def poses(count):
    """World to camera: along the wall, turning a little."""
    found = []
    for number in range(count):
        angle = 0.05 * (number - 1)
        pose = np.eye(4)
        pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        pose[:3, 3] = [-0.35 * number, 0.04 * number, 0.1 * number]
        found.append(pose)
    return found


def exact_depth(pose, points):
    """Along the optical axis, at any points (x, y) of the image; and the point of the world seen there."""
    points = np.asarray(points, dtype=np.float64)
    rays = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1) @ np.linalg.inv(CAMERA).T @ pose[:3, :3]
    centre = -pose[:3, :3].T @ pose[:3, 3]
    # A ray has length 1 along the optical axis, so that its multiple is the depth.
    depth = (WALL - centre[2]) / rays[..., 2]
    to_box = (BOX - centre[2]) / rays[..., 2]
    on_box = (np.abs(centre + rays * to_box[..., None])[..., :2] < 0.8).all(axis=-1)
    depth = np.where(on_box, to_box, depth)
    return depth, centre + rays * depth[..., None]


def render(pose):
    """(photo, depth) of a pose."""
    points = np.stack(np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1])), axis=-1)
    depth, world = exact_depth(pose, points)
    texture = np.random.default_rng(5).uniform(0, 255, (2, 128, 128))
    x, y = world[..., 0] * 9 + 64, world[..., 1] * 9 + 64
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    across, down, side = x - left, y - top, (depth < (WALL + BOX) / 2).astype(int)
    patch = [[texture[side, (top + i) % 128, (left + j) % 128] for j in (0, 1)] for i in (0, 1)]
    upper = patch[0][0] * (1 - across) + patch[0][1] * across
    lower = patch[1][0] * (1 - across) + patch[1][1] * across
    return (upper * (1 - down) + lower * down).round().astype(np.uint8), depth


def write_scene(folder, *, count=4, claimed=None, hole=None):
    """The plain layout.

    Args:
        folder: Is made.
        count: Photos.
        claimed: The poses in cameras.json; None: the true ones.
        hole: (x0, y0, x1, y1) without depth.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "depths").mkdir()
    frames = {}
    for number, pose in enumerate(poses(count)):
        photo, depth = render(pose)
        stored = (depth * DEPTH_SCALE).round().astype(np.uint16)
        if hole:
            stored[hole[1] : hole[3], hole[0] : hole[2]] = 0
        PIL.Image.fromarray(photo).save(folder / "images" / f"{number}.png")
        PIL.Image.fromarray(stored).save(folder / "depths" / f"{number}.png")
        stated = pose if claimed is None else claimed[number]
        frames[str(number)] = {"K": CAMERA.tolist(), "T_w2c": stated.tolist(), "width": SIZE[0], "height": SIZE[1]}
    cameras = {"depth_scale": DEPTH_SCALE, "unit": "metres", "frames": frames}
    (folder / "cameras.json").write_text(json.dumps(cameras))
    lines = [f"{i} {j} {0.8 - 0.15 * (j - i - 1):.2f}" for i in range(count) for j in range(i + 1, count)]
    (folder / "pairs.txt").write_text("# image0 image1 overlap\n" + "\n".join(lines) + "\n")
    return folder
