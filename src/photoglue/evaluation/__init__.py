"""How good methods are on data with a known truth: ``evaluate`` measures, and writes results and a report.

``measure_maps`` does so for 3D models, ``measure_localisation`` for places of single photos, ``measure_tracking`` for
videos.
"""

from photoglue.evaluation.comparison import Evaluation, evaluate
from photoglue.evaluation.jobs import Settings
from photoglue.evaluation.localising import LocalisationOptions, LocalisationResult, measure_localisation
from photoglue.evaluation.maps.colmap import ColmapSift, MapRun
from photoglue.evaluation.maps.mappers import PhotoGlueMapper
from photoglue.evaluation.maps.run import MapResult, measure_maps
from photoglue.evaluation.tracking.run import TrackingResult, TrackingScore, measure_tracking

__all__ = [
    "ColmapSift",
    "Evaluation",
    "LocalisationOptions",
    "LocalisationResult",
    "MapResult",
    "MapRun",
    "PhotoGlueMapper",
    "Settings",
    "TrackingResult",
    "TrackingScore",
    "evaluate",
    "measure_localisation",
    "measure_maps",
    "measure_tracking",
]
