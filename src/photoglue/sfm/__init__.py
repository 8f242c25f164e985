"""From photos to a 3D model, and from a model to what other programs read."""

from photoglue.datasets.photos import write_pairs
from photoglue.sfm.deliver import undistort, write_ply, write_text
from photoglue.sfm.indexing import index_photos
from photoglue.sfm.model import Model, ModelImage, read_model
from photoglue.sfm.nerfstudio import write_nerfstudio
from photoglue.sfm.pairs import PairOptions, find_pairs
from photoglue.sfm.refine import refine_keypoints
from photoglue.sfm.report.links import weakest_links
from photoglue.sfm.report.page import write_map_report
from photoglue.sfm.search import Duplicate, Found, search_photos, similar_photos

__all__ = [
    "Duplicate",
    "Found",
    "Model",
    "ModelImage",
    "PairOptions",
    "find_pairs",
    "index_photos",
    "read_model",
    "refine_keypoints",
    "search_photos",
    "similar_photos",
    "undistort",
    "weakest_links",
    "write_map_report",
    "write_nerfstudio",
    "write_pairs",
    "write_ply",
    "write_text",
]
