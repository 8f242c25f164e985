"""The tracker's options."""

from dataclasses import dataclass

from photoglue.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """How points are followed, and when a frame becomes a keyframe. Lengths are pixels of a frame 640 pixels long.

    Raises:
        ConfigError: If a number makes no sense.
    """

    max_tracks: int = 512
    """At most so many points are followed at a time."""
    spacing_px: float = 8.0
    """A keyframe begins new tracks only where none is as near as this."""
    flow_size: int | None = 960
    """Length of the longer side of the frames that points are followed in, at most; None: frames as they are."""
    flow_window: int = 15
    """Side of the square around a point that is compared from frame to frame."""
    flow_error_px: float = 1.0
    """A track ends if following it back misses by more than this, in pixels of the frame that flow sees."""
    keyframe_share: float = 0.6
    """A keyframe is made when fewer than this share of the tracks of the last one are alive."""
    keyframe_every: int = 30
    """A keyframe is made so many frames after the last one, unless nothing has moved."""
    keyframe_motion: float = 0.2
    """A keyframe is made when the tracks of the last one have moved so far, as a share of the longer side (median)."""
    min_tracks: int = 12
    """With fewer tracks, or fewer matches that agree with one geometry, the camera is lost."""
    cut_share: float = 0.3
    """If fewer than this share of the tracks survive one frame, it is a cut: all end."""
    lag: int | None = 6
    """The work on a keyframe is taken over so many frames later, and waited for if need be: the same video gives the
    same tracks. None: as soon as it is done, and never waited for, for use in real time."""
    keyframes_kept: int = 200
    """So many keyframes are remembered, to find the camera again; of older ones every other is forgotten."""

    def __post_init__(self) -> None:
        whole = {"max_tracks": 1, "flow_window": 5, "keyframe_every": 1, "min_tracks": 8, "keyframes_kept": 4}
        for name, least in whole.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if self.lag is not None and self.lag < 0:
            raise ConfigError(f"lag is {self.lag}; it is a number of frames, or None for real time.")
        if self.flow_size is not None and self.flow_size < 64:
            raise ConfigError(f"flow_size is {self.flow_size}; it must be at least 64 pixels, or None.")
        for name in ("keyframe_share", "cut_share", "keyframe_motion"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it is a share, in [0, 1].")
        for name in ("spacing_px", "flow_error_px"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it is a positive number of pixels.")
