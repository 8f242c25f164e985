"""Many photos → their places, in files; what is there already is not done again."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from photoglue.batch.extract import Photos, digest_of_photo, masks_in
from photoglue.errors import ConfigError, ImageError, OutputError
from photoglue.files import as_json, digest_of, digest_of_file, from_json, to_json, whole_lines
from photoglue.geometry.camera import PinholeCamera
from photoglue.image import read_image_size
from photoglue.sfm.cameras import ColmapCamera
from photoglue.sfm.indexing import named_photos
from photoglue.sfm.localize import Localizer
from photoglue.sfm.locating.answer import Localisation
from photoglue.sfm.locating.writing import LocalisationRecord, read_queries, write_localisations
from photoglue.version import __version__

JOURNAL = "localised.jsonl"
"""File with an answer in each line, in the order in which they were found."""


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A line of the journal."""

    made_from: str
    record: LocalisationRecord


def localize_photos(
    photos: Photos,
    localizer: Localizer,
    out: str | os.PathLike[str] | None = None,
    *,
    cameras: str | os.PathLike[str] | Mapping[str, ColmapCamera | PinholeCamera] | None = None,
    masks: str | os.PathLike[str] | Mapping[str, Path] | None = None,
    sequence: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Localisation, ...]:
    """Where many photos were taken; as ``photoglue localize`` does.

    If this is interrupted, the same call goes on from there: answers are kept one by one in ``out/localised.jsonl``,
    and hold as long as photo, mask, camera, map and options are the same. ``write_localisations`` says what is in
    ``out`` at the end.

    Args:
        photos: A folder, whose photos get their paths below it as names; a photo; a sequence of both; or photos by
            name.
        localizer: The map to place them in.
        out: A folder for the answers, made if need be; None: none is written.
        cameras: What is known of the cameras: for all photos numbers as ``PinholeCamera.parse`` takes them ("f" or
            "fx,fy,cx,cy" in upright pixels); the file of hloc's ``queries_with_intrinsics.txt``, whose photos alone are
            placed then; or cameras by the names of photos.
        masks: A folder with masks of the photos, as ``batch.extract`` takes it, or masks by the names of photos.
        sequence: The photos, in the order of their names, were taken one after the other: each is looked for near the
            one before.
        progress: Called with (photos done, photos in all).

    Returns:
        An answer for each photo, in order; also for those that cannot be read.

    Raises:
        ConfigError: If there is no photo, or a camera or mask does not fit.
        ImageError: If a file or folder of ``photos`` does not exist.
        OutputError: If a file cannot be written. What was done is kept.
    """
    _, named = named_photos(photos)
    if not named:
        raise ConfigError("There are no photos to place.")
    known = _cameras(cameras, named)
    if isinstance(cameras, str | os.PathLike) and Path(cameras).is_file():
        absent = [name for name in known if name not in named]
        if absent:
            raise ConfigError(f"{os.fspath(cameras)!r} names {absent[0]!r}, which is not among the photos.")
        named = {name: named[name] for name in known}
    if masks is not None and not isinstance(masks, Mapping):
        masks, _ = masks_in(masks, list(named))
    journal = _Journal(None if out is None else Path(out), localizer, sequence)
    answers: list[Localisation] = []
    before: Localisation | None = None
    for done, (name, path) in enumerate(named.items(), start=1):
        camera, mask = known.get(name), (masks or {}).get(name)
        prior = before if sequence else None
        try:
            made_from = journal.made_from(path, mask, camera, prior)
            answer = journal.known(name, made_from) or localizer.localize(
                path, camera=camera, prior=prior, mask=mask, name=name
            )
        except ImageError as error:
            answers.append(Localisation(name=name, localised=False, reason=str(error)))
        else:
            journal.keep(answer, made_from)
            answers.append(answer)
            before = answer if answer.localised else None
        if progress is not None:
            progress(done, len(named))
    if out is not None:
        write_localisations(answers, Path(out))
    return tuple(answers)


class _Journal:
    """The answers that a folder has, and what they were made from; without a folder none are kept."""

    def __init__(self, out: Path | None, localizer: Localizer, sequence: bool) -> None:
        self._path = None if out is None else out / JOURNAL
        self._rows: dict[tuple[str, str], Localisation] = {}
        if out is None or self._path is None:
            return
        self._run = digest_of([_digest_of_map(localizer), localizer.options, sequence, __version__])
        try:
            out.mkdir(parents=True, exist_ok=True)
            rows, length = whole_lines(self._path, lambda row: from_json(_Line, row, origin=JOURNAL))
            if self._path.exists():
                os.truncate(self._path, length)
        except OSError as error:
            raise OutputError(f"The folder {str(out)!r} cannot be used: {error.strerror}.") from error
        for row in rows:
            line = from_json(_Line, row, origin=JOURNAL)
            self._rows[line.record.name, line.made_from] = line.record.answer()

    def made_from(
        self, photo: Path, mask: Path | None, camera: ColmapCamera | PinholeCamera | None, prior: Localisation | None
    ) -> str:
        """A name for all that an answer depends on.

        Raises:
            ImageError: If the photo cannot be read.
        """
        digest = digest_of_photo(photo)
        if self._path is None:
            return ""
        pose = None if prior is None or prior.cam_from_world is None else prior.cam_from_world.tolist()
        return digest_of([self._run, digest, None if mask is None else digest_of_photo(mask), as_json(camera), pose])

    def known(self, name: str, made_from: str) -> Localisation | None:
        """The answer, if it is there."""
        return self._rows.get((name, made_from))

    def keep(self, answer: Localisation, made_from: str) -> None:
        """Adds an answer."""
        if self._path is None or (answer.name, made_from) in self._rows:
            return
        line = to_json(_Line(made_from=made_from, record=LocalisationRecord.of(answer))) + "\n"
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise OutputError(f"{str(self._path)!r} cannot be written: {error.strerror}.") from error


def _digest_of_map(localizer: Localizer) -> str:
    model = localizer.map.folder / "sparse" / "0"
    files = [digest_of_file(model / f"{name}.bin") for name in ("cameras", "images", "points3D")]
    return digest_of([files, localizer.map.digests])


def _cameras(
    cameras: str | os.PathLike[str] | Mapping[str, ColmapCamera | PinholeCamera] | None, photos: Mapping[str, Path]
) -> Mapping[str, ColmapCamera | PinholeCamera]:
    """The cameras by the names of photos."""
    if cameras is None or isinstance(cameras, Mapping):
        return cameras or {}
    if Path(cameras).is_file():
        return read_queries(Path(cameras))
    if Path(cameras).suffix == ".txt":
        raise ConfigError(f"There is no file {os.fspath(cameras)!r} with cameras of photos.")
    found = {}
    for name, path in photos.items():
        try:
            size = read_image_size(path)
        except ImageError:  # said when it is its turn
            continue
        found[name] = PinholeCamera.parse(os.fspath(cameras), size)
    return found
