"""What a tracker says of each frame, and of all."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from photoglue.video.keyframes import Keyframe

State: TypeAlias = Literal["starting", "tracking", "lost"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameResult:
    """What is known after a frame."""

    frame: int
    """Its number, as given to ``push``, or counted from 0."""
    timestamp: float
    """Seconds."""
    ids: Int64[np.ndarray, " n"]
    """The track of each point; no number is used twice."""
    points: Float32[np.ndarray, "n 2"]
    """(x, y) in pixels of the frame."""
    ages: Int64[np.ndarray, " n"]
    """Pushes since the track's first frame."""
    scores: Float32[np.ndarray, " n"]
    """In [0, 1]: of a match its score; of flow 1 less the share of the allowed error by which the way back missed."""
    sources: UInt8[np.ndarray, " n"]
    """0: followed (KLT) from the frame before; 1: found in a keyframe (LightGlue), and followed from there to here."""
    state: State
    """"lost" while nothing is followed because nothing has been recognised."""
    keyframe: bool
    """Whether this frame was sent to be a keyframe."""
    reason: str | None
    """Why it was, or, if the thread for keyframes was busy, would have been; None: it need not be one."""
    finished: Keyframe | None
    """A keyframe, of this frame or an earlier one, whose work was taken over now."""
    right_points: Float32[np.ndarray, "n 2"] | None = None
    """After ``push_stereo``: each point in the right picture; nan where it was not found."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class TrackerCounts:
    """What a tracker has done so far."""

    frames: int = 0
    keyframes: int = 0
    skipped: int = 0
    """Frames that should have become keyframes while another one was worked on, and were passed over."""
    tracks: int = 0
    """Tracks that began."""
    refound: int = 0
    """Times that a track that had ended went on."""
    lost: int = 0
    """Times that the camera was lost."""
    seconds: dict[str, float] = field(default_factory=lambda: {"flow": 0.0, "extract": 0.0, "match": 0.0, "wait": 0.0})
    """CPU seconds of "flow" (the calling thread), "extract" and "match" (the other one); and those of the clock that
    ``push`` waited for the other thread."""
