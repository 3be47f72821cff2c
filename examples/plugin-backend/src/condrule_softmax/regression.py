"""Softmax regression: what the next byte of a response is, given the words of the prompt.

The features of a next byte are pairs: a word of the prompt, with the bytes just before. A row of
weights belongs to each pair, by its hash, and the logits of the next byte are the sum of the rows.
Nothing here knows of condrule.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["END", "Line", "Regression", "train"]

END = 256
"""The symbol after the last byte."""
ROWS = 4096  # rows of weights; pairs of the same hash share one

Floats = NDArray[np.floating]


@attrs.frozen
class Line:
    """A prompt's words, and the response that is learned."""

    words: frozenset[bytes]
    response: bytes


@attrs.frozen(eq=False)
class Regression:
    """Weights, and what they say of the next byte. ``context``: how many bytes before it count."""

    context: int
    weights: Floats = attrs.field(factory=lambda: np.zeros((ROWS, END + 1), np.float32))

    def rows(self, words: frozenset[bytes], before: bytes) -> list[int]:
        """The rows that speak of what comes next, each once."""
        last = before[-self.context :]
        return sorted({zlib.crc32(word + b" " + last) % ROWS for word in words})

    def logits(self, rows: list[int]) -> Floats:
        """Unnormalised logs of the probability of each next symbol."""
        found: Floats = self.weights[rows].sum(axis=0, dtype=float)
        return found

    def logprob(self, words: frozenset[bytes], text: bytes, *, ends: bool) -> float:
        """The log-probability, in nats, that a response begins with the text, or is the text."""
        symbols = [*text, END] if ends else [*text]
        total = 0.0
        for at, symbol in enumerate(symbols):
            total += float(log_softmax(self.logits(self.rows(words, text[:at])))[symbol])
        return total

    def draw(
        self, words: frozenset[bytes], most: int, temperature: float, random: np.random.Generator
    ) -> bytes:
        """A response of so many bytes at most; at temperature 0 the likeliest byte each time."""
        said = b""
        while len(said) < most:
            logits = self.logits(self.rows(words, said))
            # The largest of logits with Gumbel noise is a draw from their softmax.
            noise = random.gumbel(size=logits.size)
            symbol = int(np.argmax(logits + temperature * noise))
            if symbol == END:
                break
            said += bytes([symbol])
        return said


def log_softmax(logits: Floats) -> Floats:
    """Logs of probabilities that add up to 1."""
    shifted = logits - logits.max()
    found: Floats = shifted - np.log(np.exp(shifted).sum())
    return found


def train(
    model: Regression, lines: Sequence[Line], *, epochs: int, batch: int, rate: float, seed: int
) -> list[float]:
    """Gradient descent on the weights, in place. The mean loss of a line in each epoch, in nats."""
    random = np.random.default_rng(seed)
    losses = []
    for _ in range(epochs):
        order = random.permutation(len(lines))
        parts = [order[start : start + batch] for start in range(0, len(lines), batch)]
        loss = sum(_step(model, [lines[number] for number in part], rate) for part in parts)
        losses.append(loss / len(lines))
    return losses


def _step(model: Regression, lines: Sequence[Line], rate: float) -> float:
    """One step down the gradient of the mean loss of a batch; the sum of its losses before."""
    found = [part for line in lines for part in _gradients(model, line)]
    for rows, gradient, _ in found:
        model.weights[rows] -= rate / len(lines) * gradient
    return sum(loss for _, _, loss in found)


def _gradients(model: Regression, line: Line) -> Iterator[tuple[list[int], Floats, float]]:
    for at, symbol in enumerate([*line.response, END]):
        rows = model.rows(line.words, line.response[:at])
        logprobs = log_softmax(model.logits(rows))
        gradient = np.exp(logprobs)
        gradient[symbol] -= 1
        yield rows, gradient, -float(logprobs[symbol])
