"""From photos to a 3D model, step by step."""

from photoglue.datasets.photos import write_pairs
from photoglue.sfm.indexing import index_photos
from photoglue.sfm.pairs import PairOptions, find_pairs
from photoglue.sfm.search import Duplicate, Found, search_photos, similar_photos

__all__ = [
    "Duplicate",
    "Found",
    "PairOptions",
    "find_pairs",
    "index_photos",
    "search_photos",
    "similar_photos",
    "write_pairs",
]
