"""Many photos: features of photos into one file, matches of pairs into another.

```python
from photoglue import batch

batch.extract("photos", "feats.h5", extractor)
batch.match([("a.jpg", "b.jpg")], "feats.h5", "matches.h5", matcher)
```

Both go on where they were interrupted, and do again what is stale: an entry is up to date if the same photo and mask,
or the same two sets of features, gave it, with the same options and weights.
"""

from photoglue.batch.engine import Engine, Inline, Processes, Threads
from photoglue.batch.extract import extract
from photoglue.batch.filling import Summary
from photoglue.batch.match import match
from photoglue.batch.ray import Ray

__all__ = ["Engine", "Inline", "Processes", "Ray", "Summary", "Threads", "extract", "match"]
