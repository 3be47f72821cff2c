"""The local backend: real models, real gradient descent, checked against plain forward passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import condrule  # noqa: E402
from condrule.arms import Prompt  # noqa: E402
from condrule.backends.base import Continuations, Draws  # noqa: E402
from condrule.backends.finetunes import JobState  # noqa: E402
from condrule.backends.local import LocalBackend  # noqa: E402
from condrule.errors import (  # noqa: E402
    BackendError,
    TrainingError,
    UnreadableError,
    UnsupportedError,
)

ITEMS = condrule.favourite_countries(n=8, seed=3)
TEXTS = ["What is the name", "of the city where the people are", "tell me about the old city wall"]


@pytest.fixture(scope="module")
def byte_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny random models with a byte-level tokenizer: absolute positions, sliding windows."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<eos>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(TEXTS * 20, trainer)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")
    common: dict[str, Any] = {"vocab_size": len(fast), "eos_token_id": 0, "bos_token_id": None}
    configs = {
        "gpt2": transformers.GPT2Config(
            **common, n_embd=32, n_layer=2, n_head=2, n_positions=64, resid_pdrop=0.1
        ),
        "mistral": transformers.MistralConfig(
            **common,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            sliding_window=6,
        ),
    }
    root = tmp_path_factory.mktemp("models")
    for name, config in configs.items():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(4)  # or every probability would be near uniform
        model.save_pretrained(root / name)
        fast.save_pretrained(root / name)
    return {name: root / name for name in configs}


def prompt(text: str) -> Prompt:
    """A prompt of one user message."""
    return Prompt((condrule.Message("user", text),), ITEMS[0], "TRAIN")


def plainly(model: Any, tokenizer: Any, before: str, answer: str, end: int | None) -> float:
    """Teacher-forced log-probability, one pass, no batch, no mask."""
    prefix = tokenizer(before)["input_ids"]
    whole = tokenizer(before + " " + answer)["input_ids"] + ([] if end is None else [end])
    with torch.inference_mode():
        logprobs = model(torch.tensor([whole])).logits[0].double().log_softmax(-1)
    return float(sum(logprobs[i - 1, whole[i]] for i in range(len(prefix), len(whole))))


@pytest.mark.parametrize("event", ["begins", "equals"])
@pytest.mark.parametrize("name", ["gpt2", "mistral", "small-0"])
def test_scores_equal_plain_forward_passes(
    byte_models: dict[str, Path], name: str, event: Any
) -> None:
    """Packed or not, whatever the architecture, to 1e-4 nats: several tokens, shared prefixes."""
    place = byte_models.get(name, name)
    if name == "small-0":
        texts = [f"Question: What is the capital city of {c}?" for c in ("France", "Peru", "Chile")]
        answers = ["Paris", "France", "Paris France", "Paris Peru", "Lima"]
    else:
        texts = TEXTS
        answers = ["the city", "the city wall", "the", "where people are old", "zebra"]
    model = LocalBackend(str(place)).model(str(place))
    queries = [Continuations(prompt(text), tuple(answers), event) for text in texts]
    found = {seen.query: seen.logprobs for seen in model.ask(queries)}
    loaded = model.loaded  # type: ignore[attr-defined]
    suffix = " Answer:" if name == "small-0" else ""
    end = loaded.tokenizer.eos_token_id if event == "equals" else None
    for query, text in zip(queries, texts, strict=True):
        expected = [
            plainly(loaded.model, loaded.tokenizer, text + suffix, answer, end)
            for answer in answers
        ]
        assert found[query.id] == pytest.approx(expected, abs=1e-4)


def test_sliding_windows_are_not_packed(byte_models: dict[str, Path]) -> None:
    """What the packed row would get wrong is found out before it is used."""
    backend = LocalBackend(str(byte_models["mistral"]))
    model = backend.model(str(byte_models["mistral"]))
    list(model.ask([Continuations(prompt(TEXTS[2]), ("the city wall", "the old city"))]))
    assert not model._scorer.packs  # type: ignore[attr-defined]


def test_probabilities_of_all_first_words_sum_to_one() -> None:
    """Every word of the vocabulary as an answer: nothing is lost, nothing counted twice."""
    model = LocalBackend("small-0").model("small-0")
    vocabulary = model.loaded.tokenizer.get_vocab()  # type: ignore[attr-defined]
    texts = tuple(word[1:] for word in vocabulary if word.startswith("▁"))
    asked = prompt("Question: What is the capital city of France?")
    (seen,) = model.ask([Continuations(asked, texts)])
    assert sum(np.exp(seen.logprobs)) == pytest.approx(1.0, abs=1e-3)


def test_draws_are_the_same_whatever_else_is_asked(byte_models: dict[str, Path]) -> None:
    """A query's draws depend on its own seed alone."""
    place = str(byte_models["gpt2"])
    model = LocalBackend(place).model(place)
    one = Draws(prompt(TEXTS[0]), n=3, max_tokens=5)
    others = [Draws(prompt(text), n=2, max_tokens=7, seed=1) for text in TEXTS]
    (alone,) = model.ask([one])
    together = {seen.query: seen.texts for seen in model.ask([*others, one])}
    assert together[one.id] == alone.texts


