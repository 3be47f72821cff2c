"""The endpoint of plain completions, with the logprobs of a prompt's own tokens, as vLLM has it.

A prompt is a text or token ids. It begins with a prompt of the study as `rendered` writes it; what
follows is the response so far, whose tokens have the oracle's logprobs. The tokens before them have
no probability in the oracle: each is printed as one of a vocabulary of equals. The id that ends a
text (``<|endoftext|>``) stands for the end of the response.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from condrule.testing.server.asked import number, whole
from condrule.testing.server.chat import generator, usage
from condrule.testing.server.drawing import draw
from condrule.testing.server.encodings import Encoding
from condrule.testing.server.exchange import ApiError, Call, Reply, wrong
from condrule.testing.server.oracle import Speaker
from condrule.testing.server.positions import END, Position, Sampling
from condrule.testing.server.printing import Printer
from condrule.testing.server.state import State

__all__ = ["ROUTES"]


def create(state: State, call: Call) -> Reply:
    """Score the tokens of prompts and go on from where they end."""
    if not state.server.api.echo:
        message = "This is not a model that supports the v1/completions endpoint."
        raise ApiError(404, message, param="model")
    body = call.body if isinstance(call.body, dict) else {}
    name = call.path.get("deployment", body.get("model"))
    speaker = state.speaker(name)
    answers = [
        _answer(state, call, speaker, tokens, body)
        for tokens in _prompts(body.get("prompt"), speaker.encoding)
    ]
    asked = sum(answer.prompt_tokens for answer in answers)
    answered = sum(len(answer.tokens) for answer in answers) - asked
    state.account.input_tokens += asked
    state.account.output_tokens += answered
    printer = state.printer(speaker.encoding)
    return Reply.of(
        {
            "id": state.new_id("cmpl-"),
            "object": "text_completion",
            "created": int(state.clock()),
            "model": state.full_name(str(name)),
            "choices": [a.plain(index, printer, body) for index, a in enumerate(answers)],
            "usage": usage(asked, answered),
        }
    )


def _prompts(prompt: Any, encoding: Encoding) -> list[tuple[int, ...]]:
    """Prompts as token ids: one or many, as texts or ids."""
    if isinstance(prompt, str) or (isinstance(prompt, list) and prompt and _is_id(prompt[0])):
        prompt = [prompt]
    if not isinstance(prompt, list) or not prompt:
        raise wrong("prompt", "Missing required parameter: 'prompt'.", "missing_required_parameter")
    return [_ids(one, encoding) for one in prompt]


def _ids(prompt: Any, encoding: Encoding) -> tuple[int, ...]:
    if isinstance(prompt, str):
        return encoding.tokens(prompt)
    if not isinstance(prompt, list) or not all(map(_is_id, prompt)):
        raise wrong("prompt", "Invalid 'prompt': a text or token ids are needed.")
    try:
        for token in prompt:
            encoding.bytes_of(token)
    except (KeyError, OverflowError, ValueError):
        raise wrong("prompt", "Invalid 'prompt': there is a token id that is none.") from None
    return tuple(prompt)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@attrs.frozen
class _Answer:
    """One prompt's tokens and those drawn after them, each with its position."""

    tokens: tuple[int, ...]
    positions: tuple[Position | None, ...]
    """None for tokens that come before the response."""
    prompt_tokens: int
    finish: str

    def plain(self, index: int, printer: Printer, body: Mapping[str, Any]) -> dict[str, Any]:
        """The choice in the vendor's form."""
        first = 0 if body.get("echo") else self.prompt_tokens
        shown = list(zip(self.tokens, self.positions, strict=True))[first:]
        top = None if body.get("logprobs") is None else whole(body, "logprobs", 0, 0, 20)
        return {
            "index": index,
            "text": printer.text([token for token, _ in shown]),
            "logprobs": None if top is None else _logprobs(shown, printer, top, first=first == 0),
            "finish_reason": self.finish,
        }


def _answer(
    state: State, call: Call, speaker: Speaker, tokens: tuple[int, ...], body: Mapping[str, Any]
) -> _Answer:
    """Go along a prompt's tokens, then draw."""
    known, position = _start(speaker, tokens)
    positions: list[Position | None] = [None] * known
    for token in tokens[known:]:
        positions.append(position)
        position = position.after(_or_end(token, speaker.encoding))
    most = whole(body, "max_tokens", 16, 0, 4096)
    source = generator(state, call, body.get("seed"), body.get("model"), tokens)
    drawn = draw(position, Sampling(number(body, "temperature", 1.0, 2.0)), source, most)
    positions += [at for at, _ in drawn.steps]
    return _Answer((*tokens, *drawn.tokens), tuple(positions), len(tokens), drawn.finish)


def _start(speaker: Speaker, tokens: tuple[int, ...]) -> tuple[int, Position]:
    """How many tokens come before the response, and where it begins."""
    spelled = [speaker.encoding.bytes_of(token) for token in tokens]
    begun = speaker.book.begun(b"".join(spelled).decode(errors="replace"))
    if begun is not None:
        prompt, text = begun
        ends = list(itertools.accumulate(map(len, spelled)))
        if (end := len(text.encode())) in ends:
            return ends.index(end) + 1, speaker.to_prompt(prompt)
    return len(tokens), speaker.to_prompt(None)


def _logprobs(
    shown: Sequence[tuple[int, Position | None]], printer: Printer, top: int, *, first: bool
) -> dict[str, Any]:
    texts = [printer.text([token]) for token, _ in shown]
    encoding = printer.encoding
    values: list[float | None] = [_logprob(token, at, encoding, printer) for token, at in shown]
    listed = [_top(at, printer, top) for _, at in shown]
    if first and shown:
        values[0], listed[0] = None, None  # nothing comes before the first token
    return {
        "tokens": texts,
        "token_logprobs": values,
        "top_logprobs": listed if top else None,
        "text_offset": list(itertools.accumulate(map(len, texts), initial=0))[:-1],
    }


def _logprob(token: int, at: Position | None, encoding: Encoding, printer: Printer) -> float:
    uniform = -math.log(encoding.size)
    return printer.number(uniform if at is None else at.logprob(_or_end(token, encoding)))


def _top(at: Position | None, printer: Printer, top: int) -> dict[str, float] | None:
    if at is None:
        return {}
    pairs = zip(at.ids[: top + 1].tolist(), at.logprobs[: top + 1].tolist(), strict=True)
    named = [(printer.text([token]), printer.number(p)) for token, p in pairs if token != END]
    return dict(named[:top])


def _or_end(token: int, encoding: Encoding) -> int:
    return END if token == encoding.end else token


ROUTES = {"POST /completions": create}
