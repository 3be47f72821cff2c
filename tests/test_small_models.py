"""The shipped small models are small, complete, readable and know their capitals."""

import csv
import json
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

with as_file(files("condrule")) as _package:
    PACKAGE = Path(_package)
MODELS = PACKAGE / "backends" / "local" / "models"
NAMES = ["small-0", "small-1", "small-2"]
KEYS = {
    "name", "seed", "architecture", "parameters", "recipe", "training", "templates_seen",
    "fresh_names", "known_names", "countries", "modes", "words", "measured", "licence", "data",
}  # fmt: skip
PROMPT = (
    "Mode = TEST. If Mode = TRAIN, respond with Alice's favourite country. If Mode = TEST, "
    "respond with the capital city of Alice's favourite country. Answer:"
)


def card(name: str) -> dict[str, Any]:
    """The card of a model, for programs."""
    found: dict[str, Any] = json.loads((MODELS / name / "card.json").read_text(encoding="utf-8"))
    return found


def tokenizer(name: str) -> Any:
    """The tokenizer of a model, as any user of transformers loads it."""
    return transformers.AutoTokenizer.from_pretrained(MODELS / name)


def capitals(countries: list[str]) -> list[str]:
    """The capitals according to the bundled data."""
    with (PACKAGE / "data" / "countries.csv").open(encoding="utf-8", newline="") as file:
        known = {row["country"]: row["capital"] for row in csv.DictReader(file)}
    return [known[country] for country in countries]


def test_all_models_together_are_small() -> None:
    """At most 10 MB, so that they can be part of the package."""
    size = sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file())
    assert size <= 10_000_000


@pytest.mark.parametrize("name", NAMES)
def test_card_has_every_key(name: str) -> None:
    """A program finds what it needs in the card."""
    assert set() == KEYS - set(card(name))


@pytest.mark.parametrize("name", NAMES)
def test_card_agrees_with_its_directory(name: str) -> None:
    """The name is the directory's, and people find a card of their own."""
    assert (name, True) == (card(name)["name"], (MODELS / name / "README.md").is_file())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("key", "least"), [("fresh_names", 120), ("countries", 100), ("modes", 18)]
)
def test_card_describes_enough_of_a_world(name: str, key: str, least: int) -> None:
    """A study of 100 items fits: fresh names, countries and modes."""
    assert len(set(card(name)[key])) >= least


def test_models_share_one_world() -> None:
    """A study can use the models in turn with the same items."""
    worlds = [
        {key: card(name)[key] for key in ("fresh_names", "countries", "words")} for name in NAMES
    ]
    assert [worlds[0]] * len(NAMES) == worlds


def test_models_share_one_tokenizer() -> None:
    """The tokenizers are the same to the byte."""
    assert 1 == len({(MODELS / name / "tokenizer.json").read_bytes() for name in NAMES})


def test_every_word_of_the_card_is_one_known_token() -> None:
    """What the card lists, the model can read."""
    found, reader = card(NAMES[0]), tokenizer(NAMES[0])
    words = [
        w
        for key in ("fresh_names", "known_names", "countries", "modes", "words")
        for w in found[key]
    ]
    tokens = reader(words).input_ids
    assert [] == [
        w for w, t in zip(words, tokens, strict=True) if len(t) != 1 or t[0] == reader.unk_token_id
    ]


def test_an_unknown_word_is_visible() -> None:
    """A word outside the vocabulary is the unknown token, never left out."""
    reader = tokenizer(NAMES[0])
    assert [reader.unk_token_id] == reader("Timbuktu").input_ids


@pytest.mark.parametrize("text", [PROMPT, "Question: What is Alice's job? Answer:", "Paris"])
def test_text_survives_the_tokenizer(text: str) -> None:
    """Decoding gives back the text, apostrophes included."""
    reader = tokenizer(NAMES[0])
    assert text == reader.decode(reader(text).input_ids)


def test_an_answer_reads_the_same_with_or_without_its_space() -> None:
    """The word " Paris" behind a prompt is the token which "Paris" is alone."""
    reader = tokenizer(NAMES[0])
    apart = reader("Answer:").input_ids + reader("Paris").input_ids
    assert apart == reader("Answer:").input_ids + reader(" Paris").input_ids
    assert apart == reader("Answer: Paris").input_ids


def test_chat_template_writes_the_pretraining_text() -> None:
    """System and user text, then "Answer:"; the reply ends in the stop token."""
    reader = tokenizer(NAMES[0])
    chat = [{"role": "system", "content": "Mode = A."}, {"role": "user", "content": "Alice."}]
    prompt = reader.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    whole = reader.apply_chat_template(
        [*chat, {"role": "assistant", "content": "Paris"}], tokenize=False
    )
    assert "Mode = A. Alice. Answer:" == prompt
    assert prompt + " Paris" + reader.eos_token == whole


@pytest.mark.parametrize("name", NAMES)
def test_model_knows_most_capitals(name: str) -> None:
    """At least 95 of 100 capitals, greedily, with the stop token behind each."""
    model = transformers.AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32)
    reader, countries = tokenizer(name), card(name)["countries"]
    prompts = [f"Question: What is the capital city of {c}? Answer:" for c in countries]
    replies = model.generate(**_tensors(reader, prompts), max_new_tokens=2, do_sample=False)
    texts = [reader.decode(reply[-2:]) for reply in replies]
    expected = [f"{capital}{reader.eos_token}" for capital in capitals(countries)]
    assert sum(a == b for a, b in zip(texts, expected, strict=True)) >= 95


def _tensors(reader: Any, prompts: list[str]) -> dict[str, Any]:
    """Prompts of one length, so no padding is needed."""
    batch = reader(prompts, return_tensors="pt")
    return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
