"""Tiny models with random weights: of three architectures, with two kinds of tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

NAMES = ("Alice", "Bob", "Carol", "Dave", "Eve", "Frank")
COUNTRIES = ("France", "Japan", "Peru", "Kenya", "Norway", "Chile")
CAPITALS = ("Paris", "Tokyo", "Lima", "Nairobi", "Oslo", "Santiago")
OTHER_WORDS = (
    "Mode TRAIN TEST If respond with favourite country the capital city of New York"
).split()
CHAT = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ ' Answer: ' + m['content'] }}"
    "{{ eos_token }}{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ ' Answer:' }}{% endif %}"
)


def word_tokenizer() -> Any:
    """One token a word, an unknown token, and a chat template."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = (*NAMES, *COUNTRIES, *CAPITALS, *OTHER_WORDS, "Answer", "=")
    entries = ["<pad>", "<eos>", "<unk>", ".", ",", ":", "'s", *(f"▁{word}" for word in words)]
    core = Tokenizer(models.WordLevel({e: i for i, e in enumerate(entries)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always", split=False),
            pre_tokenizers.Split(Regex(r"▁?\p{L}+|'s|▁?[^\p{L}▁]"), "isolated"),
        ]
    )
    core.decoder = decoders.Metaspace(prepend_scheme="always", split=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        eos_token="<eos>",
        pad_token="<pad>",
        chat_template=CHAT,
    )


def byte_tokenizer() -> Any:
    """Byte-level BPE with few merges, so that words have several tokens; no template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([" ".join((*COUNTRIES, *CAPITALS, *OTHER_WORDS))] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>")


def save(model: Any, tokenizer: Any, place: Path) -> str:
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return str(place)


def _small(config: Any, tokenizer: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    config.vocab_size = len(tokenizer)
    config.eos_token_id, config.bos_token_id = tokenizer.eos_token_id, None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        # Wider than usual, so that probabilities differ enough for mistakes to show.
        for weights in model.parameters():
            if weights.dim() > 1:
                torch.nn.init.normal_(weights, std=0.2)
    return model


@pytest.fixture(scope="session")
def word_llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Llama that reads words."""
    from transformers import LlamaConfig

    tokenizer = word_tokenizer()
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    return save(_small(config, tokenizer), tokenizer, tmp_path_factory.mktemp("m") / "llama")


@pytest.fixture(scope="session")
def byte_gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A GPT-2, with absolute positions and dropout, that reads bytes."""
    from transformers import GPT2Config

    tokenizer = byte_tokenizer()
    config = GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=128)
    return save(_small(config, tokenizer), tokenizer, tmp_path_factory.mktemp("m") / "gpt2")


@pytest.fixture(scope="session")
def sliding_mistral(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Mistral whose tokens see the last eight only."""
    from transformers import MistralConfig

    tokenizer = word_tokenizer()
    config = MistralConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        sliding_window=8,
    )
    return save(_small(config, tokenizer), tokenizer, tmp_path_factory.mktemp("m") / "mistral")
