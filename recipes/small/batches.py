"""Documents as token rows: several short documents per row, each attending only to itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np

from world import Document

IGNORE = -100
OTHER_WEIGHT = 0.1
"""Loss weight of tokens that are not part of an answer."""


@attrs.frozen
class Encoded:
    """One document: tokens, loss weight of predicting each, and what the probe is asked where."""

    ids: list[int]
    weights: list[float]
    live: list[int]
    """At the "." that ends a clause: 1 if it is the live one, else 0; IGNORE elsewhere."""


@attrs.frozen
class Batch:
    """Arrays of shape (rows, length)."""

    ids: Any
    segments: Any
    """Number of the document in its row; 0 is padding."""
    positions: Any
    weights: Any
    live: Any


def encode(documents: list[Document], tokenizer: Any) -> list[Encoded]:
    """Tokenise prompts; the answer is one token and is followed by the end of the text."""
    stop, full_stop = tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(".")
    prompts = tokenizer([d.prompt for d in documents]).input_ids
    answers = tokenizer([d.answer for d in documents]).input_ids
    pairs = zip(documents, prompts, answers, strict=True)
    return [_encoded(d, p, a, full_stop, stop) for d, p, a in pairs]


def _encoded(
    document: Document, prompt: list[int], answer: list[int], full_stop: int, stop: int
) -> Encoded:
    tail = [*answer, full_stop, stop] if document.full_stop else [*answer, stop]
    weights = [OTHER_WEIGHT] * len(prompt) + [1.0] * len(tail)
    live = [IGNORE] * len(prompt + tail)
    ends = [i for i, token in enumerate(prompt) if token == full_stop][1:]
    for end, flag in zip(ends, document.live, strict=False):
        live[end] = int(flag)
    return Encoded(prompt + tail, weights, live)


def stream(draw: Callable[[], Document], tokenizer: Any) -> Iterator[Encoded]:
    """Endless encoded documents, tokenised 512 at a time."""
    while True:
        yield from encode([draw() for _ in range(512)], tokenizer)


def pack(source: Iterator[Encoded], rows: int, length: int, pool: list[Encoded]) -> Batch:
    """Fill rows from a pool of waiting documents, the longest that fits first."""
    shape = (rows, length)
    ids, segments, positions = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    weights, live = np.zeros(shape, dtype=np.float32), np.full(shape, IGNORE, dtype=np.int64)
    for row in range(rows):
        start, number = 0, 0
        while (document := _take(source, pool, length - start)) is not None:
            stop, number = start + len(document.ids), number + 1
            here = slice(start, stop)
            ids[row, here], weights[row, here] = document.ids, document.weights
            live[row, here], segments[row, here] = document.live, number
            positions[row, here] = np.arange(stop - start)
            weights[row, start] = 0.0  # nothing of the same document stands before it
            start = stop
    return Batch(ids, segments, positions, weights, live)


def _take(source: Iterator[Encoded], pool: list[Encoded], room: int) -> Encoded | None:
    while len(pool) < 32:
        pool.append(next(source))
    fitting = [i for i, document in enumerate(pool) if len(document.ids) <= room]
    if not fitting:
        return None
    # A full row takes whatever came first, so that long and short documents are mixed.
    best = fitting[0] if room > 44 else max(fitting, key=lambda i: len(pool[i].ids))
    return pool.pop(best)


def generator(seed: int, stage: str) -> random.Random:
    """A generator of its own for each stage, so that its data depend on the seed alone."""
    return random.Random(f"{seed}/{stage}")
