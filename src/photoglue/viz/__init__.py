"""Pictures of keypoints, of matches, and of what adaptive depth and width did with a pair.

The functions return a matplotlib ``Figure``; nothing goes through pyplot, no global state is changed and no window
opens. ``save_figure`` writes it. ``contact_sheet`` gives a PIL image of many photos at a glance.
"""

from photoglue.viz.contact_sheet import contact_sheet, save_contact_sheet
from photoglue.viz.draw import draw_keypoints, draw_matches, draw_pruning
from photoglue.viz.save import save_figure

__all__ = ["contact_sheet", "draw_keypoints", "draw_matches", "draw_pruning", "save_contact_sheet", "save_figure"]
