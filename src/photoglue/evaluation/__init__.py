"""How good methods are on data with a known truth: ``evaluate`` measures, and writes results and a report.

``measure_maps`` does so for 3D models, ``measure_tracking`` for videos.
"""

from photoglue.evaluation.comparison import Evaluation, evaluate
from photoglue.evaluation.jobs import Settings
from photoglue.evaluation.maps.colmap import ColmapSift, MapRun
from photoglue.evaluation.maps.mappers import PhotoGlueMapper
from photoglue.evaluation.maps.run import MapResult, measure_maps
from photoglue.evaluation.tracking.run import TrackingResult, TrackingScore, measure_tracking

__all__ = [
    "ColmapSift",
    "Evaluation",
    "MapResult",
    "MapRun",
    "PhotoGlueMapper",
    "Settings",
    "TrackingResult",
    "TrackingScore",
    "evaluate",
    "measure_maps",
    "measure_tracking",
]
