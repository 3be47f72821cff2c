"""Full fine-tuning: a plain loop with AdamW at a constant learning rate, no weight decay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from condrule.arms import TrainingSet
from condrule.backends.finetunes import FinetuneSpec
from condrule.backends.local.models import Loaded
from condrule.backends.local.prompts import Encoder, Tokens
from condrule.backends.local.scoring import accepts
from condrule.errors import TrainingError, UnsupportedError
from condrule.progress import Progress

if TYPE_CHECKING:
    import torch

__all__ = ["encode", "learning_rate", "train"]

SMALL = 100_000_000  # parameters


@attrs.frozen
class Encoded:
    """One example's tokens, and how many at its end the loss is taken on."""

    tokens: Tokens
    trained: int


def learning_rate(spec: FinetuneSpec, parameters: int) -> float:
    """The spec's, or for ``auto`` 1e-3 below 100 million parameters and 1e-5 above."""
    if spec.learning_rate == "auto":
        return 1e-3 if parameters < SMALL else 1e-5
    return float(spec.learning_rate)


def encode(training_set: TrainingSet, spec: FinetuneSpec, loaded: Loaded) -> list[Encoded]:
    """Tokenise the examples, with the stop token that ends each completion.

    Raises UnsupportedError where an example is longer than the model can read.
    """
    encoder = Encoder(loaded.tokenizer)
    stop = encoder.stop()
    longest = getattr(loaded.model.config, "max_position_embeddings", None) or math.inf
    encoded = []
    for example in training_set.examples:
        prompt, answer = encoder.pair(example.prompt.messages, example.completion)
        completion = answer if stop is None else (*answer, stop)
        tokens = (*prompt, *completion)
        if len(tokens) > longest:
            raise UnsupportedError(
                [
                    f"the example of item {example.prompt.item.name!r} in arm {training_set.arm!r} "
                    f"has {len(tokens)} tokens; the model reads at most {longest}"
                ]
            )
        whole = spec.train_on == "prompts_and_completions"
        encoded.append(Encoded(tokens, len(tokens) - 1 if whole else len(completion)))
    return encoded


def train(
    loaded: Loaded, examples: Sequence[Encoded], spec: FinetuneSpec, pad: int, progress: Progress
) -> list[float]:
    """Train the model in place; returns the mean loss of each epoch, in nats a token.

    The order of examples comes from a generator of its own, seeded by the spec; only dropout,
    where a model has it, draws from torch's global one, which is put back afterwards.

    Raises TrainingError where the loss is no longer a number.
    """
    import torch

    model = loaded.model
    rate = learning_rate(spec, model.num_parameters())
    if not examples:
        raise TrainingError("", "there are no examples to train on")
    if rate == 0:
        return []
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0, fused=True)
    order = torch.Generator().manual_seed(spec.seed)
    size = 16 if spec.batch_size == "auto" else spec.batch_size
    steps = math.ceil(len(examples) / size) * spec.epochs
    losses = []
    devices = [loaded.device] if loaded.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(spec.seed)
        model.train()
        for epoch in range(spec.epochs):
            shuffled = torch.randperm(len(examples), generator=order).tolist()
            total, tokens = 0.0, 0
            for start in range(0, len(shuffled), size):
                batch = [examples[i] for i in shuffled[start : start + size]]
                loss, count = _step(loaded, optimizer, batch, pad)
                total, tokens = total + loss * count, tokens + count
                done = epoch * (steps // spec.epochs) + start // size + 1
                progress(done, steps, f"epoch {epoch + 1}, loss {loss:.3g}")
            losses.append(total / tokens)
            if not math.isfinite(losses[-1]):
                raise TrainingError(
                    "",
                    f"the loss of epoch {epoch + 1} is {losses[-1]}; "
                    f"use a learning rate below {rate:g}",
                )
        model.eval()
    return losses


def _step(loaded: Loaded, optimizer: Any, batch: Sequence[Encoded], pad: int) -> tuple[float, int]:
    """One gradient step; the loss is the mean over trained tokens of the batch."""
    import torch

    inputs, labels, keep = _tensors(batch, pad, loaded.device)
    if accepts(loaded.model, "logits_to_keep"):
        inputs["logits_to_keep"] = keep
    if not accepts(loaded.model, "position_ids"):
        del inputs["position_ids"]
    logits = loaded.model(**inputs, use_cache=False).logits[:, -keep:]
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), labels.flatten(), ignore_index=-100
    )
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach()), int((labels != -100).sum())


def _tensors(
    batch: Sequence[Encoded], pad: int, device: torch.device
) -> tuple[dict[str, Any], torch.Tensor, int]:
    """Examples padded on the left, so that the trained tokens stand at the end; their labels;
    and how many last positions need logits."""
    import torch

    width = max(len(example.tokens) for example in batch)
    keep = max(example.trained for example in batch) + 1
    ids = torch.full((len(batch), width), pad)
    mask = torch.zeros((len(batch), width), dtype=torch.long)
    labels = torch.full((len(batch), keep - 1), -100)
    for b, example in enumerate(batch):
        ids[b, width - len(example.tokens) :] = torch.tensor(example.tokens)
        mask[b, width - len(example.tokens) :] = 1
        labels[b, keep - 1 - example.trained :] = torch.tensor(example.tokens[-example.trained :])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    return {name: value.to(device) for name, value in inputs.items()}, labels.to(device), keep
