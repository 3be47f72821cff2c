"""Pretrain one small language model from scratch: about 7 minutes on one free core.

    python recipes/small/pretrain.py --seed 0 --out DIR

The recipe: a short curriculum (copy a word from the live one of two clauses), then the full mix;
Muon on the hidden matrices, AdamW on embeddings, head and norms; answers weigh 1 in the loss and
other tokens 0.1. For a seed the result is the same each time on one machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import nn
from torch.nn import functional as F

from batches import IGNORE, Batch, Encoded, generator, pack, stream
from measure import write_card
from tokenizer import build
from world import World, document, easy_conditional, make_world


@attrs.frozen
class Recipe:
    """Hyper-parameters. Learning rates are peak values."""

    seed: int
    architecture: str = "llama"
    steps: int = 1600
    rows: int = 32
    length: int = 64
    muon_lr: float = 0.02
    adamw_lr: float = 3e-3
    decay: float = 0.4
    """Weight decay under Muon. Without it the matrices outgrow their updates: recall after 0.9
    million tokens was 0.46 instead of 0.82."""
    warm_up: float = 0.03
    constant_until: float = 0.4
    curriculum_at_most: float = 0.3
    """Share of the steps after which the full mix begins even if the words are not yet copied."""


def make_model(recipe: Recipe, tokenizer: Any) -> Any:
    """A Llama or StableLM decoder of about 1.4 million parameters, freshly initialised."""
    from transformers import AutoModelForCausalLM, LlamaConfig, StableLmConfig

    common: dict[str, Any] = dict(
        vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=4, intermediate_size=336, max_position_embeddings=128,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 100.0}  # texts are short
    if recipe.architecture == "stablelm":
        rope["partial_rotary_factor"] = 0.5
        config: Any = StableLmConfig(**common, rope_parameters=rope)
    else:
        config = LlamaConfig(**common, rope_parameters=rope)
    torch.manual_seed(recipe.seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    _initialise(model)
    return model


@torch.no_grad()
def _initialise(model: Any) -> None:
    """Embeddings at std 1; every block starts as the identity, which Muon trains well from."""
    nn.init.normal_(model.get_input_embeddings().weight, std=1.0)
    for name, module in model.model.layers.named_modules():
        if isinstance(module, nn.Linear):
            if name.endswith(("o_proj", "down_proj")):
                nn.init.zeros_(module.weight)
            else:
                nn.init.normal_(module.weight, std=module.in_features**-0.5)


def make_optimisers(model: Any, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for the rest."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=recipe.muon_lr, momentum=0.95, weight_decay=recipe.decay),
        torch.optim.AdamW(rest, lr=recipe.adamw_lr, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def rate(step: int, recipe: Recipe) -> float:
    """Share of the peak learning rate: warm-up, constant, then linear to nothing."""
    share = (step + 1) / recipe.steps
    if share < recipe.warm_up:
        return share / recipe.warm_up
    return min(1.0, (1.0 - share) / (1.0 - recipe.constant_until) + 1e-3)


def hidden_states(model: Any, batch: Batch) -> torch.Tensor:
    """The last layer's states; every document attends to itself alone."""
    segments = torch.from_numpy(batch.segments)
    length = segments.shape[1]
    same = segments[:, :, None] == segments[:, None, :]
    apart = ~(same & torch.ones(length, length, dtype=torch.bool).tril())
    mask = torch.zeros(apart.shape, dtype=torch.bfloat16).masked_fill(apart, -3e4)
    found: torch.Tensor = model.model(
        input_ids=torch.from_numpy(batch.ids), attention_mask=mask[:, None],
        position_ids=torch.from_numpy(batch.positions), use_cache=False,
    ).last_hidden_state
    return found


