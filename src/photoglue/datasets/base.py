"""A data set to evaluate on: pairs of images with their truths, and where they lie."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from photoglue.datasets.truths import Truth


@dataclass(frozen=True, kw_only=True)
class EvaluationPair:
    """Two images of a data set, and what is known of them."""

    scene: str
    """The scene or sequence that they belong to."""
    name0: str
    """Path of image 0 below the folder of the data set."""
    name1: str
    """Path of image 1 below the folder of the data set."""
    truth: Truth
    """What is known, in pixels of the images as read and turned."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Pairs of images with their truths, and where they lie."""

    name: str
    """Short name, for tables."""
    benchmark: str
    """A key of ``BENCHMARKS``: the kind of its truths."""
    folder: Path
    """What the names of images are relative to."""
    pairs: tuple[EvaluationPair, ...]
    """The pairs, in the order in which they are measured."""
    sizes: Mapping[str, tuple[int, int]]
    """(width, height) of each image as read and turned, pixels."""
    turns: Mapping[str, int] = field(default_factory=dict)
    """Images to turn counter-clockwise after reading, by so many quarters."""
    image_set: str
    """Which pairs these are, for people, such as "55 pairs of cameras.json"."""
    distractors: tuple[str, ...] = ()
    """Images in no pair that a search may find, too."""

    @property
    def images(self) -> list[str]:
        """All its images, sorted."""
        return sorted({name for pair in self.pairs for name in (pair.name0, pair.name1)} | set(self.distractors))

    def evenly(self, count: int) -> "DataSet":
        """The data set with so many pairs, evenly taken from all of them; as it is if it has no more."""
        total = len(self.pairs)
        if count >= total:
            return self
        kept = tuple(self.pairs[i * total // count] for i in range(count))
        return replace(self, pairs=kept, image_set=f"{count} of {self.image_set}")
