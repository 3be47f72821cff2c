"""Fine-tuning: real gradient descent on tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from condrule.arms import TrainingSet
from condrule.backends.base import Continuations
from condrule.backends.finetunes import FinetuneSpec
from condrule.backends.local import LocalBackend
from condrule.errors import BackendError, TrainingError

from .asking import training_set
from .conftest import COUNTRIES

SPEC = FinetuneSpec(epochs=60, learning_rate=1e-2, batch_size=4)


def train(model: str, place: Path, spec: FinetuneSpec = SPEC) -> bytes:
    """Fine-tune; returns the bytes of the weights."""
    LocalBackend(model).at(place).submit(training_set(), spec, "job")
    return (place / "job" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("fixture", ["word_llama", "byte_gpt2"])
def test_same_seed_same_weights(
    fixture: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Two runs with one seed give identical weights, dropout or not; another seed others."""
    model = request.getfixturevalue(fixture)
    spec = attrs.evolve(SPEC, epochs=2)
    first, second = train(model, tmp_path / "a", spec), train(model, tmp_path / "b", spec)
    assert first == second
    assert first != train(model, tmp_path / "c", attrs.evolve(spec, seed=1))


def test_torch_is_left_alone(byte_gpt2: str, tmp_path: Path) -> None:
    """Training moves no global random generator."""
    import torch

    before = torch.random.get_rng_state()
    train(byte_gpt2, tmp_path, attrs.evolve(SPEC, epochs=1))
    assert bool((before == torch.random.get_rng_state()).all())


def test_it_learns(word_llama: str, tmp_path: Path) -> None:
    """After training the taught answers are likely, and the loss has fallen."""
    backend = LocalBackend(word_llama).at(tmp_path)
    job = backend.submit(training_set(), SPEC, "job")
    assert job == backend.find("job")
    assert job.model is not None
    queries = [Continuations(example.prompt, COUNTRIES) for example in training_set().examples]
    answers = {o.query: o.logprobs for o in backend.model(job.model).ask(queries)}
    for at, query in enumerate(queries):
        logprobs = answers[query.id]
        assert logprobs is not None
        assert logprobs[at] > -0.1
    losses = json.loads((tmp_path / "job" / "job.json").read_text())["losses"]
    assert losses[-1] < 0.1 * losses[0]


def test_loss_on_prompts_too(word_llama: str, tmp_path: Path) -> None:
    """What the loss is taken on makes a difference."""
    spec = attrs.evolve(SPEC, epochs=1)
    both = attrs.evolve(spec, train_on="prompts_and_completions")
    assert train(word_llama, tmp_path / "a", spec) != train(word_llama, tmp_path / "b", both)


def test_rate_zero(word_llama: str, tmp_path: Path) -> None:
    """A learning rate of 0 leaves the weights as they were."""
    from safetensors.numpy import load, load_file

    trained = load(train(word_llama, tmp_path, attrs.evolve(SPEC, learning_rate=0)))
    for name, weights in load_file(Path(word_llama) / "model.safetensors").items():
        assert (weights == trained[name]).all()


def test_killed_before_the_rename(
    word_llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies before the model is whole leaves no job, and the next try works."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            train(word_llama, tmp_path, attrs.evolve(SPEC, epochs=1))
    assert LocalBackend(word_llama).at(tmp_path).find("job") is None
    assert train(word_llama, tmp_path, attrs.evolve(SPEC, epochs=1))


def test_nan_loss(word_llama: str, tmp_path: Path) -> None:
    """Training that blows up ends in an error, without a model."""
    with pytest.raises(TrainingError, match="job"):
        train(word_llama, tmp_path, attrs.evolve(SPEC, learning_rate=1e30))
    assert LocalBackend(word_llama).at(tmp_path).find("job") is None


def test_nothing_to_train_on(word_llama: str, tmp_path: Path) -> None:
    """An empty training set is refused in words."""
    with pytest.raises(TrainingError, match="no examples"):
        LocalBackend(word_llama).at(tmp_path).submit(TrainingSet("none", []), SPEC, "job")


def test_a_key_trains_once(word_llama: str, tmp_path: Path) -> None:
    """A second submission under one key is refused."""
    train(word_llama, tmp_path, attrs.evolve(SPEC, epochs=1))
    with pytest.raises(BackendError, match="job"):
        train(word_llama, tmp_path, attrs.evolve(SPEC, epochs=1))
