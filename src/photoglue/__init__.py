"""PhotoGlue: which points in two photos show the same thing.

```python
import photoglue
matches = photoglue.match_images("a.jpg", "b.jpg")
print(matches.points0, matches.points1, matches.scores)
```
"""

import photoglue.openmp  # noqa: F401  (before anything that imports torch)

# isort: split
from photoglue import batch
from photoglue.extractors import (
    ALIKED,
    DISK,
    EXTRACTORS,
    SIFT,
    ALIKEDConfig,
    DISKConfig,
    DoGHardNet,
    DoGHardNetConfig,
    Extractor,
    ExtractorConfig,
    SIFTConfig,
    SuperPoint,
    SuperPointConfig,
    create_extractor,
)
from photoglue.geometry.camera import PinholeCamera
from photoglue.image import ImageSource, load_image
from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, LightGlueShape
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.matching import match_images, match_pair
from photoglue.pair import PairResult, save_matches
from photoglue.pipeline import Pipeline
from photoglue.presets import preset
from photoglue.solvers.poselib import verify
from photoglue.solvers.verification import Verification
from photoglue.structs import Features, Matches, Remedies
from photoglue.version import __version__

__all__ = [
    "ALIKED",
    "DISK",
    "EXTRACTORS",
    "SIFT",
    "ALIKEDConfig",
    "DISKConfig",
    "DoGHardNet",
    "DoGHardNetConfig",
    "Extractor",
    "ExtractorConfig",
    "Features",
    "ImageSource",
    "LightGlue",
    "LightGlueConfig",
    "LightGlueShape",
    "Matcher",
    "Matches",
    "NearestNeighbor",
    "PairResult",
    "PinholeCamera",
    "Pipeline",
    "Remedies",
    "SIFTConfig",
    "SuperPoint",
    "SuperPointConfig",
    "Verification",
    "__version__",
    "batch",
    "create_extractor",
    "load_image",
    "match_images",
    "match_pair",
    "preset",
    "save_matches",
    "verify",
]
