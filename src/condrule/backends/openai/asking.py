"""Queries as requests, and responses as observations. Pure: nothing is sent here."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from condrule.backends.base import (
    Continuations,
    Draws,
    Listed,
    Observation,
    Query,
    Token,
    TopLogprobs,
)
from condrule.backends.openai.limits import Found

__all__ = ["Malformed", "Request", "observation", "requests", "shortened"]

CHAT, COMPLETIONS = "/chat/completions", "/completions"
MARKER = -9999.0  # what the API prints for a logprob that it does not have


class Malformed(ValueError):  # noqa: N818 - it says what a response is
    """A response is not what the API promises."""


@attrs.frozen
class Request:
    """One request, for a query or for a part of one."""

    path: str
    body: Mapping[str, Any]
    draw: int = 0
    """The index, among the query's draws, of its first; or of the text that it scores."""
    scored: int = 0
    """How many characters at the end of the prompt are scored."""


def requests(query: Query, model: str, found: Found, template: str | None) -> list[Request] | str:
    """The requests that answer a query, or why this model can't answer it.

    Args:
        query: what is asked.
        model: of which model.
        found: what is known of its limits.
        template: how messages become a text, where texts are scored by completions.
    """
    match query:
        case TopLogprobs():
            return _list(query, model, found)
        case Draws():
            return _draws(query, model, found)
        case Continuations():
            return _scores(query, model, found, template)
    return f"{type(query).__name__} is no query that this API knows"


def _messages(query: Query) -> list[dict[str, str]]:
    return [{"role": one.role, "content": one.content} for one in query.prompt.messages]


def _list(query: TopLogprobs, model: str, found: Found) -> list[Request] | str:
    if not found.top_logprobs:
        return f"the model gives no logprobs ({found.why})"
    body = {
        "model": model,
        "messages": _messages(query),
        found.length: 1,
        "temperature": 1.0,  # some servers print logprobs as the temperature leaves them
        "logprobs": True,
        "top_logprobs": min(query.k, found.top_logprobs),
    }
    return [Request(CHAT, body)]


def _draws(query: Draws, model: str, found: Found) -> list[Request] | str:
    if query.bias and not found.logit_bias:
        return f"the model takes no logit bias ({found.why})"
    if query.top and not found.top_logprobs:
        return f"the model gives no logprobs ({found.why})"
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(query),
        found.length: query.max_tokens,
        "temperature": query.temperature,
    }
    if query.bias:
        body["logit_bias"] = {str(token): bias for token, bias in query.bias}
    if query.top:
        body |= {"logprobs": True, "top_logprobs": min(query.top, found.top_logprobs)}
    starts = range(0, query.n, found.n)
    sizes = [{"n": min(found.n, query.n - start)} for start in starts]
    return [
        Request(CHAT, body | size | _seed(query, model, start, found), start)
        for start, size in zip(starts, sizes, strict=True)
    ]


def _seed(query: Draws, model: str, start: int, found: Found) -> dict[str, int]:
    """Each request has a seed of its own, so that none repeats another's draws. Requests to other
    models, with other prompts or biased tokens have others too: servers that make the same random
    numbers of the same seed would err the same way in all of them, and a mean over items would not
    average it out. A server may give the responses of a request its seed and those that follow."""
    if not found.seed:
        return {}
    what = [model, *((m["role"], m["content"]) for m in _messages(query)), *dict(query.bias)]
    digest = hashlib.sha256(repr(what).encode(errors="surrogatepass")).digest()
    block = (int.from_bytes(digest[:8], "big") + query.seed) % 2**21
    return {"seed": block * 1024 + start}


def _scores(
    query: Continuations, model: str, found: Found, template: str | None
) -> list[Request] | str:
    if template is None:
        return "how this server renders chat messages is not known; set backend.prompt_template"
    if found.echo is False:
        return f"the server scores no prompts ({found.why})"
    if query.event == "equals":
        return "completions don't tell the probability that a response ends"
    prompt = rendered(query, template)
    return [
        Request(
            COMPLETIONS,
            {
                "model": model,
                "prompt": prompt + text,
                "max_tokens": 0,
                "echo": True,
                "logprobs": 1,
                "temperature": 1.0,
            },
            place,
            len(text),
        )
        for place, text in enumerate(query.texts)
    ]


def rendered(query: Query, template: str) -> str:
    r"""The prompt as one text: each message by the template, which ends where the answer begins."""
    return "".join(
        template.replace("{role}", one.role).replace("{content}", one.content)
        for one in query.prompt.messages
    )


def observation(
    query: Query, answers: Sequence[tuple[Request, Any]], raw: Mapping[str, Any]
) -> Observation:
    """What came back for a query. Raises Malformed where it is not what the API promises."""
    try:
        return attrs.evolve(_observation(query, answers), raw=raw)
    except Malformed:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from None


