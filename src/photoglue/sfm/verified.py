"""What geometry says of the matches of many pairs, in one file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, final

import numpy as np
from jaxtyping import Float64, UInt32

from photoglue.errors import ConfigError
from photoglue.store.file import Store, explained

MATRICES = ("fundamental", "essential", "homography")


class PairKind(IntEnum):
    """What the geometry of a pair is; the numbers are COLMAP's, the same in all of its versions."""

    DEGENERATE = 1
    """Too few matches agree with any geometry."""
    CALIBRATED = 2
    """Known focal lengths, an essential matrix."""
    UNCALIBRATED = 3
    """Unknown focal lengths, a fundamental matrix."""
    PLANAR = 4
    """A flat scene."""
    PANORAMIC = 5
    """The camera only turned: there is no parallax."""
    PLANAR_OR_PANORAMIC = 6
    """A flat scene, or a camera that only turned."""

    @property
    def label(self) -> str:
        """The name for people."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, kw_only=True, eq=False)
class VerifiedPair:
    """The geometry of two photos: in stored pixels with the centre of the top-left one at (0.5, 0.5), as COLMAP's."""

    kind: PairKind
    inliers: UInt32[np.ndarray, "k 2"]
    """Matches that agree: index of the keypoint in image 0, index in image 1."""
    n_matches: int
    """How many matches there were."""
    fundamental: Float64[np.ndarray, "3 3"] | None = None
    """x1ᵀ F x0 = 0 for homogeneous pixels."""
    essential: Float64[np.ndarray, "3 3"] | None = None
    """x1ᵀ E x0 = 0 for directions in the cameras."""
    homography: Float64[np.ndarray, "3 3"] | None = None
    """Takes homogeneous pixels of image 0 to those of image 1."""

    def __len__(self) -> int:
        """The number of inliers."""
        return len(self.inliers)

    @property
    def good(self) -> bool:
        """Whether the pair is one that a model can be built from."""
        return self.kind != PairKind.DEGENERATE


@final
class VerifiedStore(Store):
    """Geometry of pairs of photos by their names, of which the first is the one that sorts first."""

    format = "photoglue-verified"

    def pairs(self) -> list[tuple[str, str]]:
        """The pairs in the file, good or not, sorted."""
        found = []
        for key in self.names_with("inliers"):
            with explained(f"{key!r} in {str(self.path)!r} is damaged"):
                attributes = self._file[key].attrs
                found.append((str(attributes["name0"]), str(attributes["name1"])))
        return sorted(found)

    def __contains__(self, pair: tuple[str, str]) -> bool:
        return self.holds(_key(*pair), "inliers")

    def read(self, name0: str, name1: str) -> VerifiedPair:
        """The geometry of a pair; ``name0`` sorts before ``name1``.

        Raises:
            ConfigError: If there is none of that pair.
            OutputError: If it is damaged.
        """
        if (name0, name1) not in self:
            raise ConfigError(f"{str(self.path)!r} has no geometry of {name0!r} and {name1!r}.")
        arrays, attributes = self.read_group(_key(name0, name1))
        with explained(f"{name0!r}, {name1!r} in {str(self.path)!r}: not complete or damaged"):
            return VerifiedPair(
                kind=PairKind(int(attributes["kind"])),
                inliers=arrays["inliers"].reshape(-1, 2),
                n_matches=int(attributes["n_matches"]),
                **{name: arrays.get(name) for name in MATRICES},
            )

    def counts(self, name0: str, name1: str) -> tuple[PairKind, int, int] | None:
        """Kind, number of matches and of inliers of a pair, without reading them; None: there is none of that pair.

        Raises:
            OutputError: If it is damaged.
        """
        key = _key(name0, name1)
        with explained(f"{name0!r}, {name1!r} in {str(self.path)!r}: not complete or damaged"):
            if key not in self._file:
                return None
            group = self._file[key]
            kind, n_matches = PairKind(int(group.attrs["kind"])), int(group.attrs["n_matches"])
            return kind, n_matches, int(group["inliers"].size) // 2

    def made_from_pair(self, name0: str, name1: str) -> dict[str, Any] | None:
        """What the writer recorded that the geometry of a pair was made from; None: nothing."""
        return self.made_from(_key(name0, name1))

    def write(self, name0: str, name1: str, found: VerifiedPair, *, made_from: Mapping[str, Any] | None = None) -> None:
        """Keeps the geometry of a pair, in place of any that it has; ``name0`` sorts before ``name1``.

        Raises:
            OutputError: If it cannot be written.
        """
        arrays = {name: getattr(found, name) for name in MATRICES if getattr(found, name) is not None}
        attributes = {"name0": name0, "name1": name1, "kind": int(found.kind), "n_matches": found.n_matches}
        self.write_group(_key(name0, name1), {"inliers": found.inliers, **arrays}, attributes, made_from)


def _key(name0: str, name1: str) -> str:
    """A short name, because those of photos may hold slashes."""
    return hashlib.sha256(f"{name0}\n{name1}".encode()).hexdigest()[:24]
