"""The official package's names over PhotoGlue: change the imports, and a script for ``lightglue`` runs.

```python
from photoglue.compat import ALIKED, LightGlue, viz2d   # was: from lightglue import …
from photoglue.compat.utils import load_image, rbd      # was: from lightglue.utils import …
```

Dicts in, dicts out, a batch axis everywhere, the official option names and -1 for "off". What differs:

- Options that do not exist are errors, and weights load strictly.
- What is set on ``matcher.conf``, ``extractor.conf`` or ``extractor.preprocess_conf`` acts at the next call, for every
  option that is not built into the network; changing one that is built in is an error.
- SuperPoint and DoG-HardNet ask for ``allow_noncommercial=True``.
- Batches of any size work with exit and pruning on; ``stop`` is then the last exit.
- Images without keypoints give the same types as others.
- SIFT's scales and angles are in the units that its LightGlue was trained on.

``docs/migrating.md`` has the whole list.
"""

from photoglue.compat import viz2d
from photoglue.compat.aliked import ALIKED
from photoglue.compat.disk import DISK
from photoglue.compat.dog_hardnet import DoGHardNet
from photoglue.compat.lightglue import LightGlue
from photoglue.compat.sift import SIFT
from photoglue.compat.superpoint import SuperPoint
from photoglue.compat.utils import (
    Extractor,
    ImagePreprocessor,
    batch_to_device,
    load_image,
    match_pair,
    numpy_image_to_torch,
    rbd,
    read_image,
    resize_image,
)

__all__ = [
    "ALIKED",
    "DISK",
    "SIFT",
    "DoGHardNet",
    "Extractor",
    "ImagePreprocessor",
    "LightGlue",
    "SuperPoint",
    "batch_to_device",
    "load_image",
    "match_pair",
    "numpy_image_to_torch",
    "rbd",
    "read_image",
    "resize_image",
    "viz2d",
]
