"""Which photos are likely to show the same thing: one long vector a photo, and an index that compares them.

Vectors are VLAD over the local features that are matched anyway (``Vocabulary``), with those of a small network behind
them if asked for (``EfficientNetLite0``), or those of another program (``read_global_descriptors``). Nothing here reads
photos or their stores: ``photoglue.sfm`` does that.
"""

from photoglue.retrieval.describer import Describer
from photoglue.retrieval.efficientnet import EfficientNetLite0
from photoglue.retrieval.global_descriptors import read_global_descriptors
from photoglue.retrieval.index import PhotoIndex, Ranking
from photoglue.retrieval.reranking import mutual_neighbors
from photoglue.retrieval.vlad import Vocabulary

__all__ = [
    "Describer",
    "EfficientNetLite0",
    "PhotoIndex",
    "Ranking",
    "Vocabulary",
    "mutual_neighbors",
    "read_global_descriptors",
]
