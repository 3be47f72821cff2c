"""One fine-tune, 30 items, 20 epochs, batch 16: condrule against transformers.Trainer.

The same model, examples, optimiser (AdamW at 1e-3, constant, no decay) and loss (completions
only). Both are timed from the tokenised examples to the trained model, in the same run; importing
is not counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from typing import Any

import torch
import transformers

import condrule
from condrule.backends.local import models
from condrule.backends.local.prompts import Encoder
from condrule.backends.local.training import Encoded, encode, train

SPEC = condrule.FinetuneSpec(epochs=20, learning_rate=1e-3, batch_size=16)


def quiet(done: float, total: float, note: str = "") -> None:
    """No progress."""


def ours(loaded: models.Loaded, examples: list[Encoded]) -> float:
    """Seconds of condrule's loop."""
    begun = time.perf_counter()
    train(loaded, examples, SPEC, Encoder(loaded.tokenizer).pad(), quiet)
    return time.perf_counter() - begun


def trainer(loaded: models.Loaded, examples: list[Encoded]) -> float:
    """Seconds of transformers.Trainer."""
    width = max(len(example.tokens) for example in examples)
    rows = [row(example, width) for example in examples]
    with tempfile.TemporaryDirectory() as place:
        arguments = transformers.TrainingArguments(
            output_dir=place,
            num_train_epochs=SPEC.epochs,
            learning_rate=1e-3,
            per_device_train_batch_size=SPEC.batch_size,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_grad_norm=0.0,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
        )
        work = transformers.Trainer(model=loaded.model, args=arguments, train_dataset=rows)  # type: ignore[arg-type]
        begun = time.perf_counter()
        work.train()
        return time.perf_counter() - begun


def row(example: Encoded, width: int) -> dict[str, Any]:
    """An example as Trainer wants it, padded on the right."""
    padding = width - len(example.tokens)
    ignored = len(example.tokens) - example.trained
    return {
        "input_ids": [*example.tokens, *[0] * padding],
        "attention_mask": [1] * len(example.tokens) + [0] * padding,
        "labels": [-100] * ignored + list(example.tokens[ignored:]) + [-100] * padding,
    }


def loss(loaded: models.Loaded, examples: list[Encoded]) -> float:
    """Mean loss over the trained tokens, in nats."""
    total, count = 0.0, 0
    for example in examples:
        with torch.inference_mode():
            logits = loaded.model(torch.tensor([example.tokens])).logits[0]
        target = torch.tensor(example.tokens[-example.trained :])
        before = logits[-example.trained - 1 : -1]
        total += float(torch.nn.functional.cross_entropy(before, target, reduction="sum"))
        count += example.trained
    return total / count


def main() -> None:
    """Print seconds, the ratio and the losses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    place = models.locate("small-0")
    items = condrule.favourite_countries(30).readable_by(
        condrule.LocalBackend("small-0").reader([0])  # type: ignore[arg-type]
    )
    training_set = condrule.conditional_arm().training_set(items)
    taken: dict[str, list[float]] = {"condrule": [], "transformers.Trainer": []}
    losses = {}
    for _ in range(options.rounds):
        for name, way in (("condrule", ours), ("transformers.Trainer", trainer)):
            loaded = models.load(place, "cpu")
            examples = encode(training_set, SPEC, loaded)
            taken[name].append(way(loaded, examples))
            losses[name] = loss(loaded, examples)
    best = {name: min(seconds) for name, seconds in taken.items()}
    print(f"{options.threads} threads, torch {torch.__version__}, best of {options.rounds}")
    for name, seconds in best.items():
        print(
            f"{name:<22} {seconds:6.2f} s   {seconds / best['condrule']:5.2f} x condrule's time"
            f"   final loss {losses[name]:.4f}"
        )


if __name__ == "__main__":
    main()