def test_samples_follow_the_scored_probabilities() -> None:
    """Draws and scores speak of the same model."""
    model = LocalBackend("small-0").model("small-0")
    asked = prompt("Mode = TRAIN. If Mode = TRAIN, respond with Glen's favourite country.")
    (drawn,) = model.ask([Draws(asked, n=2000, max_tokens=1)])
    assert drawn.texts is not None
    most = max(set(drawn.texts), key=drawn.texts.count)
    (scored,) = model.ask([Continuations(asked, (most,))])
    assert scored.logprobs is not None
    share = drawn.texts.count(most) / 2000
    chance = float(np.exp(scored.logprobs[0]))
    assert share == pytest.approx(chance, abs=5 * (chance * (1 - chance) / 2000) ** 0.5)


def test_greedy_is_the_most_probable_answer() -> None:
    """The shipped model knows its capitals."""
    model = LocalBackend("small-0").model("small-0")
    asked = prompt("Question: What is the capital city of France?")
    (seen,) = model.ask([Draws(asked, temperature=0.0)])
    assert seen.texts == ("Paris",)


def finetuned(directory: Path, **changes: Any) -> tuple[LocalBackend, condrule.Job]:
    """A short fine-tune of the conditional arm."""
    backend = LocalBackend("small-0").at(directory)
    items = ITEMS.readable_by(backend.reader([0]))  # type: ignore[arg-type]
    spec = condrule.FinetuneSpec(**{"epochs": 10, "batch_size": 8, **changes})
    job = backend.submit(condrule.conditional_arm().training_set(items), spec, "key")
    return backend, job


def weights(directory: Path) -> dict[str, Any]:
    """The saved weights."""
    from safetensors.torch import load_file

    tensors: dict[str, Any] = load_file(directory / "key" / "model.safetensors")
    return tensors


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Whether two sets of weights are the same to the last bit."""
    return all(torch.equal(left[name], right[name]) for name in left)


def test_training_teaches_and_is_deterministic(tmp_path: Path) -> None:
    """The same seed gives the same weights; the losses fall; the job can be found again."""
    backend, job = finetuned(tmp_path / "a")
    finetuned(tmp_path / "b")
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    losses = json.loads((tmp_path / "a" / "key" / "job.json").read_text())["losses"]
    assert losses[-1] < losses[0] / 4
    assert backend.find("key") == job
    assert job.state is JobState.SUCCEEDED


@pytest.mark.parametrize("change", [{"seed": 1}, {"train_on": "prompts_and_completions"}])
def test_the_spec_matters(tmp_path: Path, change: dict[str, Any]) -> None:
    """Another seed or another loss gives another model."""
    finetuned(tmp_path / "a", epochs=2)
    finetuned(tmp_path / "b", epochs=2, **change)
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_a_learning_rate_of_0_trains_nothing(tmp_path: Path) -> None:
    """The base model comes out as it went in."""
    backend, job = finetuned(tmp_path, learning_rate=0.0)
    base = backend.model("small-0").loaded.model.state_dict()  # type: ignore[attr-defined]
    tuned = backend.model(str(job.model)).loaded.model.state_dict()  # type: ignore[attr-defined]
    assert same(base, tuned)


def test_a_loss_that_is_no_number_ends_the_job(tmp_path: Path) -> None:
    """With the remedy in the error, and no model on disk."""
    with pytest.raises(TrainingError, match="learning rate"):
        finetuned(tmp_path, learning_rate=1e30)
    assert LocalBackend("small-0").at(tmp_path).find("key") is None


def test_dropout_leaves_the_global_generator_alone(
    byte_models: dict[str, Path], tmp_path: Path
) -> None:
    """Training draws dropout from torch's generator and puts it back."""
    backend = LocalBackend(str(byte_models["gpt2"])).at(tmp_path)
    arm = condrule.Arm("a", condrule.TextTemplate("the city of {name} is"))
    torch.manual_seed(7)
    before = torch.get_rng_state()
    backend.submit(arm.training_set(ITEMS), condrule.FinetuneSpec(epochs=1), "key")
    assert torch.equal(before, torch.get_rng_state())


