"""What one pass of extractor and matcher cannot do, done in a second one where it helps."""

from photoglue.limits.joined import joined_features, joined_matches, joined_probability
from photoglue.limits.look_alikes import partnered_share
from photoglue.limits.remedies import Limits, When
from photoglue.limits.rotation import extract_turned
from photoglue.limits.subpixel import GrayView, Refinement, Subpixel, refine_matches, refine_points

__all__ = [
    "GrayView",
    "Limits",
    "Refinement",
    "Subpixel",
    "When",
    "extract_turned",
    "joined_features",
    "joined_matches",
    "joined_probability",
    "partnered_share",
    "refine_matches",
    "refine_points",
]
