"""From a folder of photos to a 3D model with the place of every camera.

```python
from photoglue import sfm

summary = sfm.map_photos("photos", out="map")
print(summary.model.placed, summary.unplaced)
```
"""

from photoglue.sfm.cameras import CameraOptions, Cameras, ColmapCamera, find_cameras
from photoglue.sfm.cascade import Cascade
from photoglue.sfm.database import write_database
from photoglue.sfm.map import MapOptions, MapSummary, map_photos
from photoglue.sfm.reconstruct import reconstruct
from photoglue.sfm.unplaced import PairRow
from photoglue.sfm.verified import PairKind, VerifiedPair, VerifiedStore
from photoglue.sfm.verify import VerifyOptions, verify_matches
from photoglue.solvers.colmap_mapping import ColmapModel, MapperOptions

__all__ = [
    "CameraOptions",
    "Cameras",
    "Cascade",
    "ColmapCamera",
    "ColmapModel",
    "MapOptions",
    "MapSummary",
    "MapperOptions",
    "PairKind",
    "PairRow",
    "VerifiedPair",
    "VerifiedStore",
    "VerifyOptions",
    "find_cameras",
    "map_photos",
    "reconstruct",
    "verify_matches",
    "write_database",
]
