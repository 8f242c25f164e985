"""Video: points followed in real time, keyframes, and what SLAM and mapping make of them.

``track_video`` does a whole video; a ``Tracker`` is pushed frame by frame, in a loop of one's own.
"""

from photoglue.video.config import TrackerConfig
from photoglue.video.frames import Frame, open_frames
from photoglue.video.keyframe_folder import KeyframeFolder, KeyframeList, read_keyframes
from photoglue.video.keyframes import Keyframe, Link
from photoglue.video.odometry import CameraPose, Odometry, write_trajectory
from photoglue.video.options import TrackOptions, TrackOutputs, TrackSummary, camera_of_text
from photoglue.video.overlay import OverlayWriter
from photoglue.video.results import FrameResult, TrackerCounts
from photoglue.video.track import track_video
from photoglue.video.tracker import Tracker
from photoglue.video.writers import Tracks, TrackWriter, read_tracks

__all__ = [
    "CameraPose",
    "Frame",
    "FrameResult",
    "Keyframe",
    "KeyframeFolder",
    "KeyframeList",
    "Link",
    "Odometry",
    "OverlayWriter",
    "TrackOptions",
    "TrackOutputs",
    "TrackSummary",
    "TrackWriter",
    "Tracker",
    "TrackerConfig",
    "TrackerCounts",
    "Tracks",
    "camera_of_text",
    "open_frames",
    "read_keyframes",
    "read_tracks",
    "track_video",
    "write_trajectory",
]
