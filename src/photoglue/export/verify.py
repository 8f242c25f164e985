"""Comparing an exported file with what PyTorch made of the same inputs."""

import importlib.metadata
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from photoglue.errors import WeightsError, require
from photoglue.export.cases import Case, read_cases
from photoglue.export.convert import graph_sha256
from photoglue.export.extractor_flavours import extractor_flavour
from photoglue.export.flavours import FLAVOURS
from photoglue.exported import Certificate, Check, OnnxFile, cases_path, certificate_path
from photoglue.files import from_json
from photoglue.weights import sha256_of

SAME_PX = 0.01
"""Distance within which two points count as the same, pixels."""


def verify(
    path: str | os.PathLike[str], *, providers: Sequence[str] | None = None, allow_noncommercial: bool = False
) -> Certificate:
    """Check an exported file here and now: its hashes, and its results against those of PyTorch that lie beside it.

    PyTorch computes nothing. ``faults`` of what is returned says what does not agree.

    Args:
        path: The file, beside which those with the endings .json and .npz lie that were written with it; or the
            folder of a staged matcher.
        providers: Providers of onnxruntime to run on; None: the fastest that are there.
        allow_noncommercial: Accept weights whose licence forbids commercial use.

    Returns:
        The certificate, with the checks of this run.

    Raises:
        WeightsError: If the file is cut off, changed, or none of ours.
        LicenceError: If the weights are non-commercial and that was not accepted.
        ConfigError: If the files beside it are missing.
        MissingExtra: If onnx or onnxruntime are not installed.
    """
    path = Path(path)
    if path.is_dir():
        from photoglue.export.staged import verify_staged

        return verify_staged(path, providers)
    file = OnnxFile(path, providers=providers, threads=1, allow_noncommercial=allow_noncommercial)
    found = sha256_of(path)
    model = require("onnx", extra="export").load(str(path))
    if graph_sha256(model) != file.certificate.graph_sha256:
        raise WeightsError(f"{str(path)!r} was changed after it was certified; export it again.")
    beside = certificate_path(path)
    if beside.is_file():
        other = from_json(Certificate, beside.read_text(), origin=repr(str(beside)))
        if other != replace(file.certificate, file_sha256=found):
            raise WeightsError(f"{str(beside)!r} is not the certificate of {str(path)!r} as it is; export it again.")
    return replace(run_checks(file, read_cases(cases_path(path))), file_sha256=found)


def run_checks(file: OnnxFile, cases: Sequence[Case]) -> Certificate:
    """The certificate of an open file with the checks of these cases."""
    role = file.certificate.role
    check = {"extractor": check_extractor, "pipeline": check_pipeline}.get(role, check_matcher)
    if role == "matcher" and not FLAVOURS[file.certificate.flavour].batched:  # no masks: photos have points there
        cases = [case for case in cases if all(case.inputs[f"kpts{i}"].shape[1] for i in "01")]
    return replace(
        file.certificate,
        checks=tuple(check(file, case) for case in cases),
        providers=file.providers,
        versions=versions(),
    )


def check_matcher(file: OnnxFile, case: Case) -> Check:
    """A matcher's answer to one case, compared."""
    flavour = FLAVOURS[file.certificate.flavour]
    m, n = (case.inputs[f"kpts{i}"].shape[1] for i in "01")
    expected, scores = case.expected["matches0"], case.expected["mscores0"]
    found, found_scores = flavour.matches(file.run(**flavour.adapted(case.inputs)), m)
    if flavour.outputs == ("matches0", "mscores0") and flavour.span is not None:  # scores of matches alone
        scores, found_scores = scores * (expected >= 0), found_scores * (expected >= 0)
    return compared(replace(case, expected={"matches0": expected, "mscores0": scores}), found, found_scores, (m, n))


def compared(case: Case, matches0: np.ndarray, scores0: np.ndarray, sizes: tuple[int, int]) -> Check:
    """A matcher's answer beside the one that was expected."""
    expected = case.expected["matches0"]
    errors = np.abs(scores0 - case.expected["mscores0"])
    return Check(
        name=case.name,
        real=case.real,
        sizes=sizes,
        count=int((expected >= 0).sum()),
        equal=float(np.mean(matches0 == expected)) if sizes[0] else 1.0,
        max_error=float(errors.max(initial=0)),
        mean_error=float(errors.mean()) if sizes[0] else 0.0,
    )


def check_extractor(file: OnnxFile, case: Case) -> Check:
    """An extractor's answer to one case, compared: each of PyTorch's points with the nearest one."""
    image = case.inputs["image"]
    flavour = extractor_flavour(file.certificate.flavour, file.certificate.features)
    found = flavour.general(file.run(**flavour.inputs(image)), (image.shape[3], image.shape[2]))
    kept = found["scores"] > 0
    points, found_points = case.expected["keypoints"], found["keypoints"][kept]
    distances = np.linalg.norm(points[:, None] - found_points[None], axis=2)
    # To the nearest one, of which there is one more, far away: for photos without points.
    distances = np.concatenate([distances, np.full((len(points), 1), np.inf)], axis=1)
    nearest, reach = distances.argmin(axis=1), distances.min(axis=1)
    same = reach < SAME_PX
    nearest, scores = nearest[same], case.expected["scores"]
    errors = np.abs(found["scores"][kept][nearest] - scores[same]) / max(1.0, scores.max(initial=0))
    described = np.abs(found["descriptors"][kept][nearest] - case.expected["descriptors"][same])
    most = max(len(points), len(found_points))
    return Check(
        name=case.name,
        real=case.real,
        sizes=(image.shape[3], image.shape[2]),
        count=len(points),
        equal=float(same.sum() / most) if most else 1.0,
        max_error=float(errors.max(initial=0)),
        mean_error=float(errors.mean()) if len(errors) else 0.0,
        position_error=float(reach[same].max(initial=0)),
        descriptor_error=float(described.max(initial=0)),
    )


def check_pipeline(file: OnnxFile, case: Case) -> Check:
    """A pipeline's answer to one pair of photos, compared: each of PyTorch's matches with the nearest one."""
    found = file.run(images=case.inputs["images"])
    (first, second), pairs = found["keypoints"][-2:], found["matches"][:, 0]  # the last pair, where there are more
    last = pairs == len(found["keypoints"]) // 2 - 1
    (_, rows0, rows1), scores = found["matches"][last].T, found["mscores"][last]
    ends, expected = np.hstack([first[rows0], second[rows1]]), case.expected["ends"]
    distances = np.abs(expected[:, None] - ends[None]).max(axis=2)
    distances = np.concatenate([distances, np.full((len(expected), 1), np.inf)], axis=1)
    nearest, reach = distances.argmin(axis=1), distances.min(axis=1)
    same = reach < 0.01
    errors = np.abs(scores[nearest[same]] - case.expected["mscores"][same])
    most = max(len(expected), len(ends))
    return Check(
        name=case.name,
        real=case.real,
        sizes=(first.shape[0], second.shape[0]),
        count=len(expected),
        equal=float(same.sum() / most) if most else 1.0,
        max_error=float(errors.max(initial=0)),
        mean_error=float(errors.mean()) if len(errors) else 0.0,
        position_error=float(reach[same].max(initial=0)),
    )


def versions() -> dict[str, str]:
    """Versions of the programs that take part."""
    found = {}
    for name in ("photoglue", "torch", "onnx", "onnxscript", "onnxruntime"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