def _observation(query: Query, answers: Sequence[tuple[Request, Any]]) -> Observation:
    match query:
        case TopLogprobs(k=k):
            return _listed(query, answers[0][1], k)
        case Continuations():
            scored = tuple(_scored(request, body) for request, body in answers)
            return Observation(query.id, logprobs=scored)
    choices = [choice for _, body in answers for choice in _choices(body)]
    if any(choice.get("finish_reason") == "content_filter" for choice in choices):
        return Observation(query.id, refused="a response was stopped by the content filter")
    wanted = sum(request.body["n"] for request, _ in answers)
    if len(choices) != wanted:
        raise Malformed(f"there are {len(choices)} choices, and {wanted} were asked for")
    texts = tuple(_said(choice) for choice in choices)
    if isinstance(query, Draws) and query.top:
        return Observation(query.id, texts=texts, lists=tuple(_all_listed(choices, query.top)))
    return Observation(query.id, texts=texts)


def _all_listed(choices: Sequence[Mapping[str, Any]], k: int) -> list[Listed]:
    """One list for each different beginning of the responses."""
    found: dict[tuple[bytes, ...], tuple[Token, ...]] = {}
    for choice in choices:
        after: tuple[bytes, ...] = ()
        for entry in (choice.get("logprobs") or {}).get("content") or ():
            if after not in found:
                found[after] = _top(entry, k)
            token = _bytes(_token(entry))
            if not token:
                break  # what comes after it can't be told
            after = (*after, token)
    return [Listed(a, top) for a, top in found.items() if all(t.logprob <= 0 for t in top)]


def _top(entry: Mapping[str, Any], k: int) -> tuple[Token, ...]:
    tokens = [_token(one) for one in entry["top_logprobs"]]
    tokens.sort(key=lambda token: -token.logprob)
    return tuple(tokens[:k])


def _bytes(token: Token) -> bytes:
    """A token's bytes; none where they can't be told from its text."""
    if token.bytes is not None:
        return bytes(token.bytes)
    return b"" if "\ufffd" in token.text else token.text.encode()


def shortened(request: Request, body: Any) -> tuple[Request, Request] | None:
    """Where fewer responses came than were asked for, as a server may take no notice of n: the
    request for those that came, and the one for the others. None where they are as many."""
    choices = body.get("choices")
    came, n = len(choices) if isinstance(choices, list) else 0, request.body.get("n", 0)
    if not 0 < came < n:
        return None
    more = {"n": n - came}
    if "seed" in request.body:
        more["seed"] = request.body["seed"] + came
    return (
        attrs.evolve(request, body={**request.body, "n": came}),
        attrs.evolve(request, body={**request.body, **more}, draw=request.draw + came),
    )


def _choices(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    choices: list[Mapping[str, Any]] = sorted(
        body["choices"], key=lambda choice: choice.get("index") or 0
    )
    if not choices or [one.get("index") or 0 for one in choices] != [*range(len(choices))]:
        raise Malformed("choices are not numbered from 0 on")
    return choices


def _said(choice: Mapping[str, Any]) -> str:
    message = choice["message"]
    if message.get("tool_calls"):
        raise Malformed("a tool was called, and none was offered")
    said = message.get("content") or message.get("refusal") or ""
    if not isinstance(said, str):
        raise Malformed(f"content is a {type(said).__name__}, not a text")
    return said


def _listed(query: Query, body: Mapping[str, Any], k: int) -> Observation:
    choice = _choices(body)[0]
    logprobs = choice.get("logprobs")
    if not logprobs or not logprobs.get("content"):
        if choice.get("finish_reason") == "content_filter":
            return Observation(query.id, refused="stopped by the content filter")
        return Observation(query.id, refused="the response came without logprobs")
    top = _top(logprobs["content"][0], k)
    if any(token.logprob > 0 for token in top):
        return Observation(query.id, refused="the list holds probabilities above 1")
    return Observation(query.id, top=top)


def _token(entry: Mapping[str, Any]) -> Token:
    spelled = entry.get("bytes")
    return Token(str(entry["token"]), _number(entry["logprob"]), spelled)


def _number(value: Any) -> float:
    """A printed logprob; the marker where there is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return MARKER
    return min(float(value), 0.0) if value < 0.01 else float(value)


def _scored(request: Request, body: Mapping[str, Any]) -> float:
    """The log-probability of the text behind the prompt; the marker where a token belongs to both,
    so that it can't be told."""
    (choice,) = _choices(body)
    whole = request.body["prompt"]
    logprobs, start = choice["logprobs"], len(whole) - request.scored
    if not str(choice.get("text", whole)).startswith(whole):
        return MARKER  # the prompt was not echoed
    pairs = zip(logprobs["token_logprobs"], logprobs["text_offset"], strict=True)
    found = [(place, _number(value)) for value, place in pairs if start <= place < len(whole)]
    if not found or found[0][0] != start or any(value == MARKER for _, value in found):
        return MARKER
    return math.fsum(value for _, value in found)
