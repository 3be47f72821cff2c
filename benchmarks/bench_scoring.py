"""Exact scoring of 4,000 (prompt, answer) pairs: condrule against what people do otherwise.

Against one padded Hugging Face forward pass per pair (batches of 64, sorted by length), and against
lm-evaluation-harness's HFLM.loglikelihood on the same pairs where it is installed
(benchmarks/requirements.txt). All in one run on the same model; the numbers must agree.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import time
from collections.abc import Callable
from typing import Any

import torch

import condrule
from condrule.arms import Prompt
from condrule.backends.base import Continuations
from condrule.backends.local.model import LocalModel

PROMPTS, ANSWERS = 200, 20


def study(reader: Any) -> tuple[list[str], list[str]]:
    """200 prompts of about 40 tokens, and 20 answers of 1 to 4 tokens."""
    items = condrule.favourite_countries(n=100).readable_by(reader)
    arm = condrule.conditional_arm()
    prompts = [probe.prompt.messages[0].content for probe in arm.probes(items)][:PROMPTS]
    words = [item.answers["TEST"] for item in items]
    generator = random.Random(0)
    answers = [" ".join(generator.sample(words, 1 + i % 4)) for i in range(ANSWERS)]
    return prompts, answers


def ours(model: LocalModel, prompts: list[str], answers: list[str]) -> list[float]:
    """condrule: each prompt once, its answers packed behind it."""
    item = condrule.Item("x", {"A": "a", "B": "b"})
    queries = [
        Continuations(Prompt((condrule.Message("user", p),), item, "A"), tuple(answers), "equals")
        for p in prompts
    ]
    seen = {observation.query: observation.logprobs for observation in model.ask(queries)}
    return [logprob for query in queries for logprob in seen[query.id] or ()]


def pairs(model: LocalModel, prompts: list[str], answers: list[str]) -> list[tuple[str, str]]:
    """The same as texts: the prompt as the model's template has it, the answer with its end."""
    end = model.loaded.tokenizer.eos_token
    return [(f"{prompt} Answer:", f" {answer}{end}") for prompt in prompts for answer in answers]


def one_pass_per_pair(
    model: LocalModel, prompts: list[str], answers: list[str], size: int = 64
) -> list[float]:
    """Plain transformers: every pair a padded row."""
    tokenizer, network = model.loaded.tokenizer, model.loaded.model
    rows = [
        (tokenizer(before)["input_ids"], tokenizer(before + after)["input_ids"])
        for before, after in pairs(model, prompts, answers)
    ]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][1]))
    found = [0.0] * len(rows)
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        width = max(len(rows[i][1]) for i in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for b, i in enumerate(batch):
            ids[b, : len(rows[i][1])] = torch.tensor(rows[i][1])
            mask[b, : len(rows[i][1])] = 1
        with torch.inference_mode():
            logprobs = network(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
        for b, i in enumerate(batch):
            before, whole = rows[i]
            places = range(len(before), len(whole))
            found[i] = float(sum(logprobs[b, place - 1, whole[place]] for place in places))
    return found


def lm_eval(model: LocalModel, prompts: list[str], answers: list[str]) -> list[float]:
    """lm-evaluation-harness, batch 64."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(
        pretrained=model.loaded.model,
        tokenizer=model.loaded.tokenizer,
        batch_size=64,
        device="cpu",
        add_bos_token=False,
    )
    requests = [
        Instance("loglikelihood", {}, pair, i)
        for i, pair in enumerate(pairs(model, prompts, answers))
    ]
    return [logprob for logprob, _ in harness.loglikelihood(requests, disable_tqdm=True)]


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="small-0", help="a model that ships with condrule")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    backend = condrule.LocalBackend(options.model)
    prompts, answers = study(backend.reader([0]))
    ways: dict[str, Callable[[LocalModel, list[str], list[str]], list[float]]] = {
        "condrule": ours,
        "one forward pass per pair": one_pass_per_pair,
    }
    if importlib.util.find_spec("lm_eval"):
        ways["lm-evaluation-harness"] = lm_eval
    else:
        print("lm-evaluation-harness is not installed (pip install -r benchmarks/requirements.txt)")
    taken, found = {}, {}
    for name, way in ways.items():
        way(backend.model(options.model), prompts[:4], answers)  # type: ignore[arg-type]
        model = backend.model(options.model)
        begun = time.perf_counter()
        found[name] = way(model, prompts, answers)  # type: ignore[arg-type]
        taken[name] = time.perf_counter() - begun
    print(f"{PROMPTS * ANSWERS} pairs, {options.threads} threads, torch {torch.__version__}")
    for name, seconds in taken.items():
        differs = max(abs(a - b) for a, b in zip(found[name], found["condrule"], strict=True))
        print(
            f"{name:<26} {seconds:6.2f} s   {seconds / taken['condrule']:5.1f} x condrule's time"
            f"   largest difference {differs:.1e} nats"
        )


if __name__ == "__main__":
    main()
