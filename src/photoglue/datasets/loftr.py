"""LoFTR's scene-info files for MegaDepth-1500 and ScanNet-1500.

MegaDepth's .npz files hold Python objects, which NumPy reads with pickle: reading them runs whatever their author put
in. It is allowed for them alone, after a look at the names of their arrays; take them from LoFTR's own release.
"""

from pathlib import Path

import numpy as np

from photoglue.datasets.base import EvaluationPair
from photoglue.datasets.images import Images, camera_of, lines_of
from photoglue.datasets.pose_lists import checked_pose, without_half_pixel
from photoglue.datasets.truths import Posed
from photoglue.errors import ConfigError, ImageError

MEGADEPTH_ARRAYS = frozenset({"image_paths", "intrinsics", "poses", "pair_infos"})
SCANNET_SIZE = (640, 480)
"""What the camera matrices of LoFTR's ScanNet files belong to, pixels."""
PLACES = ("*.npz", "*scene_info*/*.npz", "*test_1500*/*.npz", "index/*.npz")


def scene_files(folder: Path) -> list[Path]:
    """The scene-info files in a folder; those that its list names, in its order, if it has one.

    Raises:
        ConfigError: If the list names a file that is not there.
    """
    found = sorted({path for place in PLACES for path in folder.glob(place) if path.name != "intrinsics.npz"})
    for parent in dict.fromkeys(path.parent for path in found):
        for listed in sorted(parent.glob("*test*.txt")):
            names = [words[0] for _, words in lines_of(listed)]
            files = [parent / f"{name.removesuffix('.npz')}.npz" for name in names]
            absent = [path for path in files if not path.is_file()]
            if absent:
                raise ConfigError(f"{str(listed)!r} names {absent[0].name!r}, which is not beside it.")
            return files
    return found


def loftr_scenes(folder: Path, images: Images) -> list[EvaluationPair]:
    """All pairs of the scene-info files of a folder. The images lie below it under the paths that the files give.

    Raises:
        ConfigError: If a file has other content.
        ImageError: If an image is missing.
    """
    pairs = []
    for path in scene_files(folder):
        try:
            with np.load(path) as content:
                names = set(content.files)
            if "name" in names:
                pairs += _scannet(path, images)
            else:
                pairs += _megadepth(path, names, images)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            if isinstance(error, ConfigError | ImageError):
                raise
            raise ConfigError(
                f"{str(path)!r} is no scene-info file of LoFTR ({type(error).__name__}: {error}); MegaDepth's has "
                "image_paths, intrinsics, poses, pair_infos, ScanNet's has name and, beside it, intrinsics.npz."
            ) from error
    return pairs


def _megadepth(path: Path, names: set[str], images: Images) -> list[EvaluationPair]:
    """image_paths, intrinsics, poses (cam_from_world) by number of the image; pair_infos: ((i, j), overlap, …)."""
    if not names >= MEGADEPTH_ARRAYS:  # before anything in it is run
        raise KeyError(*sorted(MEGADEPTH_ARRAYS - names))
    with np.load(path, allow_pickle=True) as content:
        arrays = {name: content[name] for name in MEGADEPTH_ARRAYS}
    used = {int(i): _place(str(arrays["image_paths"][int(i)]), images) for row in arrays["pair_infos"] for i in row[0]}
    cameras = {
        i: camera_of(without_half_pixel(arrays["intrinsics"][i]), images.size(name, path), f"{name!r} in {str(path)!r}")
        for i, name in used.items()
    }
    poses = {i: checked_pose(arrays["poses"][i], f"{name!r} in {str(path)!r}") for i, name in used.items()}
    return [
        EvaluationPair(
            scene=path.stem,
            name0=used[i],
            name1=used[j],
            truth=Posed(camera0=cameras[i], camera1=cameras[j], cam1_from_cam0=poses[j] @ np.linalg.inv(poses[i])),
        )
        for i, j in ((int(row[0][0]), int(row[0][1])) for row in arrays["pair_infos"])
    ]


def _scannet(path: Path, images: Images) -> list[EvaluationPair]:
    """The array name: (scene, sub-scene, frame 0, frame 1); poses from ``SCENE/pose/FRAME.txt`` (world_from_cam)."""
    with np.load(path) as content:
        rows = content["name"].astype(int).tolist()
    with np.load(path.with_name("intrinsics.npz")) as content:
        matrices = {name: np.array(content[name], dtype=np.float64) for name in content.files}
    pairs = []
    for scene_number, sub_scene, *frames in rows:
        scene = f"scene{scene_number:04d}_{sub_scene:02d}"
        names = [_place(f"{scene}/color/{frame}.jpg", images) for frame in frames]
        cameras = []
        for name in names:
            width, height = images.size(name, path)
            scale = np.diag([width / SCANNET_SIZE[0], height / SCANNET_SIZE[1], 1.0])
            cameras.append(camera_of(scale @ matrices[scene].reshape(3, 3), (width, height), f"{name!r}"))
        files = [
            (images.folder / name).parent.parent / "pose" / f"{frame}.txt"
            for name, frame in zip(names, frames, strict=True)
        ]
        world_from_cam = [
            checked_pose(np.loadtxt(file), f"{name!r} in {str(file)!r}")
            for name, file in zip(names, files, strict=True)
        ]
        truth = Posed(
            camera0=cameras[0],
            camera1=cameras[1],
            cam1_from_cam0=np.linalg.inv(world_from_cam[1]) @ world_from_cam[0],
        )
        pairs.append(EvaluationPair(scene=scene, name0=names[0], name1=names[1], truth=truth))
    return pairs


def _place(name: str, images: Images) -> str:
    """Where an image lies: below the folder, or below ``images/`` or ``test/`` there."""
    candidates = (name, f"images/{name}", f"test/{name}")
    return next((place for place in candidates if (images.folder / place).is_file()), name)
