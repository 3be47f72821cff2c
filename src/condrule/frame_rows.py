"""Rows of a table of measured probabilities, read strictly: what is wrong is named with its row.

A row says of one model what is known of one answer's probability. Its columns are those of
``Result.to_pandas()``; of each group of columns for a number, one is enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from condrule.convert import records
from condrule.errors import ConfigError, Problem, did_you_mean
from condrule.scorers.base import Choice

__all__ = ["Row", "read_rows"]

REQUIRED = ("arm", "mode", "item", "answer")
NUMBERS = (
    "probability",
    "low",
    "high",
    "logprob",
    "logprob_low",
    "logprob_high",
    "hits",
    "draws",
)
COLUMNS = (
    *REQUIRED,
    "model",
    "seed",
    "base",
    "of",
    "text",
    "event",
    *NUMBERS,
    "bias",
    "error",
    "factor_low",
    "factor_high",
    "method",
    "why",
)
MOST_PROBLEMS = 20
_ROUNDING = 1e-6  # nats, or relative: what a float32, or a number printed with 7 digits, is off by


@attrs.frozen(kw_only=True)
class Row:
    """What is known of one answer's probability, given by one model to one item's prompt."""

    place: str
    """Where the row stands, for messages."""
    arm: str
    model: str
    seed: int | None
    """None: a base model that belongs to every seed that names no other."""
    base: str | None
    mode: str
    item: str
    answer: str
    of: str
    """The item whose answer is meant."""
    text: str | None
    event: str
    support: tuple[float, float]
    """The lowest and highest that the log-probability can be, in nats."""
    tally: tuple[int, int, float] | None
    """Hits, draws, and the bias that they were drawn under, in nats."""
    error: float = 0.0
    """The standard error of that bias, in nats."""
    factor: tuple[float, float] = (0.0, 0.0)
    """Bounds, in nats, of what is added to the log-probability of what was counted."""
    choice: Choice | None = None
    """How it was measured, and why so, where the table says it."""

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for rows of which one too many is there."""
        bias = self.tally[2] if self.tally else None
        where = (self.arm, self.model, self.seed, self.mode, self.item)
        return (*where, self.answer, self.of, self.event, bias)


def read_rows(frame: Any, *, event: str) -> tuple[Row, ...]:
    """The rows of a pandas data frame, or of an iterable of mappings.

    Args:
        frame: the table.
        event: what the rows are about where they have no column ``event``.

    Raises:
        ConfigError: with what is wrong, by row and column.
    """
    data = records(frame)
    if not data:
        raise _error([Problem("", "holds no rows; each says what is known of one probability")])
    _check_columns(dict.fromkeys(str(name) for row in data for name in row))
    rows: list[Row] = []
    problems: list[Problem] = []
    for number, values in enumerate(data):
        try:
            rows.append(_Reader(values, f"row {number}").row(event))
        except ConfigError as error:
            problems += error.problems
    problems += _repeated(rows)
    if problems:
        raise _error(problems)
    return tuple(rows)


def _check_columns(found: Iterable[str]) -> None:
    names = list(found)
    problems = [
        Problem(column, "is missing; every row needs it." + did_you_mean(column, names))
        for column in REQUIRED
        if column not in names
    ]
    if not any(column in names for column in NUMBERS):
        hints = (did_you_mean(n, NUMBERS) for n in names if n not in COLUMNS)
        problems.append(
            Problem(
                "",
                "has no column with numbers; they are probability, or low and high, or logprob, "
                "or logprob_low and logprob_high (nats), or hits and draws."
                + next((hint for hint in hints if hint), ""),
            )
        )
    if problems:
        raise _error(problems)


def _repeated(rows: Sequence[Row]) -> Iterator[Problem]:
    first: dict[tuple[Any, ...], str] = {}
    for row in rows:
        if row.key in first:
            yield Problem(
                row.place,
                f"is about the same probability as {first[row.key]}: add counts up, and keep one",
            )
        first.setdefault(row.key, row.place)


def _error(problems: Sequence[Problem]) -> ConfigError:
    shown = list(problems[:MOST_PROBLEMS])
    if len(problems) > MOST_PROBLEMS:
        shown.append(Problem("", f"and {len(problems) - MOST_PROBLEMS} more"))
    return ConfigError(shown, "the data frame")


