"""Results as files: a pair's matches as JSON, NPZ or CSV; each written whole or not at all."""

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from photoglue.errors import ConfigError, OutputError
from photoglue.structs import Matches

FORMATS = (".json", ".npz", ".csv")


def check_output(path: Path, formats: tuple[str, ...]) -> None:
    """Refuse what cannot be written, before the work is done.

    Raises:
        ConfigError: If the format is unknown.
        OutputError: If the folder does not exist or cannot be written to.
    """
    if path.suffix.lower() not in formats:
        raise ConfigError(f"{str(path)!r} has no known format; the name must end in {', '.join(formats)}.")
    if not path.parent.is_dir():
        raise OutputError(f"The folder {str(path.parent)!r} does not exist; make it first.")
    if path.is_dir():
        raise OutputError(f"{str(path)!r} is a folder; give a file name.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"The folder {str(path.parent)!r} cannot be written to.")


def write_matches(path: Path, matches: Matches, facts: Mapping[str, Any], inliers: np.ndarray | None) -> None:
    """Write matched points, their indices and scores, and what is needed to get them again.

    Args:
        path: Where; the ending chooses the format. An existing file is replaced once the new one is complete.
        matches: Points are in pixels of the images as read.
        facts: Anything that JSON can hold: images, options, versions. Left out of CSV.
        inliers: For each match, if they were verified.

    Raises:
        OutputError: If it cannot be written.
    """
    columns: dict[str, np.ndarray] = {
        "points0": matches.points0.cpu().numpy(),
        "points1": matches.points1.cpu().numpy(),
        "indices": matches.indices.cpu().numpy(),
        "scores": matches.scores.float().cpu().numpy(),
    }
    if inliers is not None:
        columns["inliers"] = inliers
    write_whole(path, {".json": _json, ".npz": _npz, ".csv": _csv}[path.suffix.lower()](columns, facts))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and move it into place, so that nobody ever sees half of it.

    Raises:
        OutputError: If it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}.") from error


def _json(columns: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> bytes:
    digits = {"points0": 4, "points1": 4, "scores": 6}
    lists = {
        name: np.round(values.astype(np.float64), digits[name]).tolist() if name in digits else values.tolist()
        for name, values in columns.items()
    }
    return (json.dumps({**facts, **lists}, indent=None) + "\n").encode()


def _npz(columns: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **columns, facts=np.array(json.dumps(facts)))
    return buffer.getvalue()


def _csv(columns: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> bytes:  # noqa: ARG001
    text = io.StringIO()
    writer = csv.writer(text)
    header = ["x0", "y0", "x1", "y1", "index0", "index1", "score"]
    writer.writerow([*header, "inlier"] if "inliers" in columns else header)
    for row, ((x0, y0), (x1, y1), (i, j), score) in enumerate(
        zip(columns["points0"], columns["points1"], columns["indices"], columns["scores"], strict=True)
    ):
        values = [f"{x0:.4f}", f"{y0:.4f}", f"{x1:.4f}", f"{y1:.4f}", int(i), int(j), f"{score:.6f}"]
        writer.writerow([*values, int(columns["inliers"][row])] if "inliers" in columns else values)
    return text.getvalue().encode()
