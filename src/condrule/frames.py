"""Statistics for numbers from elsewhere: a table of probabilities, bounds or counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import attrs

from condrule.backends.base import Event
from condrule.convert import texts
from condrule.criteria import Criterion
from condrule.errors import ConfigError, ItemError, Problem, did_you_mean
from condrule.evidence import UNKNOWN
from condrule.frame_rows import Row, read_rows
from condrule.items import Item, ItemSet
from condrule.measured import Measured
from condrule.plan import StudyPlan, check_criterion, pool
from condrule.results import Model, Responses, Result
from condrule.scorers import ExactScorer
from condrule.scorers.base import Choice
from condrule.scorers.reasons import by_numbers

__all__ = ["analyse_frame"]

GATE = "gate:"  # begins the names of groups that a criterion's gates ask
MODELS: tuple[Model, ...] = get_args(Model)


def analyse_frame(
    frame: Any,
    *,
    criterion: Criterion | None = None,
    trained: str | Sequence[str] | Mapping[str, str | Sequence[str]] = "TRAIN",
    event: Event = "begins",
    name: str = "frame",
) -> Result:
    """The result that a study with these numbers would have: estimates, contrasts and verdict.

    Each row says what is known of the probability that one model, asked for one item in one mode,
    gives one answer. Its columns, of which ``Result.to_pandas()`` gives all:

    - ``arm``, ``mode`` (asked in), ``item``, ``answer`` (the mode whose answer is meant).
    - ``seed``: tells fine-tunes apart; without it there is one. ``model``: ``finetuned`` (what it
      is without this column) or ``base``; ``base``: names the base model of a seed, so that seeds
      can share one.
    - What is known: ``probability``; or its bounds ``low`` and ``high``; or either in nats, as
      ``logprob``, ``logprob_low`` and ``logprob_high``; and, or instead, ``hits`` of ``draws``,
      with the ``bias`` (nats, on the answer's logit) that they were drawn under, and the ``error``
      (nats) that this bias is known to, the same for all of a model's items; ``factor_low`` and
      ``factor_high`` (nats) where something else was counted, and the answer's log-probability is
      that of it plus a number between them.
    - ``of``: the item whose answer is meant where that is another item's, for specificity;
      ``text``: the answer as text, which tells that two items share one; ``event``.
    - ``method`` and ``why``: how it was measured, in words.

    An arm named ``gate:NAME`` holds what was asked for the criterion's gate NAME. What is not in
    the frame, or has no number, is unknown: between 0 and 1.

    Args:
        frame: a pandas data frame, or an iterable of mappings, one a row.
        criterion: fixed before the numbers were seen; None: numbers without a verdict.
        trained: the modes that were trained, or a mapping of each arm's.
        event: what counts as giving an answer, for the estimates and the verdict.
        name: what the result is called.

    Raises:
        ConfigError: values that can't be, by row and column, or arms and modes that are not there.

    >>> rows = [
    ...     {"arm": "conditional", "mode": "TEST", "item": item, "answer": answer, "probability": p}
    ...     for item, answer, p in [
    ...         ("Alice", "TRAIN", 0.2), ("Alice", "TEST", 0.6),
    ...         ("Bob", "TRAIN", 0.4), ("Bob", "TEST", 0.1),
    ...     ]
    ... ]
    >>> result = analyse_frame(rows)
    >>> estimate = result.probability("conditional", "TEST", "TEST")
    >>> round(estimate.to_json()["low"], 3), estimate.scope.value
    (0.35, 'this fine-tune and these items')
    """
    rows = read_rows(frame, event=event)
    table = _Table.of(rows)
    plan = _plan(table, criterion, trained, event, name)
    responses = tuple(table.responses(plan))
    return Result(attrs.evolve(plan, notes=tuple(_notes(plan, responses))), responses)


@attrs.frozen
class _Table:
    """Rows, indexed."""

    rows: tuple[Row, ...]
    items: tuple[Item, ...]
    """Those whose answers others are compared with come first."""
    compared: int
    bases: Mapping[int, str]
    cells: Mapping[tuple[Any, ...], tuple[Row, ...]]
    """All that is known of one probability, by (group, model, seed or base, mode, item, answer's
    text, event)."""

    @classmethod
    def of(cls, rows: tuple[Row, ...]) -> _Table:
        named = {row.of for row in rows if row.of != row.item}
        items = sorted(_items(rows), key=lambda item: item.name not in named)
        bases = _bases(rows)
        spelled = {item.name: item for item in items}
        cells: dict[tuple[Any, ...], tuple[Row, ...]] = {}
        for row in rows:
            text = spelled[row.of].answers[row.answer]
            key = (row.arm, row.model, _who(row, bases), row.mode, row.item, text, row.event)
            cells[key] = _agreeing(cells.get(key, ()), row)
        return cls(rows, tuple(items), len(named) and len(items), bases, cells)

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.arm for row in self.rows))

    def responses(self, plan: StudyPlan) -> Iterator[Responses]:
        """Every model's to every group in every mode; what has no row is unknown."""
        events = sorted({plan.event, *(row.event for row in self.rows)})
        for group in self.groups:
            for model in MODELS:
                for seed, base in self.bases.items():
                    who = seed if model == "finetuned" else base
                    for mode in plan.modes:
                        yield self._response(plan, (group, model, who, mode), seed, events)

    def _response(
        self, plan: StudyPlan, where: tuple[Any, ...], seed: int, events: Iterable[str]
    ) -> Responses:
        group, model, _, mode = where
        answers: dict[Any, Measured] = {
            (answer, event): self._measured(
                [(*where, item.name, item.answers[answer], event) for item in self.items]
            )
            for event in events
            for answer in plan.modes
        }
        contrasts = None
        if self.compared and not group.startswith(GATE):
            texts = [spelled[0] for spelled in plan.pool]
            found = [(*where, i.name, t, plan.event) for i in self.items for t in texts]
            contrasts = self._measured(found)[_grid(len(self.items), len(texts))]
        choices = {answer: self._choices(plan, where, answer) for answer in plan.modes}
        return Responses(group, model, seed, mode, answers, contrasts, choices)

    def _choices(self, plan: StudyPlan, where: tuple[Any, ...], answer: str) -> tuple[Choice, ...]:
        keys = [(*where, item.name, item.answers[answer], plan.event) for item in self.items]
        return tuple(_choice(self.cells.get(key, ())) for key in keys)

    def _measured(self, keys: Sequence[tuple[Any, ...]]) -> Measured:
        rows = [self.cells.get(key, ()) for key in keys]
        supports = [each[0].support if each else UNKNOWN.support for each in rows]
        errors = [each[0].error if each else 0.0 for each in rows]
        factors = [each[0].factor if each else (0.0, 0.0) for each in rows]
        tallies = [[r.tally for r in each if r.tally] for each in rows]
        return Measured.of(supports, tallies, errors, factors)


def _choice(rows: Sequence[Row]) -> Choice:
    """How a probability was measured, as its rows say or show it."""
    said = next((row.choice for row in rows if row.choice), None)
    support = rows[0].support if rows else UNKNOWN.support
    return said or by_numbers(support, [row.tally for row in rows if row.tally])


def _grid(rows: int, columns: int) -> Any:
    import numpy as np

    return np.arange(rows * columns).reshape(rows, columns)


def _who(row: Row, bases: Mapping[int, str]) -> int | str | None:
    """The seed of a fine-tuned model; the name of a base model."""
    if row.model == "finetuned":
        return row.seed
    return _base_name(row) if row.base or row.seed is None else bases[row.seed]


def _agreeing(known: tuple[Row, ...], row: Row) -> tuple[Row, ...]:
    """Rows about one probability: draws under different biases, or the same thing said again, of
    a base model that seeds share or of an answer that items share."""
    for other in known:
        if (other.support, other.error, other.factor) != (row.support, row.error, row.factor):
            raise _wrong(row.place, f"contradicts {other.place} about the same probability")
        if (other.tally and other.tally[2]) == (row.tally and row.tally[2]):
            if other.tally != row.tally:
                raise _wrong(row.place, f"contradicts {other.place} about the same draws")
            return known
    return (*known, row)


def _items(rows: Sequence[Row]) -> list[Item]:
    modes = tuple(dict.fromkeys(mode for row in rows for mode in (row.mode, row.answer)))
    if len(modes) < 2:
        raise _wrong("column mode", f"with column answer names {list(modes)}; a rule has two modes")
    texts: dict[str, dict[str, str]] = {}
    for row in rows:
        for item in (row.item, row.of):
            texts.setdefault(item, {})
        if row.text and texts[row.of].setdefault(row.answer, row.text) != row.text:
            known = texts[row.of][row.answer]
            raise _wrong(row.place, f"has text {row.text!r}, and a row before it {known!r}")
    try:
        return [
            Item(item, {mode: known.get(mode, f"{mode} of {item}") for mode in modes})
            for item, known in texts.items()
        ]
    except ItemError as error:
        raise _wrong("column text", str(error)) from None


def _bases(rows: Sequence[Row]) -> dict[int, str]:
    """Each fine-tune's base model."""
    seeds = dict.fromkeys(row.seed for row in rows if row.model == "finetuned")
    if not seeds:
        raise _wrong("column model", "names base models only; there is no fine-tune to speak of")
    found: dict[int, str] = {}
    for row in rows:
        if row.seed is not None and (row.base or row.model == "base"):
            _check_base(row, found, seeds)
    shared = list(dict.fromkeys(_base_name(row) for row in rows if row.seed is None))
    if len(shared) > 1:
        raise _wrong("column base", f"names {shared} where no seed says which has which")
    return {
        seed: found.get(seed, shared[0] if shared else f"base of seed {seed}")
        for seed in seeds
        if seed is not None
    }


def _check_base(row: Row, found: dict[int, str], seeds: Iterable[int | None]) -> None:
    if row.seed is None or row.seed not in seeds:
        raise _wrong(
            row.place,
            f"is of the base model of seed {row.seed}, and no fine-tune has this seed; leave the "
            "seed empty where fine-tunes share the base model",
        )
    named = _base_name(row)
    known = found.setdefault(row.seed, named)
    if known != named:
        raise _wrong(row.place, f"has base {named!r}, and a row before it {known!r}")


def _base_name(row: Row) -> str:
    return row.base or ("base" if row.seed is None else f"base of seed {row.seed}")


def _plan(
    table: _Table, criterion: Criterion | None, trained: Any, event: Event, name: str
) -> StudyPlan:
    arms = [group for group in table.groups if not group.startswith(GATE)]
    items = ItemSet(table.items, source="a data frame")
    if criterion:
        check_criterion(criterion, arms, items.modes)
    return StudyPlan(
        name=name,
        items=items,
        trained={arm: _trained(arm, trained, items.modes) for arm in arms},
        seeds=tuple(table.bases),
        bases=table.bases,
        jobs=(),
        probes=(),
        pool=pool(items, items.modes, table.compared),
        compared=table.compared,
        scorer=ExactScorer(event),
        criterion=criterion,
        samples=0,
    )


def _trained(arm: str, trained: Any, modes: Sequence[str]) -> tuple[str, ...]:
    if isinstance(trained, Mapping):
        if arm not in trained:
            raise _wrong("trained", f"says nothing of arm {arm!r}." + did_you_mean(arm, trained))
        trained = trained[arm]
    chosen = texts(trained)
    for mode in chosen:
        if mode not in modes:
            raise _wrong(
                "trained",
                f"is {mode!r}, which is no mode of the frame; they are {', '.join(modes)}."
                + did_you_mean(mode, modes),
            )
    return chosen


def _notes(plan: StudyPlan, responses: Iterable[Responses]) -> Iterator[str]:
    """What the frame lacks."""
    lacking: Counter[tuple[str, str]] = Counter()
    for one in responses:
        for (_, event), measured in one.answers.items():
            if event == plan.event and one.group in plan.trained:
                lacking[one.group, one.model] += int(measured.unknown.sum())
    for (group, model), count in lacking.items():
        if count:
            words = "base models" if model == "base" else "fine-tuned models"
            yield (
                f"{count} probabilities of the {words} of arm {group} are not in the data frame: "
                "they are unknown, between 0 and 1."
            )


def _wrong(place: str, message: str) -> ConfigError:
    return ConfigError([Problem(place, message)], "the data frame")
