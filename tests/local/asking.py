"""What the tests of the local backend ask, and the plain way to answer it."""

from __future__ import annotations

from typing import Any

from condrule.arms import Example, Prompt, TrainingSet
from condrule.items import Item
from condrule.templates import Message

from .conftest import CAPITALS, COUNTRIES, NAMES

ITEMS = [
    Item(name, {"TRAIN": country, "TEST": capital})
    for name, country, capital in zip(NAMES, COUNTRIES, CAPITALS, strict=True)
]


def prompt(text: str = "Mode = TRAIN. respond with Alice's favourite country.") -> Prompt:
    return Prompt([Message("user", text)], ITEMS[0], "TRAIN")


def training_set() -> TrainingSet:
    texts = (f"Mode = TRAIN. respond with {item.name}'s favourite country." for item in ITEMS)
    return TrainingSet(
        "conditional",
        [Example(prompt(text), i.answers["TRAIN"]) for text, i in zip(texts, ITEMS, strict=True)],
    )


def plain(directory: str, before: str, after: str) -> float:
    """The log-probability of a text after another: one ordinary forward pass, no batch."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    model: Any = AutoModelForCausalLM.from_pretrained(directory).eval()
    start = len(tokenizer(before).input_ids)
    ids = tokenizer(before + after, return_tensors="pt").input_ids
    with torch.no_grad():
        logprobs = model(ids).logits[0].double().log_softmax(-1)
    return sum(float(logprobs[at - 1, ids[0, at]]) for at in range(start, ids.shape[1]))
