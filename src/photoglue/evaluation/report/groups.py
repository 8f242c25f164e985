"""Results by benchmark and data set: what a report shows together, under which names and in which colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from photoglue.errors import ConfigError
from photoglue.evaluation.benchmarks.base import Benchmark
from photoglue.evaluation.benchmarks.metric import Metric
from photoglue.evaluation.benchmarks.table import benchmark_named
from photoglue.evaluation.results import ProtocolCard, Result, check_comparable


@dataclass(frozen=True, kw_only=True)
class Group:
    """The results that share a table: one benchmark on one data set."""

    benchmark: Benchmark
    """What was measured."""
    dataset: str
    """Name of the data set."""
    results: tuple[Result, ...]
    """The results, in the order in which they came."""
    series: tuple[int, ...]
    """The colour of each in the plots."""
    badges: tuple[str, ...]
    """The letter of the protocol card of each; empty text if all have the same card."""
    notes: tuple[str, ...]
    """What differs between their cards."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each in plots and captions: the method, and its card where they differ."""
        pairs = zip(self.results, self.badges, strict=True)
        return tuple(f"{result.method} [{badge}]" if badge else result.method for result, badge in pairs)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All values that one of the results has."""
        names = dict.fromkeys(name for result in self.results for name in result.values)
        return tuple(map(self.benchmark.metric, names))

    @property
    def headline(self) -> Metric | None:
        """The value that stands for the data set: the benchmark's, or the first that can be better or worse."""
        metrics = [metric for metric in self.metrics if metric.better is not None]
        return next((metric for metric in metrics if metric.name == self.benchmark.headline), next(iter(metrics), None))

    @property
    def ranking(self) -> tuple[int, ...]:
        """The results that have the headline, the best first; all as they came if there is none."""
        metric = self.headline
        if metric is None:
            return tuple(range(len(self.results)))
        sign = -1.0 if metric.better == "higher" else 1.0
        keys = [sign * result.values.get(metric.name, math.nan) for result in self.results]
        return tuple(sorted((i for i, key in enumerate(keys) if not math.isnan(key)), key=keys.__getitem__))

    @property
    def best(self) -> int:
        """Which result is best by the headline; the first if none can be."""
        return next(iter(self.ranking), 0)


def letters_of(results: Sequence[Result]) -> tuple[tuple[ProtocolCard, ...], tuple[str, ...]]:
    """The different cards in the order in which they appear, and for each result the letter of its card.

    Which pairs were used is different in each data set; where it is the same for all results of a data set it is
    cleared from the cards, because it would only make one card many.
    """
    sets: dict[tuple[str, str], set[str]] = {}
    for result in results:
        sets.setdefault((result.benchmark, result.dataset), set()).add(result.card.image_set)
    clear = all(len(found) == 1 for found in sets.values())
    cards: list[ProtocolCard] = []
    letters = []
    for result in results:
        card = replace(result.card, image_set="") if clear else result.card
        if card not in cards:
            cards.append(card)
        letters.append(letter(cards.index(card)))
    return tuple(cards), tuple(letters)


def groups_of(results: Sequence[Result], *, allow_mixed: bool) -> tuple[Group, ...]:
    """Results by benchmark and data set; a method has the same colour in all of them.

    Raises:
        ConfigError: If there is none, one is of an unknown benchmark, two are of the same method, data set and card, or
            the cards of a data set differ and that was not allowed.
    """
    if not results:
        raise ConfigError("There is no result to report. Evaluate something first.")
    letters = letters_of(results)[1]
    series: dict[tuple[str, int], int] = {}
    groups = []
    for key in dict.fromkeys((result.benchmark, result.dataset) for result in results):
        rows = [i for i, result in enumerate(results) if (result.benchmark, result.dataset) == key]
        chosen = tuple(results[i] for i in rows)
        if not allow_mixed:
            check_comparable(chosen)
        names = [(results[i].method, letters[i]) for i in rows]
        _check_distinct(names, key[1])
        mixed = len({badge for _, badge in names}) > 1
        # A method that is here twice, with two cards, has two colours.
        turns = [sum(name[0] == method for name in names[:i]) for i, (method, _) in enumerate(names)]
        keys = [(method, turn) for (method, _), turn in zip(names, turns, strict=True)]
        groups.append(
            Group(
                benchmark=benchmark_named(key[0]),
                dataset=key[1],
                results=chosen,
                series=tuple(series.setdefault(key, len(series)) for key in keys),
                badges=tuple(badge if mixed else "" for _, badge in names),
                notes=_differences(chosen, [badge for _, badge in names]),
            )
        )
    return tuple(groups)


def _differences(results: Sequence[Result], letters: Sequence[str]) -> tuple[str, ...]:
    """For each card but the first, how it differs from that."""
    cards = dict(zip(reversed(letters), (result.card for result in reversed(results)), strict=True))
    return tuple(
        f"card {other} against card {letters[0]}: {'; '.join(cards[letters[0]].differences(cards[other]))}"
        for other in dict.fromkeys(letters)
        if other != letters[0]
    )


def _check_distinct(names: Sequence[tuple[str, str]], dataset: str) -> None:
    """Refuse two results that nothing in the report could tell apart."""
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"{names.count(name)} results are of {name[0]!r} on {dataset!r} with one protocol. Leave all but one "
                "out, or give the methods names that differ."
            )


def letter(number: int) -> str:
    """A, B, … Z, A1, B1, …: the name of a card."""
    return chr(ord("A") + number % 26) + (str(number // 26) if number >= 26 else "")
