"""What is done with a video, and what came of it."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from photoglue.datasets.cameras import read_cameras
from photoglue.errors import ConfigError, require
from photoglue.files import check_output
from photoglue.geometry.camera import PinholeCamera
from photoglue.pipeline import Pipeline
from photoglue.precision import choose_device
from photoglue.presets import PRESETS
from photoglue.video.config import TrackerConfig

LAG_SECONDS = 0.2
"""How much later the work on a keyframe is taken over, if not in real time."""


@dataclass(frozen=True, kw_only=True)
class TrackOutputs:
    """What is written; None: is not."""

    tracks: Path | None = None
    """HDF5: every position of every track, as ``read_tracks`` reads it."""
    overlay: Path | None = None
    """A video with the tracks drawn on it: .mp4, .avi, .mkv or .webm."""
    keyframes: Path | None = None
    """A new folder for keyframes, as ``KeyframeFolder`` makes it; `photoglue map` goes on from there."""
    trajectory: Path | None = None
    """A TUM trajectory, timestamp tx ty tz qx qy qz qw; it needs ``intrinsics``."""


@dataclass(frozen=True, kw_only=True)
class TrackOptions:
    """How a video is tracked."""

    config: TrackerConfig = field(default_factory=TrackerConfig)
    """How points are followed; its lag is chosen here: a fifth of a second or, in real time, None."""
    features: str = "aliked"
    """Name of the local features of keyframes, or a class of your own as path/file.py:Class."""
    max_keypoints: int = 512
    """At most so many points of a keyframe, the best."""
    resize: int = 640
    """Length of the longer side that the extractor sees, pixels."""
    preset: str = "realtime"
    """LightGlue's preset."""
    intrinsics: str | None = None
    """The camera: "f" or "fx,fy,cx,cy" in pixels of the upright frame, a text file with these numbers, or a
    cameras.json. None: unknown."""
    masks: Path | None = None
    """A folder with a mask for each frame, or some: the name of the frame (a picture's own, or its number with six
    digits), and .png. Nothing is followed where it is black."""
    fps: float | None = None
    """Frames a second, instead of what the video says; of a folder 30."""
    realtime: bool = False
    """Play at the video's speed: no frame is begun before its time, the work on keyframes is never waited for, and late
    frames are counted."""
    max_frames: int | None = None
    """Stop after so many frames; None: at the end."""
    device: str | None = None
    """Device to compute on, such as "cpu" or "cuda:0"; None: on a GPU if there is one."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially."""


@dataclass(frozen=True, kw_only=True)
class TrackSummary:
    """What came of a video."""

    source: str
    frames: int
    seconds: float
    """By the clock, from the first frame to the last, reading and writing included, loading of models not."""
    keyframes: int
    tracks: int
    """Tracks that began."""
    mean_tracks: float
    """Tracks of a frame, on average."""
    refound: int
    """Times that a track that had ended went on."""
    lost: int
    """Times that the camera was lost."""
    skipped: int
    """Frames that should have become keyframes while another one was worked on."""
    late: int
    """With ``realtime``, frames that were done only after the next one was due."""
    placed: int | None
    """Frames with a pose in the trajectory; None: there is none."""
    camera: PinholeCamera | None
    """The camera, if it was given."""
    cpu_seconds: dict[str, float]
    """CPU seconds of the frame loop ("read", "flow", "write") and of the other thread ("extract", "match"); "all": of
    the process. "wait" is of the clock: the frame loop waited for a keyframe."""
    notes: tuple[str, ...]
    """What was wrong with the video."""

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    def lines(self) -> list[str]:
        """Sentences for people."""
        found = f"{self.frames} frames in {self.seconds:.1f} s, {self.fps:.1f} fps; {self.late} late"
        tracks = f"{self.tracks} tracks, {self.mean_tracks:.0f} in a frame, {self.refound} times found again"
        lost = f", {self.lost} times lost" if self.lost else ""
        keyframes = f"{self.keyframes} keyframes, {self.skipped} frames skipped as keyframes"
        cpu = "CPU " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.cpu_seconds.items())
        placed = [] if self.placed is None else [f"{self.placed} of {self.frames} frames have a pose"]
        return [found, tracks + lost, keyframes, *placed, cpu, *self.notes]


def camera_of_text(intrinsics: str, image_size: tuple[int, int]) -> PinholeCamera:
    """The camera of all frames of a video.

    Args:
        intrinsics: "f" or "fx,fy,cx,cy", a text file with these numbers, or a cameras.json (its first K).
        image_size: (width, height) of the upright frames, pixels.

    Raises:
        ConfigError: If it is none of these.
    """
    path = Path(intrinsics)
    if path.suffix == ".json" and path.is_file():
        entries = read_cameras(path.parent).frames
        matrix = next((entry["K"] for entry in entries.values() if isinstance(entry, dict) and "K" in entry), None)
        if matrix is None:
            raise ConfigError(f"{intrinsics!r} has no camera with K.")
        return PinholeCamera.parse(" ".join(str(number) for row in matrix for number in row), image_size)
    if path.is_file():
        try:
            intrinsics = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{intrinsics!r} cannot be read as the numbers of a camera: {error}.") from error
    return PinholeCamera.parse(intrinsics, image_size)


def check_options(outputs: TrackOutputs, options: TrackOptions) -> None:
    """Refuse what could not be done, before the work begins."""
    for package in ("cv2", "poselib", *(["h5py"] if outputs.tracks or outputs.keyframes else [])):
        require(package, extra="video")
    if outputs.tracks is not None:
        check_output(outputs.tracks, (".h5", ".hdf5"))
    if outputs.trajectory is not None:
        check_output(outputs.trajectory, (".txt", ".tum"))
        if options.intrinsics is None:
            raise ConfigError('A trajectory needs the camera: intrinsics ("fx,fy,cx,cy" in pixels).')
    if options.preset not in PRESETS:
        raise ConfigError(f"preset is {options.preset!r}; it must be one of {', '.join(PRESETS)}.")
    if options.max_frames is not None and options.max_frames < 1:
        raise ConfigError(f"max_frames is {options.max_frames}; it must be at least 1, or None for all.")
    if options.masks is not None and not options.masks.is_dir():
        raise ConfigError(f"There is no folder of masks {str(options.masks)!r}.")


def pipeline_of(options: TrackOptions) -> Pipeline:
    """The extractor and matcher that the options name."""
    return Pipeline.pretrained(
        options.features,
        max_keypoints=options.max_keypoints,
        resize=options.resize,
        config=PRESETS[options.preset],
        device=choose_device(options.device),
        allow_noncommercial=options.allow_noncommercial,
    )


def config_of(options: TrackOptions, fps: float) -> TrackerConfig:
    """The tracker's options, with the lag for a video of so many frames a second."""
    return replace(options.config, lag=None if options.realtime else max(1, round(LAG_SECONDS * fps)))
