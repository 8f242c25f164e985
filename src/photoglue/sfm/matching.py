"""From photos to verified pairs: features, pairs worth matching, matches, and what geometry accepts of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from photoglue import batch
from photoglue.batch.extract import masks_in
from photoglue.datasets.photos import pairs_in, write_pairs
from photoglue.errors import ImageError
from photoglue.export import named_matcher
from photoglue.extractors.base import Extractor
from photoglue.extractors.named import named_extractor, source_digest
from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue import LightGlueConfig
from photoglue.pipeline import create_matcher
from photoglue.precision import choose_device
from photoglue.retrieval.vlad import VOCABULARY_OF_KIND
from photoglue.sfm.cameras import Cameras, find_cameras
from photoglue.sfm.cascade import Cascade
from photoglue.sfm.folder import names_unknown, turns_in
from photoglue.sfm.options import MapOptions
from photoglue.sfm.pairs import find_pairs
from photoglue.sfm.stages import Stages
from photoglue.sfm.transitive import transitive_pairs
from photoglue.sfm.turns import Turns, groups_apart, question, told_turns
from photoglue.sfm.unplaced import PairRow, rows_of
from photoglue.sfm.verify import verify_matches

Pair: TypeAlias = tuple[str, str]
FAILURES_TOLD = 5
"""Pairs that failed of which the notes give the reasons."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What works on photos and pairs, and where."""

    extractor: Extractor
    matcher: Matcher
    engine: batch.Engine
    own: Mapping[str, str | None]
    """What the features depend on besides: the source of a class of the user's."""
    turns: Mapping[str, int] = field(default_factory=dict)
    """By how many quarters photos are turned before the extractor sees them."""


def tools_of(options: MapOptions, extractor: Extractor | None, matcher: Matcher | None, engine: batch.Engine) -> Tools:
    """The tools that options name, or those that are given."""
    device = choose_device("cpu" if engine.for_cpus and options.device is None else options.device)
    source = source_digest(options.features) if extractor is None else None
    own = {} if source is None else {"source": source}
    extractor = extractor or _extractor(options).to(device)
    matcher = matcher or matcher_of(options, extractor.kind, device)
    return Tools(extractor=extractor, matcher=matcher, engine=engine, own=own)


def verified_pairs(
    paths: Mapping[str, Path],
    out: Path,
    options: MapOptions,
    tools: Tools,
    stages: Stages,
    failed: dict[str, str],
) -> tuple[tuple[PairRow, ...], Cameras, list[str], dict[str, Any]]:
    """As ``_matched``, once more with those photos turned that are turned against the others; and what is recorded."""
    auto = options.rotation == "auto"
    turns, asked = turns_in(out, paths) if auto else ({}, "")
    tools = replace(tools, turns=turns)
    rows, cameras, said = _matched(paths, out, options, tools, stages, failed)
    if auto and len(groups_apart(rows)) > 1 and asked != question(out / "features.h5", rows):
        turns = _turns(paths, rows, options, tools, stages)
        if turns != tools.turns:
            rows, cameras, said = _matched(paths, out, options, replace(tools, turns=turns), stages, failed)
        asked = question(out / "features.h5", rows)
    said += [told_turns(turns)] if turns else []
    return rows, cameras, said, {"turns": turns, "asked": asked}


def _turns(
    paths: Mapping[str, Path],
    rows: Sequence[PairRow],
    options: MapOptions,
    tools: Tools,
    stage: Stages,
) -> dict[str, int]:
    """The photos that are turned against the others, those of an older run among them."""
    masks = {} if options.masks is None else masks_in(options.masks, list(paths))[0]
    with stage("turn") as told:
        turns = Turns(photos=paths, extractor=tools.extractor, matcher=tools.matcher, masks=masks)
        return turns.find(rows, tools.turns, told)


