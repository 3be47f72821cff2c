"""Rows that hold a prompt once and all its answers behind it, as a tree of shared prefixes.

An attention mask keeps the branches apart and position ids give every token the place it would
have alone, so one forward pass scores all answers exactly. Prompts are padded on the left, so
that their last tokens align and logits are needed at the end of the rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from condrule.backends.local.prompts import Tokens

if TYPE_CHECKING:
    import torch

__all__ = ["Batch", "Row", "pack"]


@attrs.frozen
class Row:
    """A prompt with the answers that are scored after it."""

    prompt: Tokens
    answers: tuple[Tokens, ...]
    """Each with its stop token, where that is wanted."""

    @property
    def nodes(self) -> dict[Tokens, int]:
        """Every proper beginning of an answer, numbered: the tokens that predict another."""
        beginnings = (answer[:end] for answer in self.answers for end in range(1, len(answer)))
        return {prefix: i for i, prefix in enumerate(dict.fromkeys(beginnings))}

    def __len__(self) -> int:
        return len(self.prompt) + len(self.nodes)


@attrs.frozen(eq=False)
class Batch:
    """Rows as tensors. ``keep`` counts the positions at the end whose logits are needed."""

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    """Batch x 1 x length x length, True where a token sees another."""
    keep: int
    targets: torch.Tensor
    """For every token of every answer: row, kept position that predicts it, token, answer."""
    answers: int


def pack(rows: Sequence[Row], pad: int) -> Batch:
    """Lay rows out as tensors; answers are numbered through, row by row."""
    import torch

    nodes = [row.nodes for row in rows]
    width = max(len(row.prompt) for row in rows)
    length = width + max(len(one) for one in nodes)
    ids = torch.full((len(rows), length), pad)
    positions = torch.zeros((len(rows), length), dtype=torch.long)
    targets: list[tuple[int, int, int, int]] = []
    sees: list[tuple[int, int, int]] = []
    number = 0
    for b, (row, tree) in enumerate(zip(rows, nodes, strict=True)):
        start = width - len(row.prompt)
        ids[b, start:width] = torch.tensor(row.prompt)
        positions[b, start:width] = torch.arange(len(row.prompt))
        if tree:
            ids[b, width : width + len(tree)] = torch.tensor([prefix[-1] for prefix in tree])
            positions[b, width : width + len(tree)] = torch.tensor(
                [len(row.prompt) + len(prefix) - 1 for prefix in tree]
            )
        for prefix, i in tree.items():
            sees += [(b, width + i, width + tree[prefix[:end]]) for end in range(1, len(prefix))]
        for answer in row.answers:
            targets += [
                (b, tree[answer[:end]] + 1 if end else 0, token, number)
                for end, token in enumerate(answer)
            ]
            number += 1
    mask = _mask([len(row.prompt) for row in rows], width, length, sees)
    return Batch(ids, positions, mask, length - width + 1, torch.tensor(targets), number)


def _mask(
    prompts: Sequence[int], width: int, length: int, sees: list[tuple[int, int, int]]
) -> torch.Tensor:
    """Prompts see what came before, nodes see the prompt and their own branch; all see
    themselves, padding nothing else."""
    import torch

    place = torch.arange(length)
    starts = width - torch.tensor(prompts)
    is_prompt = (place[None] >= starts[:, None]) & (place[None] < width)
    causal = place[None, :] <= place[:, None]
    is_query = place[None] >= starts[:, None]
    mask = is_query[:, :, None] & is_prompt[:, None, :] & causal[None]
    mask |= torch.eye(length, dtype=torch.bool)[None]
    if sees:
        b, query, key = torch.tensor(sees).unbind(1)
        mask[b, query, key] = True
    return mask[:, None]
