"""Vectors of many photos in little memory: int8, compared in blocks, the best few of each row kept."""

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Float32, Int8, Int64
from torch import Tensor
from torch.nn.functional import normalize

from photoglue.errors import ConfigError, OutputError, ShapeError, require
from photoglue.files import write_whole

FORMAT, VERSION = "photoglue-index", 1
ROWS_AT_ONCE = 1024
"""Rows that are turned into float32 at a time: 64 MB of VLAD-128."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """The best photos for each query, the best first."""

    rows: Int64[Tensor, "q k"]
    """Which photos, as rows of the index."""
    scores: Float32[Tensor, "q k"]
    """Cosine of the two vectors, in [-1, 1]."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoIndex:
    """Vectors of photos by name, to be searched.

    Raises:
        ShapeError: If there is not one vector and scale for each name.
    """

    names: tuple[str, ...]
    """Names of the photos, such as their paths below a folder."""
    codes: Int8[Tensor, "n f"]
    """Vectors, each divided by its scale."""
    scales: Float32[Tensor, " n"]
    """What a row is multiplied by to get a vector of unit length."""
    made_by: str
    """What made the vectors, such as ``Vocabulary.name``: a query must be made by the same."""
    digests: tuple[str, ...] = ()
    """What each vector was made from, such as the content of its photo; empty: not recorded."""
    root: str = ""
    """The folder that names are relative to; empty: not recorded."""

    def __post_init__(self) -> None:
        counts = {len(self.names), len(self.codes), len(self.scales), len(self.digests or self.names)}
        if len(counts) > 1 or len(set(self.names)) < len(self.names):
            raise ShapeError(
                f"{len(self.names)} names ({len(set(self.names))} different), {len(self.codes)} vectors, "
                f"{len(self.scales)} scales and {len(self.digests)} digests make no index: one of each a photo."
            )

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of_vectors(
        cls, names: Sequence[str], vectors: Float[Tensor, "n f"], made_by: str, digests: Sequence[str] = ()
    ) -> "PhotoIndex":
        """An index of vectors, which are given unit length and rounded to int8.

        Args:
            names: Different names of the photos.
            vectors: A row a photo; zeros are like nothing.
            made_by: What made them.
            digests: What each was made from.

        Raises:
            ShapeError: If there is not one vector for each name, or a name is there twice.
        """
        rows = [quantised(block) for block in torch.split(vectors, ROWS_AT_ONCE)] or [quantised(vectors)]
        codes, scales = (torch.cat(parts) for parts in zip(*rows, strict=True))
        return cls(names=tuple(names), codes=codes, scales=scales, made_by=made_by, digests=tuple(digests))

    def vectors(self, first: int, last: int) -> Float32[Tensor, "n f"]:
        """The vectors of rows ``first`` to ``last - 1``, of unit length but for the rounding."""
        return self.codes[first:last].float() * self.scales[first:last, None]

    @torch.no_grad()
    def search(self, queries: Float[Tensor, "q f"], made_by: str, top: int = 10) -> Ranking:
        """The photos whose vectors have the largest cosines with those of some queries.

        Args:
            queries: A row a query.
            made_by: What made them; it must be what made the index.
            top: How many photos for each; fewer if the index has fewer.

        Raises:
            ConfigError: If the index was made by something else.
        """
        if made_by != self.made_by or queries.shape[1] != self.codes.shape[1]:
            raise ConfigError(
                f"The index has vectors of {self.made_by!r}, {self.codes.shape[1]} long, and the query is of "
                f"{made_by!r}, {queries.shape[1]} long: they cannot be compared. Make the index anew, or use its "
                "features for the query."
            )
        return self._best(normalize(queries.float(), dim=1), top, None)

    @torch.no_grad()
    def neighbors(self, top: int = 20) -> Ranking:
        """For each photo of the index the others that are most like it."""
        parts = []
        for first in range(0, len(self), ROWS_AT_ONCE):
            parts.append(self._best(self.vectors(first, first + ROWS_AT_ONCE), top, first))
        if not parts:
            return Ranking(rows=torch.zeros(0, 0, dtype=torch.int64), scores=torch.zeros(0, 0))
        return Ranking(rows=torch.cat([part.rows for part in parts]), scores=torch.cat([part.scores for part in parts]))

    def _best(self, queries: Float32[Tensor, "q f"], top: int, own: int | None) -> Ranking:
        """The best rows of all, block by block; queries are the rows from ``own`` on, which do not find themselves."""
        count = max(0, min(top, len(self) - (own is not None)))
        scores = queries.new_zeros(len(queries), 0)
        rows = torch.zeros(len(queries), 0, dtype=torch.int64)
        for first in range(0, len(self), ROWS_AT_ONCE):
            found = queries @ self.vectors(first, first + ROWS_AT_ONCE).T
            if own is not None and first == own:
                found.fill_diagonal_(-torch.inf)
            best, place = found.topk(min(count, found.shape[1]), dim=1)
            scores, rows = torch.cat([scores, best], dim=1), torch.cat([rows, place + first], dim=1)
            scores, order = scores.sort(dim=1, descending=True, stable=True)
            scores, rows = scores[:, :count], rows.gather(1, order)[:, :count]
        return Ranking(rows=rows, scores=scores)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index to an HDF5 file, whole or not at all.

        Raises:
            OutputError: If it cannot be written.
            MissingExtra: If h5py is not installed.
        """
        h5py, content = require("h5py", extra="store"), io.BytesIO()
        with h5py.File(content, "w") as file:
            file.attrs.update({"format": FORMAT, "version": VERSION})
            texts = {key: getattr(self, key) for key in ("names", "digests", "made_by", "root")}
            file["texts"] = np.void(json.dumps(texts).encode())
            file["codes"], file["scales"] = self.codes.numpy(), self.scales.numpy()
        write_whole(Path(path), content.getbuffer())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "PhotoIndex":
        """The index in a file that ``save`` wrote.

        Raises:
            OutputError: If there is no such file, it is damaged, or it is something else.
            MissingExtra: If h5py is not installed.
        """
        h5py = require("h5py", extra="store")
        try:
            with h5py.File(path, "r") as file:
                if file.attrs.get("format") != FORMAT:
                    raise ValueError(f"it holds {file.attrs.get('format', 'something else')!r}")
                if int(file.attrs["version"]) > VERSION:
                    raise ValueError(f"its version {file.attrs['version']} is newer than this PhotoGlue: update it")
                texts = json.loads(bytes(file["texts"][()]))
                texts = {key: tuple(text) if isinstance(text, list) else text for key, text in texts.items()}
                content: dict[str, Any] = {key: torch.from_numpy(file[key][()]) for key in ("codes", "scales")}
                return cls(**texts, **content)
        except (OSError, LookupError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{os.fspath(path)!r} is no index of photos that can be read: {error}. Give another file."
            ) from error


def quantised(vectors: Float[Tensor, "n f"]) -> tuple[Int8[Tensor, "n f"], Float32[Tensor, " n"]]:
    """Rows as int8, and what each is multiplied by to have unit length."""
    unit = normalize(vectors.float(), dim=1)
    steps = unit.abs().amax(dim=1).clamp(min=1e-12) / 127 if unit.numel() else unit.new_ones(len(unit))
    codes = (unit / steps[:, None]).round()
    lengths = codes.norm(dim=1)
    return codes.to(torch.int8), torch.where(lengths > 0, 1 / lengths.clamp(min=1e-12), 0.0)
