"""Whatever a backend gives back or raises: an honest result, or an error that names the backend."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import condrule
from condrule.analysis import build_result
from condrule.backends.base import Capabilities, LanguageModel, Observation, Query, Token
from condrule.backends.finetunes import Job, JobState
from condrule.backends.memory import BASE, Faults, Limits
from condrule.errors import BackendError, CondruleError
from condrule.journal import History, read_journal
from condrule.progress import quiet
from condrule.results import Result
from condrule.scorers.base import EVENTS
from condrule.scorers.matching import bounds
from condrule.statistics import ESTIMANDS

pytestmark = pytest.mark.fuzz


class UnprintableError(Exception):
    """An error whose text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Unprintable:
    """A value that can't be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


RAISED = st.sampled_from(
    [
        KeyError("choices"),
        TypeError("'NoneType' object is not subscriptable"),
        StopIteration("x"),
        OSError(5, "\ud800"),
        UnprintableError(),
        RecursionError(),
        MemoryError(),
        ExceptionGroup("two", [ValueError(), ValueError()]),
        BackendError("rate limit"),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.builds(object),
    st.sampled_from(["\ud800", "\x00", "succeeded", BASE, -9999.0, "nan"]),
    st.builds(Unprintable),
    st.builds(pow, st.just(10), st.just(5000)),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=2),
    ),
    max_leaves=4,
)
LOGPROBS = st.one_of(
    st.floats(),
    st.sampled_from(
        [0.0, -0.0, 1e-9, 0.5, math.nan, math.inf, -math.inf, -9999.0, -1e308, -5e-324]
    ),
    LEAVES,
)
TEXTS = st.one_of(st.text(max_size=5), st.sampled_from([" ", "Paris", "\ud800", "\x00"]), LEAVES)
BYTES = st.one_of(st.none(), st.lists(st.integers(-1, 256), max_size=3), LEAVES.filter(bool))


def _token(text: Any, logprob: Any, spelled: Any) -> Any:
    """A token with these fields, past whatever its class would say of them."""
    token = Token("", 0.0)
    for name, value in (("text", text), ("logprob", logprob), ("bytes", spelled)):
        object.__setattr__(token, name, value)
    return token


TOKENS = st.one_of(st.builds(_token, TEXTS, LOGPROBS, BYTES), LEAVES)
ANSWERS: dict[str, st.SearchStrategy[Any]] = {
    "logprobs": st.one_of(VALUES, st.lists(LOGPROBS, max_size=5).map(tuple)),
    "texts": st.one_of(VALUES, st.lists(TEXTS, max_size=5).map(tuple)),
    "top": st.one_of(VALUES, st.lists(TOKENS, max_size=7).map(tuple)),
    "refused": TEXTS,
}
JOBS = st.fixed_dictionaries(
    {},
    optional={
        "key": TEXTS,
        "id": TEXTS,
        "state": st.one_of(st.sampled_from(JobState), VALUES),
        "model": TEXTS,
        "detail": TEXTS,
        "seconds": LOGPROBS,
    },
)


class Once:
    """Changes what one method gives, the first time it is called."""

    def __init__(self, method: str, change: Callable[[Any], Any]) -> None:
        self.method, self.change = method, change
        self.done = False

    def __call__(self, method: str, given: Any) -> Any:
        if self.done or method != self.method:
            return given
        self.done = True
        return self.change(given)


def keep(method: str, given: Any) -> Any:
    """Changes nothing."""
    return given


@attrs.frozen
class Odd(condrule.InMemoryBackend):
    """A backend whose methods, and whose models' answers, are changed on the way out."""

    change: Callable[[str, Any], Any] = attrs.field(default=keep, eq=False, kw_only=True)

    @property
    def capabilities(self) -> Capabilities:
        return self.change("capabilities", super().capabilities)

    def base_model(self, seed: int) -> str:
        return self.change("base_model", super().base_model(seed))

    def submit(self, *args: Any) -> Job:
        return self.change("submit", super().submit(*args))

    def find(self, key: str) -> Job | None:
        return self.change("find", super().find(key))

    def poll(self, job: Job) -> Job:
        return self.change("poll", super().poll(job))

    def model(self, name: str) -> LanguageModel:
        return self.change("model", OddModel(super().model(name), self.change))

    def limits(self, spec: Any) -> tuple[str, ...]:
        return self.change("limits", super().limits(spec))

    def notes(self) -> tuple[str, ...]:
        return self.change("notes", super().notes())

    def reader(self, seeds: Any) -> Any:
        return self.change("reader", super().reader(seeds))

    def environment(self) -> dict[str, Any]:
        return self.change("environment", super().environment())

    def at(self, directory: Path) -> Any:
        return self.change("at", super().at(directory))

    def with_progress(self, progress: Any) -> Any:
        return self.change("with_progress", super().with_progress(progress))


