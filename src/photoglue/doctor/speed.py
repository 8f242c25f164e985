"""What makes matching slow without making it wrong."""

from collections.abc import Mapping

import torch

from photoglue.doctor.case import Case
from photoglue.doctor.finding import Evidence, Finding
from photoglue.matchers.lightglue import LightGlue
from photoglue.matchers.lightglue.engine.choice import matching_choice


def slow(case: Case) -> Finding | None:
    """A number format, or a device, that somebody asked for and that is slower than what this machine would choose."""
    device = torch.device(case.asked.options.get("device") or "cpu")
    if device.type == "cpu" and case.asked.options.get("device") is not None and torch.cuda.is_available():
        return _slow(
            case, "The photos are matched on the CPU, and there is a GPU", "Leave the device to PhotoGlue.", {}
        )
    asked = case.asked.options.get("precision", "auto")
    if asked == "auto" or not isinstance(case.pipeline.matcher, LightGlue):
        return None
    choice = matching_choice(case.pipeline.matcher.device)
    if asked == choice.chosen:
        return None
    return _slow(
        case,
        f"precision is {asked!r}, and {choice.chosen} is chosen here ({choice.reason})",
        "Leave the precision to PhotoGlue, which takes what is fastest here.",
        {"asked": asked, "chosen": choice.chosen},
    )


def _slow(case: Case, seen: str, advice: str, evidence: Mapping[str, Evidence]) -> Finding:
    command = case.asked.command("--precision", "auto")
    return Finding(cause="slow", seen=f"{seen}.", advice=advice, command=command, confidence=0.6, evidence=evidence)
