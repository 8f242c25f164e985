"""Two photos matched for the page, and the command and the Python code that do the same."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from photoglue.matching import match_pair
from photoglue.pair import PairResult
from photoglue.presets import EXTRACTION, preset
from photoglue.web.options import REMEDIES, MatchRequest, WebOptions
from photoglue.web.photos import HeldPhoto

Masks: TypeAlias = tuple[HeldPhoto | None, ...]
"""A mask for each photo; None: no mask."""
NO_MASKS: Masks = (None, None)
NO_FILES: Mapping[str, str] = MappingProxyType({})

DEFAULTS: dict[str, Any] = {
    "features": "aliked",
    "max_keypoints": 2048,
    "resize": 1024,
    **dict.fromkeys(REMEDIES, "auto"),
    "refine": None,
}
"""What `photoglue match` and ``match_pair`` do if nothing is said."""


@dataclass(frozen=True, kw_only=True)
class MatchAnswer:
    """What the page draws."""

    matches: Mapping[str, Any]
    """What `photoglue match --out` writes into a .json file."""
    keypoints0: list[list[float]]
    keypoints1: list[list[float]]
    prune0: list[int] | None
    prune1: list[int] | None
    seconds: Mapping[str, float]
    command: str
    python: str


def match_held(
    photos: tuple[HeldPhoto, HeldPhoto], request: MatchRequest, options: WebOptions, masks: Masks = NO_MASKS
) -> MatchAnswer:
    """Match two photos as a page asks.

    Args:
        photos: The photos.
        request: How they are matched.
        options: What holds for all jobs.
        masks: Their masks, as ``HeldPhotos.add_mask`` made them.

    Raises:
        ConfigError: If the request has values that are not offered, or there is no such device.
        ImageError: If a photo cannot be read.
        WeightsError: If weights cannot be had.
    """
    request.check(options)
    chosen: dict[str, Any] = preset(request.preset, request.features)
    chosen |= {name: getattr(request, name) for name in DEFAULTS}
    chosen |= {"device": options.device, "precision": options.precision, "verify": request.verify}
    chosen["allow_noncommercial"] = options.allow_noncommercial
    chosen |= {f"mask{number}": mask.opened() for number, mask in enumerate(masks) if mask is not None}
    result = match_pair(photos[0].opened(), photos[1].opened(), **chosen).cpu()
    return answer(replace(result, paths=(photos[0].path, photos[1].path)), request, options, masks)


def answer(result: PairResult, request: MatchRequest, options: WebOptions, masks: Masks = NO_MASKS) -> MatchAnswer:
    """What the page is told of a result, whose paths are what a command line calls its photos."""
    paths = str(result.paths[0]), str(result.paths[1])
    files = {f"mask{number}": mask.path for number, mask in enumerate(masks) if mask is not None}
    told = {name: getattr(request, name) for name in (*DEFAULTS, "preset", "verify")}
    matches = result.matches
    points = matches.keypoints0, matches.keypoints1
    keypoints = [[[round(x, 2), round(y, 2)] for x, y in each.tolist()] for each in points]
    return MatchAnswer(
        matches=json.loads(result.to_json(told)),
        keypoints0=keypoints[0],
        keypoints1=keypoints[1],
        prune0=None if matches.prune0 is None else matches.prune0.tolist(),
        prune1=None if matches.prune1 is None else matches.prune1.tolist(),
        seconds=dict(result.seconds),
        command=command_for(paths, request, options, files),
        python=python_for(paths, request, options, files),
    )


def command_for(
    paths: tuple[str, str], request: MatchRequest, options: WebOptions, masks: Mapping[str, str] = NO_FILES
) -> str:
    """The line for a shell that matches the same photos in the same way, and writes what the page saves."""
    words = ["photoglue", "match", *(f"./{path}" if path.startswith("-") else path for path in paths)]
    for name, value in {**_options(request, options), **masks}.items():
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return shlex.join([*words, "--out", "matches.json", "--plot", "matches.png"])


def python_for(
    paths: tuple[str, str], request: MatchRequest, options: WebOptions, masks: Mapping[str, str] = NO_FILES
) -> str:
    """The lines of Python that do the same."""
    chosen = {**_options(request, options), **masks}
    name = chosen.pop("preset", None)
    instead = {key: chosen.pop(key) for key in EXTRACTION.get(request.preset, {}) if key in chosen}
    arguments = [repr(path) for path in paths] + [f"{key}={value!r}" for key, value in chosen.items()]
    if name is not None:
        features = f", {request.features!r}" if "features" in chosen else ""
        arguments.append(f"**photoglue.preset({name!r}{features})" + (f" | {instead!r}" if instead else ""))
    call = f"photoglue.match_pair(\n    {', '.join(arguments)}\n)"
    return f"import photoglue\n\nresult = {call}\nprint(len(result.matches))"


def _options(request: MatchRequest, options: WebOptions) -> dict[str, Any]:
    """What differs from the defaults, by the names that command line and Python share."""
    usual = {**DEFAULTS, **EXTRACTION.get(request.preset, {})}
    chosen = {name: getattr(request, name) for name in DEFAULTS if getattr(request, name) != usual[name]}
    if request.preset != "default":
        chosen["preset"] = request.preset
    if request.verify is not None:
        chosen["verify"] = request.verify
    if options.device is not None:
        chosen["device"] = options.device
    if options.precision != "auto":
        chosen["precision"] = options.precision
    if options.allow_noncommercial:
        chosen["allow_noncommercial"] = True
    return chosen
