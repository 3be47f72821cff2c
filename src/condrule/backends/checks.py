"""What a backend gives back, checked before it is believed.

Each check returns the value in plain types, or raises WrongError with what was found and what is
allowed. The same checks are made of what a journal holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import attrs

from condrule.backends.base import (
    Capabilities,
    Continuations,
    Draws,
    Listed,
    Observation,
    Query,
    Token,
    TopLogprobs,
)
from condrule.backends.finetunes import Job, JobState
from condrule.evidence import Exact

__all__ = ["WrongError", "capabilities", "fits", "job", "observation", "shown", "text", "texts"]


class WrongError(ValueError):
    """A value is not what was promised. The message says what was found and what is allowed."""


ANSWERS = ("logprobs", "texts", "refused", "top")
_KINDS = {Continuations: "logprobs", Draws: "texts", TopLogprobs: "top"}


def shown(value: object) -> str:
    """What was found, in few letters, whatever it is."""
    try:
        found = repr(value)
    except Exception:  # noqa: BLE001 - a plugin's own repr may do anything
        found = f"a {type(value).__name__}"
    return found if len(found) <= 80 else f"{found[:77]}..."


def text(value: Any, what: str, *, empty: bool = False) -> str:
    """A text that can be written down."""
    if not isinstance(value, str) or not (value or empty):
        raise WrongError(f"{what} is {shown(value)}; it must be a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise WrongError(
            f"{what} is {shown(value)}, which holds half a surrogate pair; "
            "decode bytes with errors='replace'"
        ) from None
    return str(value)


def texts(value: Any, what: str) -> tuple[str, ...]:
    """Some texts; a text is not taken for its letters."""
    return tuple(text(one, what, empty=True) for one in _several(value, what))


def observation(value: Any) -> Observation:
    """One answer: logprobs, texts, a list or a refusal, and no two of them."""
    if not isinstance(value, Observation):
        raise WrongError(f"is {shown(value)}; it must be an Observation")
    given = [name for name in ANSWERS if getattr(value, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "nothing"
        raise WrongError(f"holds {found}; it must hold one of {', '.join(ANSWERS)}")
    (name,) = given
    if value.lists is not None and name != "texts":
        raise WrongError(f"holds lists beside {name}; they go with texts alone")
    return Observation(
        text(value.query, "the query's id"),
        **{name: _ANSWERS[name](getattr(value, name), name)},
        lists=None if value.lists is None else _lists(value.lists),
        raw=_raw(value.raw),
    )


def fits(query: Query, found: Observation) -> None:
    """Check that an answer is one to this query."""
    if found.refused is not None:
        return
    wanted = next((name for kind, name in _KINDS.items() if isinstance(query, kind)), None)
    given = next(name for name in ANSWERS if getattr(found, name) is not None)
    if wanted not in (None, given):
        raise WrongError(f"holds {given}; the answer to {type(query).__name__} is {wanted}")
    match query:
        case Continuations():
            _check_count(len(found.logprobs or ()), len(query.texts), "logprobs", "texts asked")
        case Draws():
            _check_count(len(found.texts or ()), query.n, "texts", "draws asked")
            _check_lists(query, found.lists or ())
        case TopLogprobs(k=k) if len(found.top or ()) > k:
            raise WrongError(
                f"lists {len(found.top or ())} tokens; at most the {k} that were asked for are "
                "allowed: leave out a drawn token that is not among the most probable"
            )


def _check_lists(query: Draws, lists: Iterable[Listed]) -> None:
    for one in lists:
        if len(one.top) > query.top:
            allowed = f"at most the {query.top} that were asked for are allowed"
            raise WrongError(f"lists {len(one.top)} tokens at a position; {allowed}")
        if len(one.after) >= query.max_tokens:
            allowed = f"a response has {query.max_tokens} at most"
            raise WrongError(f"lists what follows {len(one.after)} tokens; {allowed}")


def job(value: Any, key: str) -> Job:
    """A fine-tune of this key. It has a model when it has succeeded, and only then."""
    if not isinstance(value, Job):
        raise WrongError(f"is {shown(value)}; it must be a Job")
    if value.key != key:
        raise WrongError(f"has key {shown(value.key)}; it must be that of the job, {key!r}")
    state: Any = value.state
    if not isinstance(state, JobState):
        states = ", ".join(map(str, JobState))
        raise WrongError(f"has state {shown(state)}; it must be one of {states}")
    if (value.model is not None) != (value.state is JobState.SUCCEEDED):
        raise WrongError(
            f"has state {value.state.value} and model {shown(value.model)}; a job that succeeded "
            "has a model, and no other has"
        )
    return Job(
        text(key, "key"),
        text(value.id, "id"),
        value.state,
        None if value.model is None else text(value.model, "model"),
        text(value.detail, "detail", empty=True),
        None if value.seconds is None else _amount(value.seconds, "seconds"),
        None if value.submitted is None else _amount(value.submitted, "submitted"),
        None if value.trained_tokens is None else _count(value.trained_tokens, "trained_tokens"),
        _raw(value.raw),
    )


def capabilities(value: Any) -> Capabilities:
    """Capabilities of the right types."""
    if not isinstance(value, Capabilities):
        raise WrongError(f"is {shown(value)}; it must be Capabilities")
    for name in ("continuations", "draws", "certain"):
        if not isinstance(getattr(value, name), bool):
            raise WrongError(f"{name} is {shown(getattr(value, name))}; it must be True or False")
    listed = value.top_logprobs
    if not isinstance(listed, int) or isinstance(listed, bool) or listed < 0:
        raise WrongError(f"top_logprobs is {shown(listed)}; it must be a whole number, 0 or more")
    encoding = text(value.encoding, "encoding", empty=True)
    return attrs.evolve(value, bias=_amount(value.bias, "bias"), encoding=encoding)


def _raw(value: Any) -> Any:
    """A provider's own words: plain data, or nothing."""
    if value is None:
        return None
    try:
        if isinstance(value, Mapping):
            json.dumps(value, ensure_ascii=False).encode()
            return value
    except (TypeError, ValueError, RecursionError):
        pass
    raise WrongError(f"raw is {shown(value)}; it must be a mapping that JSON can hold")