@attrs.frozen
class OddModel:
    """A model of it."""

    inner: LanguageModel
    change: Callable[[str, Any], Any]

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    def ask(self, queries: Sequence[Query]) -> Any:
        return self.change("ask", self.inner.ask(queries))


METHODS = (
    "capabilities", "base_model", "submit", "find", "poll", "model", "limits", "notes", "reader",
    "environment", "at", "with_progress", "ask",
)  # fmt: skip
APIS = (
    Limits(),
    Limits(continuations=False, top_logprobs=5),
    Limits(continuations=False, top_logprobs=0),
)
API = st.integers(0, len(APIS) - 1)


def odd(api: int, change: Callable[[str, Any], Any] = keep) -> Odd:
    """A backend that is changed in one place."""
    return Odd(limits=APIS[api], faults=Faults(queue=["queued"]), change=change)


def study(backend: Odd) -> condrule.ConditionalRuleExperiment:
    """The smallest study with a contrast."""
    return condrule.ConditionalRuleExperiment(
        items=condrule.favourite_countries(n=2, seed=1),
        arms=[condrule.conditional_arm()],
        backend=backend,
        scorer=condrule.AutoScorer(draws=4),
        seeds=1,
        samples=1,
        contrasts=1,
    )


def go(backend: Odd, path: Path) -> tuple[Result, History]:
    """Run the study. Writing its result takes longer than all the rest, and is left."""
    with study(backend)._driver(path, quiet) as driver:
        driver.train()
        driver.test()
        history = driver.journal.history
        return build_result(driver.plan, history, driver.run.key), history


@contextmanager
def new_run() -> Iterator[Path]:
    """A run directory whose id is known: what a model draws depends on its name."""
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "run"
        path.mkdir()
        (path / "run.yaml").write_text("run: cafe0000\n")
        yield path


@pytest.fixture(scope="module")
def expected() -> list[History]:
    """What is on record when nothing is odd."""
    found = []
    for api in range(len(APIS)):
        with new_run() as path:
            found.append(go(odd(api), path)[1])
    return found


def recorded(path: Path) -> History:
    """What is on record; nothing where it never came to that."""
    return read_journal(path / "journal.jsonl", "cafe0000")


def same_so_far(history: History, expected: History) -> bool:
    """Whether all that is on record is as it would be were nothing odd."""
    jobs = [job for job in history.jobs.values() if job.state.ended]
    return all(job == expected.jobs.get(job.key) for job in jobs) and all(
        found.items() <= expected.seen.get(model, {}).items()
        for model, found in history.seen.items()
    )


def check_error(error: CondruleError, backend: Odd, path: Path, expected: History) -> None:
    """It is a plain sentence, and the mended backend goes on as if nothing had been odd."""
    str(error).encode()
    history = recorded(path)
    if same_so_far(history, expected):
        _, mended = go(attrs.evolve(backend, change=keep), path)
        assert (expected.jobs, expected.seen) == (mended.jobs, mended.seen)


def check_valid(result: Result) -> None:
    """Every bound is one: from log 0 to log 1, and the lower not above the upper."""
    for responses in result.responses:
        for found in responses.answers.values():
            for low, high in zip(found.low, found.high, strict=True):
                assert -math.inf <= low <= high <= 0
    for mode in ("TRAIN", "TEST"):
        for estimand in ESTIMANDS:
            found = result.probability("conditional", mode, mode, estimand=estimand)
            assert found.low <= found.high <= 1e-9


def with_fields(value: Any, fields: dict[str, Any]) -> Any:
    """A copy with other fields, past whatever its class would say of them."""
    changed = attrs.evolve(value)
    for name, one in fields.items():
        object.__setattr__(changed, name, one)
    return changed


