"""What one pass of extractor and matcher cannot do, done in a second one where it is asked for."""

from photoglue.limits.subpixel import GrayView, Refinement, Subpixel, refine_matches, refine_points

__all__ = ["GrayView", "Refinement", "Subpixel", "refine_matches", "refine_points"]
