"""The endpoint of chat completions."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import attrs

from condrule.testing.server.asked import Asked, asked
from condrule.testing.server.drawing import draw, stopped
from condrule.testing.server.exchange import ApiError, Call, Reply, wrong
from condrule.testing.server.positions import Position, Sampling
from condrule.testing.server.printing import Printer
from condrule.testing.server.prompts import Key, key_of
from condrule.testing.server.state import State

__all__ = ["ROUTES", "generator", "noise", "usage"]


def create(state: State, call: Call) -> Reply:
    """Draw responses to messages."""
    body = call.body if isinstance(call.body, dict) else {}
    name = call.path.get("deployment", body.get("model"))
    speaker = state.speaker(name)
    wanted = asked(body, state.server.api, speaker.encoding, tuned=name in state.learned)
    key = _messages(body)
    if any(word in content for word in state.server.faults.blocked for _, content in key):
        return _filtered(state, call, str(name), wanted.n)
    choices = _Choices(wanted, speaker.to_messages(key), state.printer(speaker.encoding))
    printed, counts = [], 0
    source, noisy = generator(state, call, wanted.seed, name, key), noise(state, call)
    for index in range(wanted.n):
        text, count = choices.one(index, source, noisy)
        printed.append(text)
        counts += count
    return _reply(state, str(name), ",".join(printed), speaker.prompt_tokens(key), counts)


def _messages(body: Mapping[str, Any]) -> Key:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        message = "Missing required parameter: 'messages'."
        raise wrong("messages", message, "missing_required_parameter")
    try:
        key = key_of(messages)
    except (TypeError, KeyError):
        raise wrong("messages", "Each message needs a 'role' and a 'content'.") from None
    if not all(isinstance(part, str) for pair in key for part in pair):
        raise wrong("messages", "The rehearsal server reads messages whose content is a text.")
    return key


def generator(state: State, call: Call, seed: int | None, *what: Any) -> random.Random:
    """What draws: with a seed, the same of the same model and messages."""
    own = f"request {call.number}" if seed is None else f"{seed}/{what}"
    return random.Random(f"{state.server.seed}/{own}")


def noise(state: State, call: Call) -> random.Random | None:
    """What makes this request's logprobs differ from other requests', if anything does."""
    if not state.server.api.jitter:
        return None
    return random.Random(f"{state.server.seed}/noise/{call.number}")


@attrs.frozen
class _Choices:
    """Draws and prints the choices of one request."""

    wanted: Asked
    start: Position
    printer: Printer
    sampling: Sampling = attrs.field(init=False)

    @sampling.default
    def _of_wanted(self) -> Sampling:
        return self.wanted.sampling

    def one(
        self, index: int, source: random.Random, noisy: random.Random | None
    ) -> tuple[str, int]:
        """One choice's JSON, and how many tokens it has."""
        wanted = self.wanted
        drawn = draw(self.start, self.sampling, source, wanted.most_tokens)
        drawn, text = stopped(drawn, wanted.stop, self.printer.encoding)
        logprobs = "null"
        if wanted.logprobs:
            entries = (self._entry(at, token, noisy) for at, token in drawn.steps)
            logprobs = f'{{"content":[{",".join(entries)}],"refusal":null}}'
        return _choice(index, json.dumps(text), logprobs, drawn.finish), len(drawn.steps)

    def _entry(self, at: Position, token: int, noisy: random.Random | None) -> str:
        if self.wanted.bias and self.printer.api.logit_bias == "reported":
            return self.printer.made(at.tilted(self.wanted.bias), token, self.wanted.top, noisy)
        return self.printer.entry(at, token, self.wanted.top, noisy)


def _choice(index: int, content: str, logprobs: str, finish: str) -> str:
    message = f'{{"role":"assistant","content":{content},"refusal":null,"annotations":[]}}'
    return (
        f'{{"index":{index},"message":{message},"logprobs":{logprobs},"finish_reason":"{finish}"}}'
    )


def _reply(state: State, model: str, choices: str, prompt_tokens: int, tokens: int) -> Reply:
    state.account.input_tokens += prompt_tokens
    state.account.output_tokens += tokens
    body = (
        f'{{"id":"{state.new_id("chatcmpl-")}","object":"chat.completion",'
        f'"created":{int(state.clock())},"model":{json.dumps(state.full_name(model))},'
        f'"choices":[{choices}],"usage":{json.dumps(usage(prompt_tokens, tokens))},'
        f'"service_tier":"default","system_fingerprint":"{state.fingerprint}"}}'
    )
    return Reply(body.encode())


def usage(prompt_tokens: int, tokens: int) -> dict[str, int]:
    """What is billed."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": prompt_tokens + tokens,
    }


def _filtered(state: State, call: Call, model: str, n: int) -> Reply:
    """What the content filter answers: an error on Azure, an empty response elsewhere."""
    if call.azure:
        message = (
            "The response was filtered due to the prompt triggering Azure OpenAI's content "
            "management policy. Please modify your prompt and retry."
        )
        raise ApiError(400, message, param="prompt", code="content_filter")
    choices = (_choice(index, '""', "null", "content_filter") for index in range(n))
    return _reply(state, model, ",".join(choices), 0, 0)


ROUTES = {"POST /chat/completions": create}
