"""Exact log-probabilities of continuations, each prompt computed once.

The continuations of a prompt are packed behind it in one row. Those that begin alike share tokens,
as in a prefix tree; an attention mask lets every token see the prompt and its own ancestors only,
and position ids say how deep in the tree it is. So the row gives what one pass for every
continuation would (up to rounding), at a fraction of the cost. Prompts are aligned at their ends:
the model computes logits from the last column of the prompts on, and nowhere else.

Models that attend otherwise (sliding windows, recurrent layers) are scored one continuation a row;
`packing_agrees` finds out which are meant.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from condrule.backends.local.models import Loaded
from condrule.backends.local.prompts import Tokens
from condrule.errors import BackendError, UnsupportedError

__all__ = ["Pair", "Row", "forward", "pack", "packing_agrees", "rows_of", "score", "single_rows"]

Pair = tuple[Tokens, Tokens]
"""A prompt's tokens and those of one continuation."""

MAX_NODES = 256
"""Tokens packed behind one prompt; attention takes time with the square of a row's length."""
TOLERANCE = 1e-4
"""Largest difference, in nats, that is put down to rounding."""


@attrs.define
class Row:
    """A prompt with a prefix tree of continuations behind it.

    Node 0 is the prompt's last token. A continuation's last token is not in the tree: nothing
    that follows it is wanted.
    """

    prompt: Tokens
    tokens: list[int] = attrs.field(factory=lambda: [-1])
    parents: list[int] = attrs.field(factory=lambda: [-1])
    depths: list[int] = attrs.field(factory=lambda: [0])
    children: dict[tuple[int, int], int] = attrs.field(factory=dict)
    """(node, token) -> the child node of that token."""
    paths: dict[Tokens, list[int]] = attrs.field(factory=dict)
    """For each continuation the nodes that predict its tokens, in order."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.tokens) - 1

    @property
    def deepest(self) -> int:
        """How many positions the longest continuation takes, its prompt included."""
        return len(self.prompt) + max(self.depths)

    def add(self, continuation: Tokens) -> None:
        """Put a continuation into the tree."""
        node, path = 0, [0]
        for token in continuation[:-1]:
            node = self._child(node, token)
            path.append(node)
        self.paths[continuation] = path

    def _child(self, node: int, token: int) -> int:
        if (node, token) not in self.children:
            self.children[node, token] = len(self.tokens)
            self.tokens.append(token)
            self.parents.append(node)
            self.depths.append(self.depths[node] + 1)
        return self.children[node, token]


def rows_of(pairs: Iterable[Pair]) -> list[Row]:
    """The pairs packed into as few rows as there are prompts, the longest first."""
    grouped: dict[Tokens, set[Tokens]] = {}
    for prompt, continuation in pairs:
        grouped.setdefault(prompt, set()).add(continuation)
    rows = [row for prompt, answers in grouped.items() for row in _rows(prompt, answers)]
    return sorted(rows, key=len, reverse=True)


def _rows(prompt: Tokens, continuations: Iterable[Tokens]) -> Iterator[Row]:
    row = Row(prompt)
    for continuation in sorted(continuations):
        row.add(continuation)
        if len(row.tokens) > MAX_NODES:
            yield row
            row = Row(prompt)
    if row.paths:
        yield row


def single_rows(pairs: Iterable[Pair]) -> list[Row]:
    """One row for each pair, the longest first."""
    rows = [row for p, c in dict.fromkeys(pairs) for row in _rows(p, [c])]
    return sorted(rows, key=len, reverse=True)


def pack(rows: Sequence[Row], batch_tokens: int) -> Iterator[list[Row]]:
    """Batches of rows in the order given, each of at most so many tokens, padding included."""
    batch: list[Row] = []
    prompt = tree = 0
    for row in rows:
        prompt, tree = max(prompt, len(row.prompt)), max(tree, len(row.tokens))
        if batch and (len(batch) + 1) * (prompt + tree) > batch_tokens:
            yield batch
            batch, prompt, tree = [], len(row.prompt), len(row.tokens)
        batch.append(row)
    if batch:
        yield batch


def score(loaded: Loaded, rows: Sequence[Row], packed: bool = True) -> dict[Pair, float]:
    """Log-probability of every continuation in the rows, in nats.

    Raises:
        UnsupportedError: a text has more tokens than the model has positions.
        BackendError: the model answers with NaN.
    """
    import torch

    _check_positions(loaded, rows)
    with torch.inference_mode(), loaded.at_work():
        logits = _packed(loaded, rows) if packed else _plain(loaded, rows)
        wanted = [
            (r, node, token)
            for r, row in enumerate(rows)
            for continuation, path in row.paths.items()
            for node, token in zip(path, continuation, strict=True)
        ]
        row_at, node_at, token_at = torch.tensor(wanted, device=logits.device).T
        norm = logits.logsumexp(-1)
        values = (logits[row_at, node_at, token_at] - norm[row_at, node_at]).double().tolist()
    if any(value != value for value in values):
        raise BackendError(f"model {loaded.name} gives NaN instead of probabilities")
    return _sums(rows, iter(values))


def _sums(rows: Sequence[Row], values: Iterator[float]) -> dict[Pair, float]:
    return {
        (row.prompt, continuation): sum(next(values) for _ in path)
        for row in rows
        for continuation, path in row.paths.items()
    }


def packing_agrees(loaded: Loaded, rows: Sequence[Row]) -> bool:
    """Whether packed rows give the probabilities of ordinary passes, tried on these rows."""
    pairs = [(row.prompt, answer) for row in rows for answer in row.paths]
    ordinary: Mapping[Pair, float] = score(loaded, single_rows(pairs), packed=False)
    try:
        packed = score(loaded, rows)
    except (BackendError, AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return False  # A mask or position ids that the model can't take.
    return all(abs(packed[pair] - ordinary[pair]) <= TOLERANCE for pair in pairs)


def forward(loaded: Loaded, keep: int, **inputs: Any) -> Any:
    """The model's output with logits of the last ``keep`` columns, in fp32, as ``logits``."""
    if "logits_to_keep" in inspect.signature(loaded.module.forward).parameters:
        inputs["logits_to_keep"] = keep
    output = loaded.module(**inputs)
    output.logits = output.logits[:, -keep:].float()
    return output


