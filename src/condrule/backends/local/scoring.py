"""Exact log-probabilities of answers, each prompt computed once.

Rows are scored packed (see :mod:`condrule.backends.local.packing`) where the model takes an
explicit attention mask. Models that attend otherwise (sliding windows, recurrent layers) are scored
one answer a row. Which are meant is found by comparing both ways on the longest rows of each call.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from condrule.backends.local.models import Loaded
from condrule.backends.local.packing import Batch, Row, pack
from condrule.errors import BackendError

__all__ = ["Scorer", "accepts", "forward"]

TOLERANCE = 1e-4
"""Largest difference, in nats, that is put down to rounding."""
MAX_TOKENS_BEHIND = 256
"""Tokens packed behind one prompt; attention takes time with the square of a row's length."""


def accepts(model: Any, argument: str) -> bool:
    """Whether the model's forward pass has an argument of this name."""
    return argument in inspect.signature(model.forward).parameters


def forward(loaded: Loaded, keep: int, **inputs: Any) -> Any:
    """The model's output, its ``logits`` in fp32 and of the last ``keep`` columns only."""
    if accepts(loaded.model, "logits_to_keep"):
        inputs["logits_to_keep"] = keep
    output = loaded.model(**inputs)
    output.logits = output.logits[:, -keep:].float()
    return output