@attrs.frozen
class _Reader:
    """The values of one row."""

    values: Mapping[str, Any]
    place: str

    def row(self, event: str) -> Row:
        model = self._text("model") or "finetuned"
        if model not in ("base", "finetuned"):
            raise self._wrong("model", model, "base or finetuned")
        seed = self._seed()
        if seed is None and model == "finetuned":
            seed = 0
        arm, mode, item, answer = (self._text(column, required=True) for column in REQUIRED)
        return Row(
            place=self.place,
            arm=arm or "",
            model=model,
            seed=seed,
            base=self._text("base"),
            mode=mode or "",
            item=item or "",
            answer=answer or "",
            of=self._text("of") or item or "",
            text=self._text("text"),
            event=self._event() or event,
            support=self._support(),
            tally=self._tally(),
            error=self._error(),
            factor=self._factor(),
            choice=self._choice(),
        )

    def _event(self) -> str | None:
        found = self._text("event")
        if found not in (None, "begins", "equals"):
            raise self._wrong("event", found, "begins or equals")
        return found

    def _seed(self) -> int | None:
        found = self._number("seed")
        if found is not None and found != int(found):
            raise self._wrong("seed", found, "a whole number")
        return None if found is None else int(found)

    def _support(self) -> tuple[float, float]:
        plain = self._ends("probability", "low", "high", 0.0, 1.0)
        logs = self._ends("logprob", "logprob_low", "logprob_high", -math.inf, 0.0)
        if plain and logs:
            for one, other in zip(plain, map(math.exp, logs), strict=True):
                if not math.isclose(one, other, rel_tol=10 * _ROUNDING, abs_tol=1e-300):
                    message = f"a probability of {one} beside a logprob of that of {other}"
                    raise self._problem("", f"says two things: {message}; keep one of them")
        if logs is None and plain:
            logs = tuple(math.log(end) if end > 0 else -math.inf for end in plain)  # type: ignore[assignment]
        return logs or (-math.inf, 0.0)

    def _ends(
        self, point: str, low: str, high: str, least: float, most: float
    ) -> tuple[float, float] | None:
        """A point's value twice, or two ends, of which a missing one is the widest."""
        ends = [self._between(column, least, most) for column in (low, high)]
        value = self._between(point, least, most)
        if value is not None:
            if any(end not in (None, value) for end in ends):
                raise self._problem(point, f"is {value} beside the bounds {ends}; keep one of them")
            return value, value
        if ends == [None, None]:
            return None
        found = (least if ends[0] is None else ends[0], most if ends[1] is None else ends[1])
        if found[0] > found[1]:
            raise self._problem(low, f"is {found[0]}, above {high}, which is {found[1]}")
        return found

    def _tally(self) -> tuple[int, int, float] | None:
        hits, draws = (self._count(column) for column in ("hits", "draws"))
        if (hits is None) != (draws is None):
            raise self._problem("hits", "and draws go together; one of them is missing")
        if hits is None or not draws:
            return None
        if hits > draws:
            raise self._problem("hits", f"is {hits}, more than draws, which is {draws}")
        return hits, draws, self._number("bias") or 0.0

    def _error(self) -> float:
        found = self._number("error") or 0.0
        if found < 0:
            raise self._wrong("error", found, "a number of nats, 0 or more")
        return found

    def _factor(self) -> tuple[float, float]:
        columns = ("factor_low", "factor_high")
        low, high = (self._number(column, finite=False) or 0.0 for column in columns)
        if not low <= high < math.inf:
            raise self._wrong("factor_low", low, f"at most factor_high, which is {high}")
        return low, high

    def _choice(self) -> Choice | None:
        method = self._text("method")
        return Choice(method, self._text("why") or "") if method else None

    def _count(self, column: str) -> int | None:
        found = self._number(column)
        if found is not None and (found < 0 or found != int(found)):
            raise self._wrong(column, found, "a whole number, 0 or more")
        return None if found is None else int(found)

    def _between(self, column: str, least: float, most: float) -> float | None:
        found = self._number(column, finite=False)
        if found is None or least <= found <= most:
            return found
        if most < found <= most + _ROUNDING:
            return most
        allowed = "a probability, from 0 to 1" if most else "a log-probability in nats, at most 0"
        raise self._wrong(column, found, allowed)

    def _number(self, column: str, *, finite: bool = True) -> float | None:
        """A number; None where there is none: no column, None or NaN."""
        found = self.values.get(column)
        if found is None or found != found:
            return None
        try:
            value = float("text" if isinstance(found, (bool, str)) else found)
        except (TypeError, ValueError):
            raise self._wrong(column, found, "a number") from None
        if finite and not math.isfinite(value):
            raise self._wrong(column, found, "a finite number")
        return value

    def _text(self, column: str, *, required: bool = False) -> str | None:
        found = self.values.get(column)
        missing = found is None or found != found
        if missing and not required:
            return None
        if not isinstance(found, str) or not found.strip():
            raise self._wrong(column, None if missing else found, "text")
        return found

    def _wrong(self, column: str, found: Any, allowed: str) -> ConfigError:
        return self._problem(column, f"is {found!r}; it must be {allowed}")

    def _problem(self, column: str, message: str) -> ConfigError:
        place = f"{self.place}, column {column}" if column else self.place
        return ConfigError([Problem(place, message)])
