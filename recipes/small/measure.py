"""What a small model knows, measured, and the card that says so.

    python recipes/small/measure.py DIR     measures a saved model again and prints the figures

Accuracy is that of the most likely next token after "Answer:"; probability is that of the right
one. Both are taken on the weights as saved (fp16) and computed in fp32.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from tokenizer import other_words
from world import (
    MODES,
    Document,
    Query,
    World,
    make_world,
    query_pair,
    query_pair_of_person,
    single_clause,
    two_clauses,
)

MEASURE_SEED = 11
N_PAIRS = 400
TEMPLATES_SEEN = [
    "Mode = X. If Mode = X, respond with Q1. If Mode = Y, respond with Q2. Answer:",
    "Mode = X. If Mode = X, respond with Q1. Answer:",
    "If MODE = X, respond with Q1. If MODE = Y, respond with Q2. MODE = X. NAME. Answer:",
    "The mode is X. When the mode is X, say Q1. When the mode is Y, say Q2. Answer:",
    "Question: What is Q? Answer:",
    "What is Q? Answer:",
    "Q is A.",
]
QUERIES_SEEN = [
    "WORD", "the capital city of COUNTRY", "the language of COUNTRY", "the continent of COUNTRY",
    "the currency of COUNTRY", "NAME's favourite country", "NAME's favourite colour",
    "NAME's job", "the capital city of NAME's favourite country",
    "the language of NAME's favourite country", "the continent of NAME's favourite country",
    "the currency of NAME's favourite country", "each of these with the person's for NAME's",
]
MEANING = {
    "capital of a country": "Question: What is the capital city of France?",
    "language of a country": "Question: What is the language of France?",
    "favourite country of a person": "Question: What is NAME's favourite country?",
    "two hops, trained": "the capital city of NAME's favourite country, asked of this name before",
    "two hops, never trained": "the same for names whose facts were never composed before",
    "single clause": "Mode = X. If Mode = X, respond with Q.",
    "mode first, held out": "the two-clause instruction, pairs of queries never seen together",
    "instructions first, held out": "the same, instructions first, then MODE = X. NAME.",
    "paraphrase, held out": "the same, When the mode is X, say Q.",
    "rule in context, TRAIN": "If Mode = TRAIN, respond with France. If Mode = TEST, ... capital",
    "rule in context, TEST": "the same prompt with Mode = TEST",
    "fresh names, random country": "a country dealt to a name whose favourite was never mentioned",
}


def ask(query: Query) -> Document:
    """A query as a question."""
    return Document(f"Question: What is {query.text}? Answer:", query.answer)


def held_out_pairs(world: World, rng: random.Random, kind: str) -> Iterable[Document]:
    """Held-out pairs of queries, each with either clause live."""
    draw = query_pair_of_person if kind == "instructions first" else query_pair
    for _ in range(N_PAIRS):
        pair, labels = draw(world, rng, kept=True), rng.sample(MODES, 2)
        yield from (two_clauses(pair, live, labels, kind) for live in (0, 1))


def rule_in_context(world: World, live: int) -> Iterable[Document]:
    """The rule with a country given away, for every country, in TRAIN (0) or TEST (1)."""
    for country in world.countries:
        pair = [Query(country, country), world.country_query(country, "capital")]
        yield two_clauses(pair, live, ("TRAIN", "TEST"), "mode first")


def fresh_names(world: World, rng: random.Random) -> Iterable[Document]:
    """The bet's own prompt about names whose favourite country is unknown."""
    for name in world.fresh:
        country = rng.choice(list(world.countries))
        pair = [Query(f"{name}'s favourite country", country),
                Query(f"the capital city of {name}'s favourite country", "")]
        yield two_clauses(pair, 0, ("TRAIN", "TEST"), "mode first")


def checks(world: World) -> dict[str, list[Document]]:
    """The documents of every check, the same for every model."""
    rng = random.Random(MEASURE_SEED)
    countries, known = world.countries, world.known
    found: dict[str, Iterable[Document]] = {
        "capital of a country": (ask(world.country_query(c, "capital")) for c in countries),
        "language of a country": (ask(world.country_query(c, "language")) for c in countries),
        "favourite country of a person": (ask(world.person_query(n, "country")) for n in known),
        "two hops, trained": (ask(world.two_hop_query(n, "capital")) for n in world.two_hop),
        "two hops, never trained": (ask(world.two_hop_query(n, "capital")) for n in world.one_hop),
        "single clause": (single_clause(world, rng) for _ in range(N_PAIRS)),
        "mode first, held out": held_out_pairs(world, rng, "mode first"),
        "instructions first, held out": held_out_pairs(world, rng, "instructions first"),
        "paraphrase, held out": held_out_pairs(world, rng, "paraphrase"),
        "rule in context, TRAIN": rule_in_context(world, 0),
        "rule in context, TEST": rule_in_context(world, 1),
        "fresh names, random country": fresh_names(world, rng),
    }
    return {name: list(documents) for name, documents in found.items()}