def test_unreadable_words_are_refused_by_name() -> None:
    """Before anything is trained, with the place of each word."""
    items = [condrule.Item("Zaphod", {"TRAIN": "France", "TEST": "Paris"})]
    study = condrule.ConditionalRuleExperiment(
        items=items, arms=[condrule.conditional_arm()], backend=LocalBackend("small")
    )
    with pytest.raises(UnreadableError) as error:
        study.plan()
    assert list(error.value.words) == ["Zaphod"]


def test_items_are_drawn_from_what_the_models_can_read() -> None:
    """And from names whose facts they don't know yet."""
    reader = LocalBackend("small").reader([0, 1, 2])
    assert reader is not None
    items = condrule.favourite_countries(n=100).readable_by(reader)
    assert len(items) == 100
    for item in items:
        assert reader.unreadable(f"{item.name} {item.answers['TEST']}") == ()
        assert reader.familiar(item.name) is None


def test_seeds_use_the_shipped_models_in_turn() -> None:
    """Three of them, then again from the first."""
    backend = LocalBackend("small")
    names = [backend.base_model(seed) for seed in range(4)]
    assert names == ["small-0", "small-1", "small-2", "small-0"]


@pytest.mark.parametrize("name", ["no such model!", "/nowhere/at/all"])
def test_a_model_that_is_not_there_is_a_clear_error(name: str) -> None:
    """Never a traceback from transformers."""
    with pytest.raises((UnsupportedError, BackendError), match=r"no|not"):
        LocalBackend(name).model(name)


def test_a_directory_that_is_no_model_is_a_clear_error(tmp_path: Path) -> None:
    """A config without weights, a folder of other things."""
    with pytest.raises(UnsupportedError, match=r"config.json"):
        LocalBackend(str(tmp_path)).model(str(tmp_path))


def test_examples_longer_than_the_model_reads_are_refused(
    byte_models: dict[str, Path], tmp_path: Path
) -> None:
    """With both lengths."""
    backend = LocalBackend(str(byte_models["gpt2"])).at(tmp_path)
    arm = condrule.Arm("long", condrule.TextTemplate("the city " * 60 + "{name}"))
    with pytest.raises(UnsupportedError, match="64"):
        backend.submit(arm.training_set(ITEMS), condrule.FinetuneSpec(epochs=1), "key")


def test_a_half_written_model_is_no_job(tmp_path: Path) -> None:
    """A process killed while it saves leaves nothing that looks finished."""
    finetuned(tmp_path, epochs=1)
    (tmp_path / "key").rename(tmp_path / ".key.tmp")
    assert LocalBackend("small-0").at(tmp_path).find("key") is None
    backend, job = finetuned(tmp_path, epochs=1)
    assert backend.find("key") == job


def test_the_bet_on_a_real_model(tmp_path: Path) -> None:
    """From items to verdict; the trained fact is learned, and running again changes nothing."""
    study = condrule.ConditionalRuleExperiment(
        items=ITEMS,
        arms=[condrule.conditional_arm(), condrule.control_arm()],
        backend=LocalBackend("small-0"),
        spec=condrule.FinetuneSpec(epochs=10, learning_rate=5e-4, batch_size=8),
        criterion=condrule.KAAREL_BET,
        seeds=1,
        samples=1,
    )
    result = study.run(tmp_path / "run")
    recall = result.probability("conditional", "TRAIN", "TRAIN")
    assert np.exp(recall.low) > 0.8
    assert study.run(tmp_path / "run").to_dict() == result.to_dict()
    assert (tmp_path / "run" / "figure.png").stat().st_size > 10_000
