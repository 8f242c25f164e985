"""Matches of many pairs in one file."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from photoglue.errors import ConfigError, OutputError, ShapeError
from photoglue.store.file import Store, explained
from photoglue.structs import Matches


@final
class MatchStore(Store):
    """Matches of pairs of images by their names. One order of a pair is kept and either can be read."""

    format = "photoglue-matches"

    def pairs(self) -> list[tuple[str, str]]:
        """The pairs that have matches here, as they were written; in files of hloc "/" in a name reads "-"."""
        pairs = []
        for key in self.names_with("matches0"):
            with explained(f"{key!r} in {str(self.path)!r} is damaged"):
                attributes = self._file[key].attrs
                name0, _, name1 = key.partition("/")
                pairs.append((str(attributes.get("name0", name0)), str(attributes.get("name1", name1))))
        return pairs

    def __contains__(self, pair: tuple[str, str]) -> bool:
        return self._has(*pair) or self._has(*pair[::-1])

    def read(
        self, name0: str, name1: str, keypoints0: Float[Tensor, "m 2"], keypoints1: Float[Tensor, "n 2"]
    ) -> Matches:
        """The matches of a pair, in main memory, whichever of the two images came first when they were written.

        Args:
            name0: Name of image 0.
            name1: Name of image 1.
            keypoints0: Those of image 0 that were matched: the store keeps only their indices.
            keypoints1: Those of image 1 that were matched.

        Raises:
            ConfigError: If there are none of that pair.
            ShapeError: If there are more or fewer keypoints than were matched.
            OutputError: If they are damaged.
        """
        if not self._has(name0, name1):
            if not self._has(name1, name0):
                self.refuse_incomplete(_pair_key(name0, name1), "matches0")
                self.refuse_incomplete(_pair_key(name1, name0), "matches0")
                raise ConfigError(f"{str(self.path)!r} has no matches of {name0!r} and {name1!r}, in neither order.")
            return _swapped(self.read(name1, name0, keypoints1, keypoints0))
        arrays, attributes = self.read_group(_pair_key(name0, name1))
        with explained(f"{name0!r}, {name1!r} in {str(self.path)!r}: not complete or damaged"):
            matched = len(arrays["matches0"]), len(arrays.get("matches1", keypoints1))
        if matched != (len(keypoints0), len(keypoints1)):
            raise ShapeError(
                f"The matches of {name0!r} and {name1!r} in {str(self.path)!r} are of {matched[0]} and {matched[1]} "
                f"keypoints, not of these {len(keypoints0)} and {len(keypoints1)}. If the features were extracted "
                "again since, match again."
            )
        with explained(f"{name0!r}, {name1!r} in {str(self.path)!r}: not complete or damaged"):
            return _to_matches(arrays, attributes, keypoints0.cpu(), keypoints1.cpu())

    def indices(self, name0: str, name1: str, n0: int, n1: int) -> Int64[np.ndarray, "k 2"]:
        """Only which keypoints were matched: faster than ``read`` for many pairs; in either order.

        Args:
            name0: Name of image 0.
            name1: Name of image 1.
            n0: Keypoints of image 0.
            n1: Keypoints of image 1.

        Raises:
            ConfigError: If there are none of that pair.
            ShapeError: If there are more or fewer keypoints than were matched.
            OutputError: If they are damaged.
        """
        key = _pair_key(name0, name1)
        if not self._has(name0, name1):
            if self._has(name1, name0):
                swapped = self.indices(name1, name0, n1, n0)[:, ::-1]
                return swapped[swapped[:, 0].argsort()]
            raise ConfigError(f"{str(self.path)!r} has no matches of {name0!r} and {name1!r}, in neither order.")
        with explained(f"{name0!r}, {name1!r} in {str(self.path)!r}: not complete or damaged"):
            partners = np.asarray(self._file[f"{key}/matches0"][()]).astype(np.int64)
            rows = np.flatnonzero(partners >= 0)
            if len(partners) == n0 and partners.max(initial=-1) >= n1:
                raise ValueError(f"matches0 names partners up to {partners.max()}, of {n1} keypoints")
        if len(partners) != n0:
            raise ShapeError(
                f"The matches of {name0!r} and {name1!r} in {str(self.path)!r} are of {len(partners)} keypoints of the "
                f"first, not of {n0}. If the features were extracted again since, match again."
            )
        return np.stack([rows, partners[rows]], axis=1)

    def check(self, name0: str, name1: str) -> None:
        """Reads all that is stored of a pair, in either order.

        Raises:
            OutputError: If it is damaged.
        """
        self.read_group(_pair_key(*((name0, name1) if self._has(name0, name1) else (name1, name0))))

    def made_from_pair(self, name0: str, name1: str) -> dict[str, Any] | None:
        """What the writer recorded that the matches of a pair were made from, in this order; None: nothing."""
        return self.made_from(_pair_key(name0, name1)) if self._has(name0, name1) else None

    def write(self, name0: str, name1: str, matches: Matches, *, made_from: Mapping[str, Any] | None = None) -> None:
        """Keeps the matches of a pair, in place of any that it has in either order.

        Args:
            name0: Name of image 0.
            name1: Name of image 1.
            matches: On any device. Positions of refined matches are not kept: those read are of the keypoints.
            made_from: What they depend on, to be read with ``made_from_pair``; anything that JSON can hold.

        Raises:
            OutputError: If they cannot be written.
        """
        key = _pair_key(name0, name1)
        if self.holds(key, "matches0") and not self._has(name0, name1):
            raise OutputError(
                f"{name0!r} and {name1!r} cannot be stored: another pair has their place {key!r}, because hloc's "
                "layout turns '/' in names into '-'. Rename the images."
            )
        arrays = matches.to_hloc()
        arrays["matches1"] = matches.matches1.cpu().numpy().astype(np.int32)
        arrays["matching_scores1"] = matches.matching_scores1.detach().float().cpu().numpy()
        for name in ("prune0", "prune1"):
            if getattr(matches, name) is not None:
                arrays[name] = getattr(matches, name).cpu().numpy().astype(np.int32)
        counts = {
            name: getattr(matches, name)
            for name in ("stop", "n_layers", "precision")
            if getattr(matches, name) is not None
        }
        self.write_group(key, arrays, {"name0": name0, "name1": name1, **counts}, made_from)
        if name0 != name1 and self._has(name1, name0):
            with explained(f"The old matches of {name1!r} and {name0!r} cannot be removed from {str(self.path)!r}"):
                del self._file[_pair_key(name1, name0)]

    def _has(self, name0: str, name1: str) -> bool:
        key = _pair_key(name0, name1)
        if not self.holds(key, "matches0"):
            return False
        with explained(f"{key!r} in {str(self.path)!r} is damaged"):
            attributes = self._file[key].attrs
            return bool((attributes.get("name0", name0), attributes.get("name1", name1)) == (name0, name1))


def _pair_key(name0: str, name1: str) -> str:
    """Where hloc keeps a pair."""
    return f"{name0.replace('/', '-')}/{name1.replace('/', '-')}"


def _to_matches(
    arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any], keypoints0: Tensor, keypoints1: Tensor
) -> Matches:
    """Matches from the datasets of a pair; what hloc leaves out follows from what it keeps."""

    def tensor(name: str, kind: type) -> Tensor:
        return torch.from_numpy(arrays[name].astype(kind))

    matches0, scores0 = tensor("matches0", np.int64), tensor("matching_scores0", np.float32)
    if "matches1" in arrays:
        matches1, scores1 = tensor("matches1", np.int64), tensor("matching_scores1", np.float32)
    else:
        rows = torch.nonzero(matches0 >= 0).flatten()
        matches1, scores1 = torch.full((len(keypoints1),), -1), torch.zeros(len(keypoints1))
        matches1[matches0[rows]], scores1[matches0[rows]] = rows, scores0[rows]
    for name, partners, count in (("matches0", matches0, len(keypoints1)), ("matches1", matches1, len(keypoints0))):
        if partners.numel() and not -1 <= int(partners.min()) <= int(partners.max()) < count:
            raise ValueError(f"{name} names partners from {partners.min()} to {partners.max()}, of {count} keypoints")
    return Matches(
        matches0=matches0,
        matches1=matches1,
        matching_scores0=scores0,
        matching_scores1=scores1,
        keypoints0=keypoints0,
        keypoints1=keypoints1,
        prune0=tensor("prune0", np.int64) if "prune0" in arrays else None,
        prune1=tensor("prune1", np.int64) if "prune1" in arrays else None,
        stop=int(attributes["stop"]) if "stop" in attributes else None,
        n_layers=int(attributes["n_layers"]) if "n_layers" in attributes else None,
        precision=str(attributes["precision"]) if "precision" in attributes else None,
    )


def _swapped(matches: Matches) -> Matches:
    """The matches with image 0 and image 1 exchanged."""
    names = ("matches", "matching_scores", "keypoints", "prune")
    exchanged = {f"{name}{i}": getattr(matches, f"{name}{1 - i}") for name in names for i in (0, 1)}
    return replace(matches, **exchanged)