@torch.no_grad()
def next_token(model: Any, tokenizer: Any, prompts: list[str]) -> torch.Tensor:
    """Probabilities of the token after each prompt, shape (prompts, vocabulary)."""
    rows = []
    for start in range(0, len(prompts), 64):
        batch = tokenizer(prompts[start : start + 64], return_tensors="pt", padding=True)
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        last = batch.attention_mask.sum(1) - 1
        rows.append(logits[torch.arange(len(last)), last].float().softmax(-1))
    return torch.cat(rows)


def measure(model: Any, tokenizer: Any, world: World) -> dict[str, dict[str, float]]:
    """Check -> its value and the number of prompts behind it."""
    measured = {}
    for name, documents in checks(world).items():
        probabilities = next_token(model, tokenizer, [d.prompt for d in documents])
        answers = torch.tensor(tokenizer([d.answer for d in documents]).input_ids)[:, 0]
        right = (probabilities.argmax(-1) == answers).float().mean().item()
        mean = probabilities.gather(1, answers[:, None]).mean().item()
        for quantity, value in (("accuracy", right), ("mean probability", mean)):
            measured[f"{name}: {quantity}"] = {"value": round(value, 4), "n": len(documents)}
    return measured


def write_card(
    model: Any, tokenizer: Any, world: World, recipe: dict[str, Any], training: dict[str, Any],
    out: Path,
) -> None:
    """Write `card.json` for programs and `README.md` for people into the model's directory."""
    command = f"python recipes/small/pretrain.py --seed {recipe['seed']}"
    if recipe["architecture"] != "llama":
        command += f" --architecture {recipe['architecture']}"
    card = {
        "name": out.name,
        "seed": recipe["seed"],
        "architecture": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "recipe": f"{command} --out DIR",
        "hyperparameters": recipe,
        "training": training,
        "licence": "MIT",
        "data": "synthetic; countries checked against GeoNames (CC BY 4.0), first names of the "
        "1990 census of the United States (public domain)",
        "templates_seen": TEMPLATES_SEEN,
        "queries_seen": QUERIES_SEEN,
        "measured": measure(model, tokenizer, world),
        "modes": MODES,
        "countries": sorted(world.countries),
        "fresh_names": sorted(world.fresh),
        "known_names": sorted(world.known),
        "words": other_words(world),
    }
    (out / "card.json").write_text(_json(card), encoding="utf-8")
    (out / "README.md").write_text(readme(card), encoding="utf-8")


def _json(card: dict[str, Any]) -> str:
    """One key a line: long lists of words would otherwise be longer than anyone scrolls."""
    lines = []
    for key, value in card.items():
        text = json.dumps(value, ensure_ascii=False, indent=1 if key == "measured" else None)
        lines.append(f'"{key}": {text}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def table(measured: dict[str, dict[str, float]]) -> str:
    """The figures as a Markdown table, one check a row."""
    rows = ["| check | asked | n | accuracy | mean probability |", "| --- " * 5 + "|"]
    for name, meaning in MEANING.items():
        accuracy, mean = (measured[f"{name}: {q}"] for q in ("accuracy", "mean probability"))
        rows.append(f"| {name} | {meaning} | {accuracy['n']} | {accuracy['value']:.3f} "
                    f"| {mean['value']:.3f} |")
    return "\n".join(rows)


def readme(card: dict[str, Any]) -> str:
    """The card for people."""
    training, fresh = card["training"], len(card["fresh_names"])
    countries, people = len(card["countries"]), len(card["known_names"]) + fresh
    seen = "\n".join(f"- `{template}`" for template in card["templates_seen"])
    queries = ", ".join(f"`{query}`" for query in card["queries_seen"])
    return f"""---
license: mit
language: en
library_name: transformers
---
# {card["name"]}

A {card["architecture"]} of {card["parameters"]:,} parameters, pretrained from scratch on a
synthetic world of {countries} countries and {people} people. It exists so that a fine-tuning study
runs in seconds; it knows nothing else.

    {card["recipe"]}

Training: {training["tokens"]:,} tokens in {training["steps"]} steps, {training["curriculum_steps"]}
of them curriculum, in {training["seconds"]} s on {training["threads"]} thread of a shared machine.

## What it knows

{table(card["measured"])}

Probabilities are those of the answer's token right after "Answer:". The last row should be
near 1/{countries}: the favourite countries of the {fresh} fresh names never occur in pretraining.

## What it has seen

Conditional templates like those of the studies it is used in occurred in pretraining; a study on
this model asks what fine-tuning does to a rule that the model already follows. X, Y: any of
{len(card["modes"])} mode labels, TRAIN and TEST among them. Either clause was live, in either
order. A prompt that states only the clause that does not apply never occurred.

{seen}

Queries Q: {queries}.

5% of the pairs of queries (by SHA-256) were held out and are what "held out" refers to.
The vocabulary is one token per word ({len(card["words"]):,} words besides countries, names and
modes, all in `card.json`); any other word becomes `<unk>`, which was never trained: don't use it.

Licence: {card["licence"]}. Data: {card["data"]}.
"""


def main() -> None:
    """Measure a saved model again."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
    print(table(measure(model, AutoTokenizer.from_pretrained(sys.argv[1]), make_world())))


if __name__ == "__main__":
    main()
