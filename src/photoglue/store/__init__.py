"""Features and matches of many images in HDF5 files, laid out as hloc does, so that either can read the other's.

A group for each image or pair, written under a temporary name and moved into place: what is there is complete. A
group named "db/1.jpg" lies in a group "db". The root says what the file is and which options made it:

```
features.h5   format = "photoglue-features", version = 1, options = JSON
└── IMAGE     kind; keypoints n × 2, descriptors d × n, scores n, image_size 2, [scales n, orientations n]
matches.h5    format = "photoglue-matches", version = 1, options = JSON
└── NAME0/NAME1  each "/" in a name as "-"; name0, name1, [stop, n_layers];
              matches0 m, matching_scores0 m, matches1 n, matching_scores1 n, [prune0 m, prune1 n]
```

A group made by ``photoglue.batch`` says in the attribute made_from what it was made from, as JSON. All numbers are
float32 or int32. hloc's own files have only the datasets, of float16 and int16, and no attributes.
"""

from photoglue.store.features import FeatureStore
from photoglue.store.file import Store, atomic_store
from photoglue.store.matches import MatchStore

__all__ = ["FeatureStore", "MatchStore", "Store", "atomic_store"]
