"""From photos to a 3D model, and from a model to what other programs read."""

from photoglue.sfm.deliver import undistort, write_ply, write_text
from photoglue.sfm.model import Model, ModelImage, read_model
from photoglue.sfm.nerfstudio import write_nerfstudio
from photoglue.sfm.report.links import weakest_links
from photoglue.sfm.report.page import write_map_report

__all__ = [
    "Model",
    "ModelImage",
    "read_model",
    "undistort",
    "weakest_links",
    "write_map_report",
    "write_nerfstudio",
    "write_ply",
    "write_text",
]
