"""How good methods are on data with a known truth: ``evaluate`` measures, and writes results and a report."""

from photoglue.evaluation.comparison import Evaluation, evaluate
from photoglue.evaluation.jobs import Settings

__all__ = ["Evaluation", "Settings", "evaluate"]
