"""Where a photo was taken: what ``Localizer.localize`` answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.frames import StoredFrame, camera_of_colmap_pinhole
from photoglue.sfm.cameras import ColmapCamera
from photoglue.sfm.locating.cameras import FocalSource


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """How far a pose may be off if the errors of its inliers are independent: standard deviations."""

    position: float
    """Standard deviation of the place of the camera, over all directions, in the unit of the map."""
    rotation_deg: float
    """Standard deviation of the direction of the camera, degrees."""
    focal_px: float | None
    """Standard deviation of the focal length, pixels; None: it was not estimated."""


@dataclass(frozen=True, kw_only=True)
class NearPhoto:
    """A photo of the map that was matched with a query."""

    name: str
    """Its name in the map."""
    matches: int
    """Its matches with the query, whether or not they see a point of the map."""
    inliers: int
    """Points of the map that it and the query see, where the pose says."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Localisation:
    """Where a photo was taken, or why that is not known.

    The frame of the world and its unit are those of the map. ``cam_from_world`` and ``camera`` are of the photo as it
    is shown, upright; COLMAP and hloc read stored pixels, for which ``stored_cam_from_world`` and ``stored_camera``
    are. Without an EXIF orientation both are the same, but for COLMAP's half pixel.
    """

    name: str
    """The photo: its name, or the path that it was read from; empty if it was no file."""
    localised: bool
    """Whether there is a pose that can be believed."""
    reason: str | None = None
    """Why there is none."""
    cam_from_world: Float64[Tensor, "4 4"] | None = None
    """Pose of the camera of the upright photo; None: not localised."""
    stored_cam_from_world: Float64[Tensor, "4 4"] | None = None
    """Pose of the camera of the stored photo, as COLMAP has it."""
    stored_camera: ColmapCamera | None = None
    """The camera of the stored photo, as COLMAP has it, with its distortion if a photo of the map is by it."""
    frame: StoredFrame | None = None
    """How the stored photo is turned; None: it could not be read."""
    focal_source: FocalSource | None = None
    """Where the focal length comes from: "given"; "map": from a photo of the map by the same camera; "EXIF", made
    better with the inliers; or "estimated" from them alone."""
    inliers: int = 0
    """Points of the map that the photo sees where the pose says; the most that any place had, if not localised."""
    matches: int = 0
    """Different pairs of a keypoint and a point of the map that the matcher found."""
    agreement: float = 0.0
    """Share of the matches with the best photo of the map that agree with the pose, in [0, 1]."""
    predicted: int = 0
    """Points that the pose predicts near a keypoint, whether or not they are seen there."""
    confirmed: int = 0
    """Those of them that are seen there."""
    uncertainty: Uncertainty | None = None
    """How far the pose may be off."""
    nearest: tuple[NearPhoto, ...] = ()
    """The photos of the map that were matched, those with most inliers first."""
    keypoints: Float[Tensor, "i 2"] | None = None
    """The inliers: (x, y) in pixels of the upright photo."""
    points: Int64[Tensor, " i"] | None = None
    """The inliers: which point of the map each sees, a row of ``Model.points``."""
    turned_deg: int = 0
    """By how many degrees, clockwise, the photo had to be turned to be recognised, besides what EXIF says; the pose is
    that of the photo as it came."""
    notes: tuple[str, ...] = ()
    """What was strange, for people."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """CPU seconds of each step, of all threads."""

    @property
    def camera(self) -> PinholeCamera | None:
        """The camera of the upright photo, without distortion; None: not localised."""
        if self.stored_camera is None or self.frame is None:
            return None
        camera = self.stored_camera.pinhole
        stored = camera_of_colmap_pinhole((camera.fx, camera.fy, camera.cx, camera.cy), camera.image_size)
        return self.frame.camera_to_upright(stored)

    @property
    def centre(self) -> Float64[Tensor, "3"] | None:
        """Where the camera stood; None: not localised."""
        pose = self.cam_from_world
        return None if pose is None else -pose[:3, :3].T @ pose[:3, 3]
