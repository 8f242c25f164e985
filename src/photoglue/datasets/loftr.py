"""LoFTR's scene-info files for MegaDepth-1500 and ScanNet-1500.

Reading MegaDepth's can run code in them (see ``datasets.cameras``): take them from LoFTR's own release.
"""

from pathlib import Path

import numpy as np

from photoglue.datasets.base import EvaluationPair
from photoglue.datasets.cameras import PosedPhoto, below_folder, checked_pose, megadepth_photo, read_megadepth
from photoglue.datasets.images import Images, camera_of, lines_of
from photoglue.datasets.pose_lists import posed_pairs
from photoglue.errors import ConfigError, ImageError

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
                names = content.files
            pairs += _scannet(path, images) if "name" in names else _megadepth(path, images)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            if isinstance(error, ConfigError | ImageError):
                raise
            raise ConfigError(
                f"{str(path)!r} is no scene-info file of LoFTR ({type(error).__name__}: {error}); MegaDepth's has "
                "image_paths, intrinsics, poses, pair_infos, ScanNet's has name and, beside it, intrinsics.npz."
            ) from error
    return pairs


def _megadepth(path: Path, images: Images) -> list[EvaluationPair]:
    """Pairs by ``pair_infos``: ((i, j), overlap, …), numbers of photos."""
    arrays = read_megadepth(path, ("pair_infos",))
    rows = [(path.stem, int(row[0][0]), int(row[0][1])) for row in arrays["pair_infos"]]
    return posed_pairs(rows, lambda number: megadepth_photo(path, arrays, number, images), images)


def _scannet(path: Path, images: Images) -> list[EvaluationPair]:
    """The array name: (scene, sub-scene, frame 0, frame 1); poses from ``SCENE/pose/FRAME.txt`` (world_from_cam)."""
    with np.load(path) as content:
        rows = content["name"].astype(int).tolist()
    with np.load(path.with_name("intrinsics.npz")) as content:
        matrices = {name: np.array(content[name], dtype=np.float64) for name in content.files}

    def photo(place: str) -> PosedPhoto:
        scene, _, frame = place.partition("/")
        name = below_folder(f"{scene}/color/{frame}.jpg", images)
        width, height = images.size(name, path)
        scale = np.diag([width / SCANNET_SIZE[0], height / SCANNET_SIZE[1], 1.0])
        camera = camera_of(scale @ matrices[scene].reshape(3, 3), (width, height), f"{name!r}")
        file = (images.folder / name).parent.parent / "pose" / f"{frame}.txt"
        world_from_cam = checked_pose(np.loadtxt(file), f"{name!r} in {str(file)!r}")
        return PosedPhoto(name=name, camera=camera, cam_from_world=np.linalg.inv(world_from_cam))

    places = [
        (scene, f"{scene}/{frame0}", f"{scene}/{frame1}")
        for number, sub_scene, frame0, frame1 in rows
        for scene in [f"scene{number:04d}_{sub_scene:02d}"]
    ]
    return posed_pairs(places, photo, images)
