"""The word-level tokenizer: one token per word, a reversible reading of spaces and "'s"."""

from __future__ import annotations

from typing import Any

from world import COLOURS, JOBS, MODES, WORDS, World

SPECIAL = ("<pad>", "<eos>", "<unk>")
MARKS = (".", ",", ":", "?", "'s")
GRAMMAR = (
    "Mode MODE mode If When The the is = respond say with capital city of language continent "
    "currency favourite country colour job person What Question Answer"
).split()
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{{ ' Answer: ' + message['content'] + eos_token }}"
    "{% else %}{% if not loop.first %}{{ ' ' }}{% endif %}{{ message['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ ' Answer:' }}{% endif %}"
)


def other_words(world: World) -> list[str]:
    """Every word which is not a country, a name or a mode."""
    attributes = {word for facts in world.countries.values() for word in facts.values()}
    known = set(world.countries) | set(world.people) | set(MODES)
    return sorted((attributes | set(GRAMMAR) | set(JOBS) | set(COLOURS) | set(WORDS)) - known)


def build(world: World) -> Any:
    """A PreTrainedTokenizerFast. A space is part of the word behind it, as in "▁Paris"."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = sorted(world.countries) + sorted(world.people) + MODES + other_words(world)
    entries = [*SPECIAL, *MARKS, *(f"▁{word}" for word in words)]
    core = Tokenizer(models.WordLevel({e: i for i, e in enumerate(entries)}, unk_token="<unk>"))
    core.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(left=False, right=True)]
    )
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always", split=False),
            pre_tokenizers.Split(Regex(r"▁?\p{L}+|'s|▁?[^\p{L}▁]"), "isolated"),
        ]
    )
    core.decoder = decoders.Metaspace(prepend_scheme="always", split=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", eos_token="<eos>", pad_token="<pad>",
        chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False, model_max_length=128,
    )