def _matched(
    paths: Mapping[str, Path],
    out: Path,
    options: MapOptions,
    tools: Tools,
    stage: Stages,
    failed: dict[str, str],
) -> tuple[tuple[PairRow, ...], Cameras, list[str]]:
    """Photos → verified pairs, and the cameras of the photos that can be read; ``failed`` gets those that cannot."""
    engine, extractor = tools.engine, tools.extractor
    with suppress(ImageError):  # what is wrong with the options is said before the work
        find_cameras(dict(list(paths.items())[:1]), options.cameras)
    unknown = names_unknown(options.pairs, {*paths, *failed})
    with stage("extract") as told:
        extracted = batch.extract(
            paths,
            out / "features.h5",
            extractor,
            masks=options.masks,
            quarters=tools.turns,
            options=tools.own,
            engine=engine,
            progress=told,
        )
    failed |= extracted.failed
    usable = {name: path for name, path in paths.items() if name not in extracted.failed}
    cameras = find_cameras(usable, options.cameras)
    with stage("pairs") as told:
        pairs = _pairs(out, usable, options, extractor.kind, told)
    matched, verified = _compared(pairs, cameras, out, options, tools, stage)
    if options.pairs is None and len(pairs) < math.comb(len(usable), 2):
        more = transitive_pairs(rows_of(out / "verified.h5", pairs), pairs, options.pair_options.transitive)
        if more:
            pairs = sorted({*pairs, *more})
            write_pairs(pairs, out / "pairs.txt")
            matched, verified = _compared(pairs, cameras, out, options, tools, stage)
    said = [*unknown, *extracted.lines(), *matched.lines(), *verified.lines()]
    bad = {**verified.failed, **matched.failed}
    said += [f"{pair}: {reason}" for pair, reason in list(bad.items())[:FAILURES_TOLD]]
    return rows_of(out / "verified.h5", pairs), cameras, [*said, f"{len(bad)} pairs failed"] if bad else said


def _compared(
    pairs: Sequence[Pair], cameras: Cameras, out: Path, options: MapOptions, tools: Tools, stage: Stages
) -> tuple[batch.Summary, batch.Summary]:
    """Pairs → matches → verified pairs."""
    stores = out / "features.h5", out / "matches.h5"
    with stage("match") as told:
        matched = batch.match(pairs, *stores, tools.matcher, engine=tools.engine, progress=told)
    with stage("verify") as told:
        verified = verify_matches(
            pairs,
            *stores,
            out / "verified.h5",
            cameras,
            options=options.verify,
            engine=tools.engine,
            progress=told,
        )
    return matched, verified


def _extractor(options: MapOptions) -> Extractor:
    return named_extractor(
        options.features,
        allow_noncommercial=options.allow_noncommercial,
        max_keypoints=options.max_keypoints,
        resize=options.resize,
        ignore_alpha=options.ignore_alpha,
    )


def matcher_of(options: MapOptions, kind: str, device: Any) -> Matcher:
    """The matcher that options name, for features of a kind."""
    other = named_matcher(options.matcher)
    if other is not None:
        return other
    config = LightGlueConfig.realtime() if options.preset == "realtime" else None
    lightglue = create_matcher(kind, config, None, device, "auto")
    return Cascade(lightglue, resize=options.resize) if options.preset == "fast" else lightglue


def _pairs(
    out: Path, photos: Mapping[str, Path], options: MapOptions, kind: str, told: Callable[[int, int], None]
) -> list[Pair]:
    """The pairs to match, which are written to pairs.txt."""
    if options.pairs is not None:
        pairs = [pair for pair in pairs_in(options.pairs) if photos.keys() >= set(pair) and pair[0] != pair[1]]
    elif len(photos) < 2:
        pairs = []
    else:
        known = out / "features.h5" if kind in VOCABULARY_OF_KIND else None
        files = {"features": known, "descriptors": options.descriptors}
        pairs = find_pairs(photos, by=options.by, **files, options=options.pair_options, progress=told)
        pairs = sorted((min(pair), max(pair)) for pair in pairs)
    write_pairs(pairs, out / "pairs.txt")
    return pairs