def _several(value: Any, what: str) -> Iterable[Any]:
    if not isinstance(value, (tuple, list)):
        raise WrongError(f"{what} is {shown(value)}; it must be a tuple")
    return value


def _check_count(found: int, wanted: int, what: str, asked: str) -> None:
    if found != wanted:
        raise WrongError(f"holds {found} {what}; it must be as many as {asked}, {wanted}")


def _number(value: Any, what: str) -> float:
    try:
        if isinstance(value, Real) and value is not True and value is not False:
            return float(value)
    except OverflowError:
        pass
    raise WrongError(f"{what} is {shown(value)}; it must be a number")


def _amount(value: Any, what: str) -> float:
    number = _number(value, what)
    if not 0 <= number < math.inf:
        raise WrongError(f"{what} is {shown(value)}; it must be a number, 0 or more")
    return number


def _count(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise WrongError(f"{what} is {shown(value)}; it must be a whole number, 0 or more")
    return value


def _logprob(value: Any) -> float:
    if type(value) is float and value <= 0:  # nearly all are, and there are many
        return value
    number = _number(value, "a logprob")
    try:
        Exact(number)  # refuses NaN, and all above 0 but for a float's rounding
    except ValueError as error:
        raise WrongError(str(error)) from None
    return number


def _logprobs(value: Any, what: str) -> tuple[float, ...]:
    return tuple(map(_logprob, _several(value, what)))


def _top(value: Any, what: str) -> tuple[Token, ...]:
    return tuple(map(_token, _several(value, what)))


def _lists(value: Any) -> tuple[Listed, ...]:
    lists = tuple(map(_listed, _several(value, "lists")))
    if len({one.after for one in lists}) < len(lists):
        raise WrongError("holds two lists after the same tokens; it must hold one")
    return lists


def _listed(value: Any) -> Listed:
    if not isinstance(value, Listed):
        raise WrongError(f"lists hold {shown(value)}; it must be a Listed")
    for one in _several(value.after, "the tokens before a list"):
        if not isinstance(one, bytes) or not one:
            raise WrongError(f"a token before a list is {shown(one)}; it must be bytes")
    return Listed(value.after, _top(value.top, "a list"))


def _token(value: Any) -> Token:
    if not isinstance(value, Token):
        raise WrongError(f"lists {shown(value)}; it must be a Token")
    if value.bytes is not None:
        _check_bytes(_several(value.bytes, "a token's bytes"))
    plain = text(value.text, "a token", empty=True), _logprob(value.logprob)
    if (type(value), type(value.text), type(value.logprob)) == (Token, str, float):
        return value  # as it should be
    return Token(*plain, value.bytes)


def _check_bytes(value: Iterable[Any]) -> None:
    if {*map(type, value)} <= {int} and _BYTES.issuperset(value):
        return  # nearly all are, and there are many
    for byte in value:
        if not isinstance(byte, int) or isinstance(byte, bool) or not 0 <= byte <= 255:
            raise WrongError(f"a token's byte is {shown(byte)}; it must be from 0 to 255")


_BYTES = frozenset(range(256))
_ANSWERS: dict[str, Any] = {"logprobs": _logprobs, "texts": texts, "refused": text, "top": _top}