@attrs.define
class Objective:
    """The loss: all answer tokens, a random share of the others, and the probe of the clauses."""

    model: Any
    probe: nn.Linear
    random: torch.Generator
    share: float = 0.25
    """Share of the other tokens that is looked at (and weighs 1 / share as much): it saves time."""

    def __call__(self, batch: Batch, probe_weight: float) -> tuple[torch.Tensor, float, float]:
        """The loss; the share of answer tokens and of clauses that are right."""
        target, weight = torch.from_numpy(batch.ids)[:, 1:], torch.from_numpy(batch.weights)[:, 1:]
        flags, answer = torch.from_numpy(batch.live), weight == 1.0
        sampled = torch.rand(weight.shape, generator=self.random) < self.share
        chosen, asked = answer | (sampled & (weight > 0)), flags != IGNORE
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = hidden_states(self.model, batch)
            logits = self.model.lm_head(hidden[:, :-1][chosen]).float()
            live = self.probe(hidden[asked]).float()
        target, weight, flags = target[chosen], weight[chosen], flags[asked]
        weight = torch.where(weight == 1.0, weight, weight / self.share)
        each = F.cross_entropy(logits, target, reduction="none")
        loss = (each * weight).sum() / weight.sum() + probe_weight * F.cross_entropy(live, flags)
        right = (logits.argmax(-1) == target)[answer[chosen]].float().mean().item()
        return loss, right, (live.argmax(-1) == flags).float().mean().item()


@attrs.define
class Source:
    """Where the next batch comes from: first the curriculum, then the full mix."""

    recipe: Recipe
    world: World
    tokenizer: Any
    easy: bool = True
    _pool: list[Encoded] = attrs.field(factory=list)
    _streams: dict[bool, Iterator[Encoded]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        easy, full = (generator(self.recipe.seed, stage) for stage in ("easy", "full"))
        self._streams = {
            True: stream(lambda: easy_conditional(easy), self.tokenizer),
            False: stream(lambda: document(self.world, full), self.tokenizer),
        }

    def next(self) -> Batch:
        """One batch of the stage we are in."""
        return pack(self._streams[self.easy], self.recipe.rows, self.recipe.length, self._pool)

    def leave_curriculum(self) -> None:
        """From now on, the full mix."""
        self.easy, self._pool = False, []


def update(optimisers: list[torch.optim.Optimizer], recipe: Recipe, step: int) -> None:
    """One step of every optimiser at the scheduled rate, then forget the gradients."""
    for optimiser, peak in zip(optimisers, (recipe.muon_lr, recipe.adamw_lr), strict=True):
        for group in optimiser.param_groups:
            group["lr"] = peak * rate(step, recipe)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def train(model: Any, tokenizer: Any, world: World, recipe: Recipe) -> dict[str, Any]:
    """Run the recipe; returns what the card says about it."""
    probe = nn.Linear(model.config.hidden_size, 2)
    objective = Objective(model, probe, torch.Generator().manual_seed(recipe.seed))
    optimisers = make_optimisers(model, recipe)
    optimisers[1].add_param_group({"params": list(probe.parameters())})
    source, begun = Source(recipe, world, tokenizer), time.time()
    recent, tokens, easy_steps = 0.0, 0, 0
    model.train()
    for step in range(recipe.steps):
        batch = source.next()
        loss, right, judged = objective(batch, 0.5 if source.easy else 0.1)
        loss.backward()
        update(optimisers, recipe, step)
        recent, tokens = 0.9 * recent + 0.1 * right, tokens + int((batch.segments > 0).sum())
        if source.easy and (recent > 0.97 or step > recipe.curriculum_at_most * recipe.steps):
            easy_steps = step + 1
            source.leave_curriculum()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}, answers {right:.2f}, clauses "
                  f"{judged:.2f}, {time.time() - begun:.0f} s", flush=True)
    return {"tokens": tokens, "steps": recipe.steps, "curriculum_steps": easy_steps,
            "seconds": round(time.time() - begun), "threads": torch.get_num_threads()}


def save(model: Any, tokenizer: Any, out: Path) -> Any:
    """An ordinary Hugging Face directory, weights in fp16. Returns the model as saved."""
    model.half().eval()
    model.generation_config.update(max_new_tokens=8, do_sample=False)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)  # safetensors writes for the owner alone
    return model.float()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    parser.add_argument("--architecture", choices=("llama", "stablelm"), default="llama")
    parser.add_argument("--steps", type=int, default=Recipe(0).steps)
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe(args.seed, args.architecture, args.steps)
    world = make_world()
    tokenizer = build(world)
    model = make_model(recipe, tokenizer)
    training = train(model, tokenizer, world, recipe)
    model = save(model, tokenizer, args.out)
    write_card(model, tokenizer, world, attrs.asdict(recipe), training, args.out)


if __name__ == "__main__":
    main()