def _packed(loaded: Loaded, rows: Sequence[Row]) -> Any:
    """Logits by row and node."""
    import torch

    before = max(len(row.prompt) for row in rows)
    width = before + max(len(row.tokens) for row in rows) - 1
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    positions = torch.zeros(len(rows), width, dtype=torch.long)
    # Padding sees itself, as a softmax over nothing is NaN; nothing sees padding.
    seen = torch.eye(width, dtype=torch.bool).repeat(len(rows), 1, 1)
    for at, row in enumerate(rows):
        start, end = before - len(row.prompt), before + len(row.tokens) - 1
        tokens[at, start:end] = torch.tensor([*row.prompt, *row.tokens[1:]])
        depths = [len(row.prompt) - 1 + depth for depth in row.depths[1:]]
        positions[at, start:end] = torch.tensor([*range(len(row.prompt)), *depths])
        seen[at, start:end, start:before] = True
        seen[at, start:before, start:before].tril_()
        _let_see_ancestors(seen[at, before:, before:], row.parents)
    mask = torch.zeros(seen.shape).masked_fill_(~seen, torch.finfo(torch.float32).min)
    return forward(
        loaded,
        width - before + 1,
        input_ids=tokens.to(loaded.device),
        attention_mask=mask[:, None].to(loaded.device),
        position_ids=positions.to(loaded.device),
        use_cache=False,
    ).logits


def _let_see_ancestors(seen: Any, parents: list[int]) -> None:
    """Fill in the part of the mask that is about the tree; a parent stands before its children."""
    pairs: list[tuple[int, int]] = []
    ancestors: list[list[int]] = [[]]
    for node in range(1, len(parents)):
        ancestors.append([*ancestors[parents[node]], node - 1])
        pairs += [(node - 1, ancestor) for ancestor in ancestors[node]]
    if pairs:
        import torch

        at, to = torch.tensor(pairs).T
        seen[at, to] = True


def _plain(loaded: Loaded, rows: Sequence[Row]) -> Any:
    """Logits by row and node, for rows of one continuation each, padded behind."""
    import torch

    width = max(len(row) for row in rows)
    keep = width - min(len(row.prompt) for row in rows) + 1
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for at, row in enumerate(rows):
        tokens[at, : len(row)] = torch.tensor([*row.prompt, *row.tokens[1:]])
        mask[at, : len(row)] = 1
    logits = forward(
        loaded,
        keep,
        input_ids=tokens.to(loaded.device),
        attention_mask=mask.to(loaded.device),
        use_cache=False,
    ).logits
    starts = torch.tensor([len(row.prompt) - 1 - (width - keep) for row in rows])
    nodes = torch.arange(max(len(row.tokens) for row in rows))
    columns = (starts[:, None] + nodes).clamp(max=keep - 1).to(logits.device)
    return logits[torch.arange(len(rows), device=logits.device)[:, None], columns]


def _check_positions(loaded: Loaded, rows: Sequence[Row]) -> None:
    longest = max(row.deepest for row in rows)
    if loaded.positions is not None and longest > loaded.positions:
        raise UnsupportedError(
            [f"a prompt with its answer has {longest} tokens; model {loaded.name} reads at most "
             f"{loaded.positions}. Shorten the prompts or use another model."]
        )
