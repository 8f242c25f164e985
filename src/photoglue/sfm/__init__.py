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
from photoglue.sfm.localize import Localizer
from photoglue.sfm.locating.adopt import AdoptedMap, AdoptOptions, adopt_model
from photoglue.sfm.locating.answer import Localisation, NearPhoto, Uncertainty
from photoglue.sfm.locating.drawing import draw_localisation
from photoglue.sfm.locating.many import localize_photos
from photoglue.sfm.locating.page import write_localisation_report
from photoglue.sfm.locating.placing import LocalizeOptions
from photoglue.sfm.locating.writing import read_queries, write_localisations
from photoglue.sfm.loops import Contradicted, contradicted_pairs
from photoglue.sfm.map import map_photos
from photoglue.sfm.nerfstudio import write_nerfstudio
from photoglue.sfm.options import MapOptions
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
from photoglue.solvers.colmap_facts import ColmapModel
from photoglue.solvers.colmap_mapping import MapperOptions
from photoglue.solvers.colmap_model import Model, ModelImage, read_model

__all__ = [
    "AdoptOptions",
    "AdoptedMap",
    "CameraOptions",
    "Cameras",
    "Cascade",
    "ColmapCamera",
    "ColmapModel",
    "Contradicted",
    "Localisation",
    "LocalizeOptions",
    "Localizer",
    "MapOptions",
    "MapSummary",
    "MapperOptions",
    "Model",
    "ModelImage",
    "NearPhoto",
    "PairKind",
    "PairOptions",
    "PairRow",
    "SearchResult",
    "SimilarPair",
    "Uncertainty",
    "Undistorted",
    "VerifiedPair",
    "VerifiedStore",
    "VerifyOptions",
    "adopt_model",
    "contradicted_pairs",
    "draw_localisation",
    "find_cameras",
    "find_pairs",
    "index_photos",
    "localize_photos",
    "map_photos",
    "read_model",
    "read_queries",
    "reconstruct",
    "refine_keypoints",
    "search_photos",
    "similar_photos",
    "undistort",
    "verify_matches",
    "weakest_links",
    "write_database",
    "write_localisation_report",
    "write_localisations",
    "write_map_report",
    "write_nerfstudio",
    "write_pairs",
    "write_ply",
    "write_text",
]
