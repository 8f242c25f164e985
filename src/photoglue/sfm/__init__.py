"""From a folder of photos to a 3D model with the place of every camera.

```python
from photoglue import sfm

summary = sfm.map_photos("photos", out="map")
print(summary.model.placed, summary.unplaced)
```
"""

from photoglue.datasets.photos import write_pairs
from photoglue.sfm.cameras import CameraOptions, Cameras, ColmapCamera, find_cameras
from photoglue.sfm.cascade import Cascade
from photoglue.sfm.database import write_database
from photoglue.sfm.deliver import Undistorted, undistort, write_ply, write_text
from photoglue.sfm.indexing import index_photos
from photoglue.sfm.loops import Contradicted, contradicted_pairs
from photoglue.sfm.map import MapOptions, map_photos
from photoglue.sfm.nerfstudio import write_nerfstudio
from photoglue.sfm.pairs import PairOptions, find_pairs
from photoglue.sfm.reconstruct import reconstruct
from photoglue.sfm.refine import refine_keypoints
from photoglue.sfm.report.links import weakest_links
from photoglue.sfm.report.page import write_map_report
from photoglue.sfm.search import SearchResult, SimilarPair, search_photos, similar_photos
from photoglue.sfm.summary import MapSummary
from photoglue.sfm.unplaced import PairRow
from photoglue.sfm.verified import PairKind, VerifiedPair, VerifiedStore
from photoglue.sfm.verify import VerifyOptions, verify_matches
from photoglue.solvers.colmap_mapping import ColmapModel, MapperOptions
from photoglue.solvers.colmap_model import Model, ModelImage, read_model

__all__ = [
    "CameraOptions",
    "Cameras",
    "Cascade",
    "ColmapCamera",
    "ColmapModel",
    "Contradicted",
    "MapOptions",
    "MapSummary",
    "MapperOptions",
    "Model",
    "ModelImage",
    "PairKind",
    "PairOptions",
    "PairRow",
    "SearchResult",
    "SimilarPair",
    "Undistorted",
    "VerifiedPair",
    "VerifiedStore",
    "VerifyOptions",
    "contradicted_pairs",
    "find_cameras",
    "find_pairs",
    "index_photos",
    "map_photos",
    "read_model",
    "reconstruct",
    "refine_keypoints",
    "search_photos",
    "similar_photos",
    "undistort",
    "verify_matches",
    "weakest_links",
    "write_database",
    "write_map_report",
    "write_nerfstudio",
    "write_pairs",
    "write_ply",
    "write_text",
]