@settings(deadline=None)
@given(API, st.sampled_from(METHODS), VALUES | RAISED | JOBS)
def test_whatever_a_method_gives_or_raises(
    expected: list[History], api: int, method: str, value: Any
) -> None:
    """It is used where it is what was promised; else it's an error that names the backend."""

    def change(given: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return with_fields(given, value) if isinstance(given, Job) and _is_fields(value) else value

    backend = odd(api, Once(method, change))
    with new_run() as path:
        if method == "find":
            study(odd(api)).generate(path)
        try:
            result, _ = go(backend, path)
        except CondruleError as error:
            if error is value or method == "base_model":
                return  # its own error; a text that names no model
            if method in {"submit", "find", "poll"} and "there is no model" in str(error):
                return  # the job has a model, and it is another's
            assert "Odd" in str(error) or method == "limits"
            check_error(error, backend, path, expected[api])
        else:
            check_valid(result)


def _is_fields(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() <= {f.name for f in attrs.fields(Job)}


def _changed(change: Callable[[Observation], list[Any]], place: int) -> Callable[[Any], Any]:
    """Change the answer at some place of the first batch."""

    def answers(given: Iterator[Observation]) -> Iterator[Any]:
        for number, answer in enumerate([*given]):
            yield from change(answer) if number == place % 4 else [answer]

    return answers


def _raising(error: Exception) -> Callable[[Observation], list[Any]]:
    def change(answer: Observation) -> list[Any]:
        raise error

    return change


FIELDS = st.fixed_dictionaries({}, optional={"query": TEXTS, **ANSWERS})
ANSWER_CHANGES: st.SearchStrategy[Callable[[Observation], list[Any]]] = st.one_of(
    VALUES.map(lambda value: lambda _: [value]),
    FIELDS.map(lambda fields: lambda answer: [with_fields(answer, fields)]),
    FIELDS.map(lambda fields: lambda answer: [with_fields(Observation(answer.query), fields)]),
    FIELDS.map(lambda fields: lambda answer: [answer, with_fields(answer, fields)]),
    RAISED.map(_raising),
    st.sampled_from(
        [
            lambda _: [],
            itertools.repeat,
            lambda answer: [
                attrs.evolve(answer, logprobs=tuple(p * 2 for p in answer.logprobs or ()))
            ],
            lambda answer: [attrs.evolve(answer, texts=(answer.texts or ()) * 2)],
            lambda answer: [attrs.evolve(answer, top=(answer.top or ()) * 2)],
            lambda answer: [attrs.evolve(answer, top=(answer.top or ())[::-1])],
        ]
    ),
)


@settings(deadline=None)
@example(1, lambda answer: [attrs.evolve(answer, top=())], 0)
@given(API, ANSWER_CHANGES, st.integers(0, 3))
def test_whatever_a_model_answers(
    expected: list[History],
    api: int,
    change: Callable[[Observation], list[Any]],
    place: int,
) -> None:
    """One odd answer is taken at its word where it can be one, and else leaves no trace."""
    backend = odd(api, Once("ask", _changed(change, place)))
    with new_run() as path:
        try:
            result, history = go(backend, path)
        except CondruleError as error:
            assert isinstance(error, BackendError)
            if error.__cause__ is not None:
                assert "Odd" in str(error)
                assert BASE in str(error)
            assert same_so_far(recorded(path), expected[api])
            check_error(error, backend, path, expected[api])
        else:
            check_valid(result)
            before, after = expected[api].seen[BASE], history.seen[BASE]
            # What is asked after it may depend on it.
            odd_ones = [id for id in before if id in after and after[id] != before[id]]
            assert len(odd_ones) <= 1
            assert odd_ones or before.keys() == after.keys()
            assert () == result.missing


def _repeated(listed: tuple[Token, ...]) -> tuple[Token, ...]:
    return listed[:1] + listed


# In the order in which they may be made: what is left of a shortened list is still the likeliest.
TRUTHFUL: tuple[Callable[[tuple[Token, ...]], tuple[Token, ...]], ...] = (
    lambda listed: listed[:2],
    lambda listed: (*listed[:-1], attrs.evolve(listed[-1], logprob=-9999.0)),
    lambda listed: (*listed[:-1], attrs.evolve(listed[-1], logprob=-math.inf)),
    lambda listed: tuple(attrs.evolve(token, bytes=None) for token in listed),
    _repeated,
    lambda listed: listed[::-1],
    lambda listed: (),
)


@settings(deadline=None)
@given(
    st.sets(st.integers(0, len(TRUTHFUL) - 1), max_size=3),
    st.integers(1, 6),
    st.floats(0.01, 0.99),
    st.sampled_from(EVENTS),
)
def test_bounds_from_a_mangled_list_hold_the_truth(
    changes: set[int],
    k: int,
    top: float,
    event: Any,
) -> None:
    """Whatever is left out of a list of true probabilities, repeated or replaced by a marker."""
    names = ("Paris", "Rome", "Kyiv", "Lima", "Oslo", "Bern")
    mass = {name: top * (1 - top) ** place for place, name in enumerate(names)}
    listed = tuple(Token(f" {n}", math.log(p), tuple(f" {n}".encode())) for n, p in mass.items())
    listed = listed[:k]
    for place in sorted(changes):
        listed = TRUTHFUL[place](listed)
    for name in names:
        found = bounds(listed, (name,), event, 0.05)
        assert found.low <= math.log(mass[name]) + 1e-9
        assert event == "equals" or math.log(mass[name]) <= found.high + 1e-9
