"""Keyframes in a folder that `photoglue map` goes on from: pictures, features, matches, and a list."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

import numpy as np

from photoglue.batch.extract import made_from_photo
from photoglue.batch.match import made_from_features, matcher_options
from photoglue.datasets.photos import write_pairs
from photoglue.errors import ConfigError, OutputError, require
from photoglue.extractors.base import Extractor, extractor_options
from photoglue.files import from_json, to_json, write_whole
from photoglue.matchers.base import Matcher
from photoglue.store import FeatureStore, MatchStore
from photoglue.video.keyframes import Keyframe

FORMAT: Final = "photoglue-keyframes"
LIST: Final = "keyframes.json"


@dataclass(frozen=True, kw_only=True)
class KeyframeLink:
    """A keyframe matched with an earlier one."""

    name: str
    """The earlier keyframe's picture."""
    matches: int
    inliers: int
    """Matches that agree with one geometry."""
    rotation: tuple[tuple[float, ...], ...] | None = None
    """With known intrinsics, the 3 × 3 matrix R of X1 = R · X0 + t, from the earlier keyframe to this one."""
    translation: tuple[float, ...] | None = None
    """With known intrinsics, the direction of t, of length 1: its true length is unknown."""


@dataclass(frozen=True, kw_only=True)
class KeyframeEntry:
    """A keyframe in the list."""

    name: str
    """Its picture in images/."""
    frame: int
    """Its number in the video."""
    timestamp: float
    """Seconds."""
    reason: str
    """Why it is a keyframe: "first", "few tracks", "motion", "interval", "lost", "size", "asked"."""
    refound: int
    """Tracks that had ended and go on from here."""
    new: int
    """Tracks that begin here."""
    links: tuple[KeyframeLink, ...]


@dataclass(frozen=True, kw_only=True)
class KeyframeList:
    """What keyframes.json holds."""

    format: str = FORMAT
    source: str = ""
    """The video."""
    keyframes: tuple[KeyframeEntry, ...] = field(default_factory=tuple)


@final
class KeyframeFolder:
    """Writes keyframes: images/NUMBER.png, features.h5, matches.h5, pairs.txt, keyframes.json, masks/ if there are any.

    Pictures are PNG, so that features are exactly those of the files. The stores record what they were made from, as
    ``photoglue.batch`` does: `photoglue map` with the same options extracts and matches nothing again.

    Args:
        path: The folder; made, and empty.
        extractor: Its options are recorded.
        matcher: Its options are recorded.
        source: What the keyframes are of.

    Raises:
        ConfigError: If the folder is not empty.
        OutputError: If it cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str], extractor: Extractor, matcher: Matcher, source: str = "") -> None:
        self.path, self.source = Path(path), source
        self._entries: list[KeyframeEntry] = []
        try:
            if self.path.exists() and any(self.path.iterdir()):
                raise ConfigError(f"The folder for keyframes {str(self.path)!r} is not empty: give a new one.")
            (self.path / "images").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"The folder {str(self.path)!r} cannot be made: {error.strerror}.") from error
        self._features = FeatureStore.open(self.path / "features.h5", "w", options=extractor_options(extractor))
        self._matches = MatchStore.open(self.path / "matches.h5", "w", options=matcher_options(matcher))
        self._digests: dict[str, str] = {}

    def add(self, keyframe: Keyframe) -> None:
        """Write a keyframe, and its matches with earlier ones.

        Raises:
            OutputError: If it cannot be written.
        """
        name = name_of(keyframe.frame)
        assert keyframe.image is not None
        picture = self.path / "images" / name
        _write_png(picture, keyframe.image[:, :, ::-1])
        mask = None
        if keyframe.mask is not None:
            mask = self.path / "masks" / f"{name}.png"
            mask.parent.mkdir(exist_ok=True)
            _write_png(mask, keyframe.mask.astype(np.uint8) * 255)
        self._features.write(name, keyframe.features, made_from=made_from_photo(picture, mask))
        self._digests[name] = self._features.digest(name)
        links = []
        for link in keyframe.links:
            earlier = name_of(link.frame)
            made_from = made_from_features(self._digests[earlier], self._digests[name])
            self._matches.write(earlier, name, link.matches, made_from=made_from)
            pose = link.rotation is not None and link.translation is not None
            links.append(
                KeyframeLink(
                    name=earlier, matches=len(link.matches), inliers=int(link.inliers.sum()),
                    rotation=tuple(map(tuple, link.rotation.tolist())) if pose else None,  # type: ignore[union-attr]
                    translation=tuple(link.translation.tolist()) if pose else None,  # type: ignore[union-attr]
                )
            )  # fmt: skip
        self._features.commit()
        self._matches.commit()
        self._entries.append(
            KeyframeEntry(
                name=name, frame=keyframe.frame, timestamp=keyframe.timestamp, reason=keyframe.reason,
                refound=keyframe.refound, new=keyframe.new, links=tuple(links),
            )
        )  # fmt: skip

    def close(self) -> None:
        """Writes the lists and closes the stores.

        Raises:
            OutputError: If something cannot be written.
        """
        self._features.close()
        self._matches.close()
        write_pairs(
            [(link.name, entry.name) for entry in self._entries for link in entry.links], self.path / "pairs.txt"
        )
        content = KeyframeList(source=self.source, keyframes=tuple(self._entries))
        write_whole(self.path / LIST, (to_json(content, indent=1) + "\n").encode())


def read_keyframes(folder: str | os.PathLike[str]) -> KeyframeList:
    """The list of a folder of keyframes.

    Raises:
        ConfigError: If there is none, or it is damaged.
    """
    path = Path(folder) / LIST
    if not path.is_file():
        raise ConfigError(f"{str(folder)!r} is no folder of keyframes: it has no {LIST}.")
    found = from_json(KeyframeList, path.read_bytes(), origin=repr(str(path)))
    if found.format != FORMAT:
        raise ConfigError(f"{str(path)!r} is of {found.format!r}, not of {FORMAT!r}.")
    return found


def name_of(frame: int) -> str:
    """The name of a keyframe's picture."""
    return f"{frame:06d}.png"


def _write_png(path: Path, pixels: np.ndarray) -> None:
    cv2 = require("cv2", extra="video")
    ok, content = cv2.imencode(".png", np.ascontiguousarray(pixels), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise OutputError(f"{str(path)!r} cannot be written as PNG.")
    write_whole(path, content.tobytes())