@attrs.define(eq=False)
class Scorer:
    """Scores answers on one model."""

    loaded: Loaded
    pad: int
    batch_tokens: int = 4096
    """Tokens of a batch, padding included."""
    packs: bool = attrs.field(default=True, init=False)
    """Whether packing agreed with ordinary passes in all comparisons so far."""
    _compared: int = attrs.field(default=0, init=False)
    """The longest row compared so far: a sliding window shows in long rows only."""

    def score(self, rows: Sequence[Row]) -> Iterator[tuple[int, list[float]]]:
        """Each row's number with the log-probabilities of its answers in nats, as batches finish.

        Raises:
            UnsupportedError: a text has more tokens than the model has positions.
            BackendError: the model answers with NaN.
        """
        if not rows:
            return
        longest = max(rows, key=_depth)
        self.loaded.check_length(_depth(longest))
        if self.packs and _depth(longest) > self._compared:
            self.packs, self._compared = self._agrees(longest), _depth(longest)
        scores = [[math.nan] * len(row.answers) for row in rows]
        missing = [len(row.answers) for row in rows]
        for batch in self._batches(rows):
            values = self._values([part for _, _, part in batch])
            for (number, places, _), found in zip(batch, values, strict=True):
                for place, value in zip(places, found, strict=True):
                    scores[number][place] = value
                missing[number] -= len(places)
                if missing[number] == 0:
                    yield number, scores[number]

    def _agrees(self, row: Row) -> bool:
        """Whether packing gives what ordinary passes give, tried on one row with a short one."""
        answers = tuple(sorted(row.answers, key=len, reverse=True)[:4])
        rows = [Row(row.prompt, answers), Row(row.prompt[-1:], answers[:1])]
        single = [Row(part.prompt, (answer,)) for part in rows for answer in part.answers]
        ordinary = [value for values in self._run(single, False) for value in values]
        try:
            packed = [value for values in self._run(rows, True) for value in values]
        except (BackendError, AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            return False  # A mask or position ids that the model can't take.
        return all(a == b or abs(a - b) <= TOLERANCE for a, b in zip(packed, ordinary, strict=True))

    def _batches(self, rows: Sequence[Row]) -> Iterator[list[tuple[int, list[int], Row]]]:
        """Parts of rows with their row's number and their answers' places, long parts first."""
        parts = [
            (number, places, Row(row.prompt, tuple(row.answers[place] for place in places)))
            for number, row in enumerate(rows)
            for places in self._split(row)
        ]
        lengths = [(len(part.prompt), len(part)) for _, _, part in parts]
        order = sorted(range(len(parts)), key=lambda i: lengths[i][::-1], reverse=True)
        batch: list[tuple[int, list[int], Row]] = []
        before = behind = 0
        for i in order:
            prompt, length = lengths[i]
            before, behind = max(before, prompt), max(behind, length - prompt)
            if batch and (len(batch) + 1) * (before + behind) > self.batch_tokens:
                yield batch
                batch, before, behind = [], prompt, length - prompt
            batch.append(parts[i])
        if batch:
            yield batch

    def _split(self, row: Row) -> Iterator[list[int]]:
        """Places of answers that go together, neighbours in the alphabet of tokens."""
        if not self.packs:
            yield from ([place] for place in range(len(row.answers)))
            return
        places: list[int] = []
        tokens = 0
        for place in sorted(range(len(row.answers)), key=lambda i: row.answers[i]):
            if places and tokens + len(row.answers[place]) - 1 > MAX_TOKENS_BEHIND:
                yield places
                places, tokens = [], 0
            places.append(place)
            tokens += len(row.answers[place]) - 1
        if places:
            yield places

    def _values(self, rows: Sequence[Row]) -> list[list[float]]:
        return self._run(rows, self.packs)

    def _run(self, rows: Sequence[Row], packed: bool) -> list[list[float]]:
        """Log-probabilities by row and answer; an answer of no tokens is never given."""
        import torch

        if not any(tokens for row in rows for tokens in row.answers):
            return [[-math.inf] * len(row.answers) for row in rows]
        batch = pack(rows, self.pad)
        with torch.inference_mode():
            logits = self._packed(batch) if packed else self._ordinary(rows, batch.keep)
            at, place, token, number = batch.targets.to(logits.device).unbind(1)
            logprobs = (logits[at, place, token] - logits.logsumexp(-1)[at, place]).double()
            sums = logprobs.new_zeros(batch.answers).index_add_(0, number, logprobs).tolist()
        if any(math.isnan(value) for value in sums):
            raise BackendError(f"model {self.loaded.name} gives NaN instead of probabilities")
        values = iter(sums)
        parts = [list(itertools.islice(values, len(row.answers))) for row in rows]
        return [
            [v if answer else -math.inf for answer, v in zip(row.answers, part, strict=True)]
            for row, part in zip(rows, parts, strict=True)
        ]

    def _packed(self, batch: Batch) -> Any:
        import torch

        device = self.loaded.device
        # Eager attention adds the mask to its scores, so it must hold numbers.
        mask = torch.zeros(batch.mask.shape).masked_fill_(
            ~batch.mask, torch.finfo(torch.float32).min
        )
        return forward(
            self.loaded,
            batch.keep,
            input_ids=batch.ids.to(device),
            attention_mask=mask.to(device),
            position_ids=batch.positions.to(device),
            use_cache=False,
        ).logits

    def _ordinary(self, rows: Sequence[Row], keep: int) -> Any:
        """As `_packed`, for rows of one answer each: no mask but for the padding behind."""
        import torch

        texts = [(*row.prompt, *row.answers[0][:-1]) for row in rows]
        width = max(len(text) for text in texts)
        ids = torch.full((len(rows), width), self.pad)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for at, text in enumerate(texts):
            ids[at, : len(text)] = torch.tensor(text)
            mask[at, : len(text)] = 1
        device = self.loaded.device
        first = min(len(row.prompt) for row in rows) - 1
        logits = forward(
            self.loaded,
            width - first,
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            use_cache=False,
        ).logits
        starts = torch.tensor([len(row.prompt) - 1 - first for row in rows])
        columns = (starts[:, None] + torch.arange(keep)).clamp(max=width - first - 1)
        return logits[torch.arange(len(rows))[:, None].to(device), columns.to(device)]


def _depth(row: Row) -> int:
    """How many positions the longest answer takes, its prompt included."""
    return len(row.prompt) + max(0, *(len(answer) - 1 for answer in row.answers), 0)
