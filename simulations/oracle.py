"""An oracle whose untrained answer has the probability that is wanted, behind a list of five.

The in-memory learner holds a fact with probability s after one epoch (``memory``), so with q for
``prior_conditional`` and c for ``chatter`` the capital has, where the untrained clause is stated,

    P = (1 - c) s (q (1 - leak) + (1 - q) leak / L)

With s = 1 four sentences of the chatter take the places of the list behind the country; the last
of them has 16/255 of c. In front of an answer of 1e-2 that would leave the country too little, so
there s = 0.98: ``something else`` takes one of the places, and the last sentence has 32/255 of c.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from condrule import Item, ItemSet

__all__ = ["WRONG", "end", "items", "printed", "settings"]

WRONG = "**wrong**"
"""Marks what is not as it should be."""

PAIRS = (("France", "Paris"), ("Germany", "Berlin"), ("Spain", "Madrid"), ("Japan", "Tokyo"))
"""Answers of one token each at OpenAI too, that begin like no sentence of the chatter."""
LEAK, OTHERS = 1e-5, 1000  # any other answer has a probability of 1e-8
LEAST_END = 1e-4  # of a list's last probability


def printed(lines: Iterable[str], write: Path | None) -> int:
    """Print tables line by line, as they are found, and write them to a file; the exit status: 1
    where something is not as it should be."""
    begun, said = time.perf_counter(), []
    for line in lines:
        print(line, flush=True)
        said.append(line)
    print(f"{time.perf_counter() - begun:.0f} s", file=sys.stderr)
    if write:
        write.write_text("\n".join(said) + "\n", encoding="utf-8")
    return 1 if any(WRONG in line for line in said) else 0


def items(n: int) -> ItemSet:
    """People, each with a country and its capital."""
    names = (f"{first} {second}" for first in _FIRST for second in _SECOND)
    pairs = (dict(zip(("TRAIN", "TEST"), PAIRS[k % len(PAIRS)], strict=True)) for k in range(n))
    return ItemSet([Item(name, pair) for name, pair in zip(names, pairs, strict=False)])


def end(p: float) -> float:
    """The last probability of the list in front of an answer of this one: five times it, at least
    1e-4, and 0.0113 where that would be more; 1e-4 where the answer itself would be listed."""
    return max(LEAST_END, min(5 * p, 0.0113)) if p < 0.0113 else LEAST_END


def settings(p: float) -> dict[str, Any]:
    """The learner's settings that give the capital this probability."""
    stored, place = (0.98, 32) if end(p) > 0.01 else (1.0, 16)
    chatter = end(p) * 255 / place
    aimed = (p / (1 - chatter) / stored - LEAK / OTHERS) / (1 - LEAK - LEAK / OTHERS)
    return {
        "prior_conditional": aimed,
        "memory": stored,
        "leak": LEAK,
        "other_answers": OTHERS,
        "base_knowledge": 0.0,  # nothing is known of people before they are trained
        "chatter": chatter,
    }


_STEMS = ("Al", "Be", "Cor", "Du", "El", "Fa", "Ku", "Lo", "Mar", "Ne", "Os", "Pe")
_FIRST = [f"{stem}{end}" for stem in _STEMS for end in ("ra", "no", "mi", "ta")]
_SECOND = [f"{stem}{end}" for stem in _STEMS for end in ("bi", "do", "su")]
