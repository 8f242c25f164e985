"""Why photos do not match, and what is wrong with an installation."""

from photoglue.doctor.diagnose import FeaturesSource, diagnose
from photoglue.doctor.finding import Cause, Diagnosis, Finding
from photoglue.doctor.given import GivenFeatures, read_features
from photoglue.doctor.installation import Check, check_installation

__all__ = [
    "Cause",
    "Check",
    "Diagnosis",
    "FeaturesSource",
    "Finding",
    "GivenFeatures",
    "check_installation",
    "diagnose",
    "read_features",
]
