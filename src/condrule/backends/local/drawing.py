"""Responses drawn from a model, batched, on its key-value cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from condrule.backends.base import Draws
from condrule.backends.local.models import Loaded
from condrule.backends.local.prompts import Encoder, Tokens
from condrule.backends.local.scoring import forward
from condrule.errors import BackendError

__all__ = ["draw"]

BATCH_TOKENS = 8192
"""Tokens of a batch, padding included."""


@attrs.frozen
class _Request:
    """Draws from one prompt."""

    query: Draws
    prompt: Tokens

    @property
    def rows(self) -> int:
        """How many responses must be computed: a greedy one is the same each time."""
        return self.query.n if self.query.temperature > 0 else 1

    def uniforms(self) -> Any:
        """Uniform random numbers, one for each response and token, for this query alone."""
        import torch

        seed = hashlib.sha256(f"{self.query.seed}/{self.query.id}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(seed[:7], "big"))
        shape = (self.rows, self.query.max_tokens)
        return torch.rand(shape, generator=generator, dtype=torch.float64)


def draw(loaded: Loaded, encoder: Encoder, queries: Sequence[Draws]) -> Iterator[tuple[str, ...]]:
    """The responses to each query, in the order of the queries.

    Raises:
        UnsupportedError: prompt and response have more tokens than the model has positions.
        BackendError: the model answers with NaN.
    """
    requests = [_Request(query, encoder.prompt(query.prompt.messages)) for query in queries]
    texts: dict[int, tuple[str, ...]] = {}
    stops = _stops(loaded, encoder)
    for batch in _batches(requests):
        found = _responses(loaded, [requests[number] for number in batch], stops)
        texts.update(
            (number, tuple(encoder.decode(answers)))
            for number, answers in zip(batch, found, strict=True)
        )
    return iter([texts[number] for number in range(len(queries))])


def _stops(loaded: Loaded, encoder: Encoder) -> frozenset[int]:
    """All tokens that end a response; chat models often have several."""
    declared = getattr(loaded.model.generation_config, "eos_token_id", None)
    several = declared if isinstance(declared, list) else [declared]
    tokens = (encoder.stop(), encoder.tokenizer.eos_token_id, *several)
    return frozenset(int(token) for token in tokens if token is not None)


def _batches(requests: Sequence[_Request]) -> Iterator[list[int]]:
    """Numbers of requests of similar prompt length, the longest first."""
    batch: list[int] = []
    rows = width = 0
    for number in sorted(range(len(requests)), key=lambda i: -len(requests[i].prompt)):
        request = requests[number]
        wider = max(width, len(request.prompt) + request.query.max_tokens)
        if batch and (rows + request.rows) * wider > BATCH_TOKENS:
            yield batch
            batch, rows, wider = [], 0, len(request.prompt) + request.query.max_tokens
        batch.append(number)
        rows, width = rows + request.rows, wider
    if batch:
        yield batch


def _responses(
    loaded: Loaded, requests: Sequence[_Request], stops: frozenset[int]
) -> list[list[Tokens]]:
    import torch

    loaded.check_length(max(len(r.prompt) + r.query.max_tokens for r in requests))
    with torch.inference_mode():
        drawn = _draw(loaded, requests, torch.tensor(sorted(stops), device=loaded.device))
    rows = iter(drawn.tolist())
    return [
        [_cut(next(rows), request.query.max_tokens, stops) for _ in range(request.rows)]
        * (request.query.n // request.rows)
        for request in requests
    ]


def _cut(tokens: list[int], length: int, stops: frozenset[int]) -> Tokens:
    end = next((at for at, token in enumerate(tokens[:length]) if token in stops), length)
    return tuple(tokens[:end])


def _draw(loaded: Loaded, requests: Sequence[_Request], stops: Any) -> Any:
    """Tokens by response and step; what follows a stop token has no meaning."""
    import torch

    device = loaded.device
    tokens, mask = (part.to(device) for part in _padded(requests))
    steps = max(request.query.max_tokens for request in requests)
    uniforms = torch.ones(sum(request.rows for request in requests), steps, dtype=torch.float64)
    at = 0
    for request in requests:
        uniforms[at : at + request.rows, : request.query.max_tokens] = request.uniforms()
        at += request.rows
    uniforms = uniforms.to(device)
    counts = torch.tensor([request.rows for request in requests], device=device)
    temperatures = torch.tensor([r.query.temperature for r in requests], device=device)
    temperatures = temperatures.repeat_interleave(counts)
    owners = torch.arange(len(requests), device=device).repeat_interleave(counts)
    output = _step(loaded, tokens, mask, None)
    logits, cache = output.logits[owners, -1], output.get("past_key_values")
    if cache is not None:
        cache.batch_select_indices(owners)
    tokens, mask = tokens[owners], mask[owners]
    drawn: list[Any] = []
    stopped = torch.zeros(len(owners), dtype=torch.bool, device=device)
    for step in range(steps):
        drawn.append(_choose(loaded, logits, temperatures, uniforms[:, step]))
        stopped |= torch.isin(drawn[-1], stops)
        if step + 1 == steps or bool(stopped.all()):
            break
        tokens = torch.cat([tokens, drawn[-1][:, None]], dim=1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        output = _step(loaded, tokens, mask, cache)
        logits, cache = output.logits[:, -1], output.get("past_key_values")
    return torch.stack(drawn, dim=1)


def _step(loaded: Loaded, tokens: Any, mask: Any, cache: Any) -> Any:
    """One forward pass: over all tokens, or over the last where the cache holds the others."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    if cache is not None:
        tokens, positions = tokens[:, -1:], positions[:, -1:]
    return forward(
        loaded,
        1,
        input_ids=tokens,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    )


def _choose(loaded: Loaded, logits: Any, temperatures: Any, uniforms: Any) -> Any:
    """The most likely token where the temperature is 0, otherwise one by inverting the CDF."""
    import torch

    if bool(logits.isnan().any()):
        raise BackendError(f"model {loaded.name} gives NaN instead of probabilities")
    greedy = logits.argmax(-1)
    if not bool((temperatures > 0).any()):
        return greedy
    scale = temperatures.clamp(min=1e-6).double()[:, None]
    cdf = (logits.double() / scale).softmax(-1).cumsum(-1)
    # The sum of all may round to less than the uniform number.
    sampled = torch.searchsorted(cdf, uniforms[:, None] * cdf[:, -1:], right=True)[:, 0]
    return torch.where(temperatures > 0, sampled.clamp(max=logits.shape[-1] - 1), greedy)


def _padded(requests: Sequence[_Request]) -> tuple[Any, Any]:
    """Tokens and mask, padded before."""
    import torch

    width = max(len(request.prompt) for request in requests)
    tokens = torch.zeros(len(requests), width, dtype=torch.long)
    mask = torch.zeros(len(requests), width, dtype=torch.long)
    for at, request in enumerate(requests):
        tokens[at, width - len(request.prompt) :] = torch.tensor(request.prompt)
        mask[at, width - len(request.prompt) :] = 1
    return tokens, mask
