r"""A Bayesian rule learner in place of a language model: every probability in closed form.

It stands in for a provider in tests, and is the oracle that estimates are checked against. It
never reads a prompt's wording, only what the prompt was made from (with one exception, below).

**Rules.** Training examples are explained by one of two rules: *conditional* (C: the answer of the
prompt's mode) or *unconditional* (U: the answer of the mode trained most, ``m0``, whatever the
mode). An example that contradicts a rule has likelihood ``slip`` under it, any other 1 - ``slip``,
so by Bayes

    logit q = logit(prior_conditional) + seed_sd * z(seed) + k * log((1 - slip) / slip)

with ``k`` = the number of examples that fit C and not U, less the number that fit U and not C, and
``z`` a standard normal draw that belongs to the spec's seed. Training on one mode alone has k = 0:
such data don't tell the rules apart and the posterior q is the prior. Repeated epochs are not
further evidence for a rule.

**Memory.** A trained item's fact is stored with probability s = 1 - (1 - memory)^epochs; s = 0 for
other items, for the base model, and where the learning rate is 0.

**Answers.** Let L be ``other_answers`` and b ``base_knowledge``. A model that holds the item's fact
aims at one answer, gives it with probability 1 - ``leak``, and each of L other answers with
leak / L. It aims at the answer of the prompt's mode under C, if the prompt states what to do in
that mode or the mode was trained, and at that of ``m0`` otherwise. With w(a) the probability of
aiming at a (0 for anything but an item's own answers; w(mode's) = q and w(m0's) = 1 - q, added up
where both are the same),

    P(a) = s * (w(a) * (1 - leak) + (1 - w(a)) * leak / L) + (1 - s) * b

A prompt that states what to do and has one of the item's answers in its text gives the fact away,
to the base model too: there s = ``instruction_following`` and w(mode's answer) = 1.

Which strings the L other answers are is left open: any text asked about is one of them (an
alias too: the learner aims at an answer's first spelling only), except blank texts, whose
probability is 0. So the
probabilities of all texts add up to at most 1 as long as at most L others are asked about; a query
with more is refused. What is left is the response ``something else``; in draws it also stands for
those of the L answers that are no trained item's, since they have no names. Responses are whole
answers, so the events *begins* and *equals* are the same.

The learner is told a prompt's mode, it does not read it: where two arms or modes share one wording
(no ``{mode}`` in it), its answers can differ though the question is the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, Self
from urllib.parse import quote

import attrs

from condrule.arms import Example, Prompt, TrainingSet
from condrule.backends.base import (
    Capabilities,
    Continuations,
    Draws,
    FinetuneBackend,
    FinetuneSpec,
    Job,
    JobState,
    LanguageModel,
    Observation,
    Query,
)
from condrule.convert import texts
from condrule.errors import BackendError, ConfigError, Problem, TrainingError, UnsupportedError

__all__ = ["BASE", "OTHER", "InMemoryBackend", "InMemoryModel", "Learned"]

BASE = "memory-base"
"""The name of the base model, whatever the seed."""
OTHER = "something else"
"""The response that stands for everything that is no answer to the item."""


@attrs.frozen
class Learned:
    """What a fine-tune leaves behind: all that its probabilities depend on."""

    trained: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """The trained modes, the most frequent first."""
    items: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """The names of the trained items."""
    answers: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """All answers of the trained items: the other answers that draws can name."""
    evidence: int = 0
    """Examples for the conditional rule less examples for the unconditional one: k."""
    epochs: int = 0
    seed: int = 0


def _in_range(low: float, high: float, open_ends: bool = False) -> Any:
    def check(instance: object, attribute: attrs.Attribute[float], value: Any) -> None:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and low <= value <= high and not (open_ends and value in (low, high)):
            return
        allowed = f"a number from {low} to {high}" + (", both excluded" if open_ends else "")
        raise _error(attribute.name, f"is {value!r}; it must be {allowed}")

    return check


def _error(key: str, message: str) -> ConfigError:
    return ConfigError([Problem(key, message)], "backend memory")


@attrs.frozen
class InMemoryBackend(FinetuneBackend):
    """Fine-tunes a Bayesian rule learner; the formulas are in the module's docstring.

    Without a directory (see ``at``) jobs last as long as the object; with one, any process finds
    them. Of the spec it uses epochs, seed and whether the learning rate is 0.

    Raises ConfigError where a value is out of range.
    """

    prior_conditional: float = attrs.field(default=0.5, validator=_in_range(0, 1))
    """Prior probability of the conditional rule."""
    memory: float = attrs.field(default=0.3, validator=_in_range(0, 1))
    """Probability, per epoch, that a trained item's fact is stored."""
    leak: float = attrs.field(default=0.05, validator=_in_range(0, 1))
    """Probability of another answer than the one aimed at."""
    other_answers: int = attrs.field(default=1000)
    """How many other answers share the leak evenly; at least as many as a query asks about."""
    base_knowledge: float = attrs.field(default=1e-6)
    """Probability of any one answer without the item's fact; at most 1 / (other_answers + 1)."""
    slip: float = attrs.field(default=0.05, validator=_in_range(0, 0.5, open_ends=True))
    """Likelihood of an example that contradicts a rule."""
    instruction_following: float = attrs.field(default=1.0, validator=_in_range(0, 1))
    """Probability of doing what a prompt says that gives the item's fact away."""
    seed_sd: float = attrs.field(default=0.0, validator=_in_range(0, 100))
    """Standard deviation, over seeds, of the prior's logit, in nats."""
    directory: Path | None = attrs.field(
        default=None, converter=attrs.converters.optional(Path), eq=False, kw_only=True
    )
    """Where jobs are kept; set by ``at``."""
    _jobs: dict[str, Learned] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    computes_here = True

    @other_answers.validator
    def _check_others(self, attribute: attrs.Attribute[int], value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise _error("other_answers", f"is {value!r}; it must be a whole number, 1 or more")

    @base_knowledge.validator
    def _check_base(self, attribute: attrs.Attribute[float], value: Any) -> None:
        # With the item's own, other_answers + 1 answers have this probability.
        _in_range(0, 1 / (self.other_answers + 1))(self, attribute, value)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(continuations=True, draws=True)

    def base_model(self, seed: int) -> str:
        return BASE

    def submit(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> Job:
        """Learn at once. Raises BackendError where the key was submitted before."""
        if self.find(key):
            raise BackendError(f"fine-tune {key} was submitted before; ask find({key!r}) first")
        learned = learn(training_set, spec, key)
        if self.directory is None:
            self._jobs[key] = learned
        else:
            _write(_path(self.directory, key), json.dumps(attrs.asdict(learned), indent=1))
        return _job(key)

    def find(self, key: str) -> Job | None:
        return None if self._learned(key) is None else _job(key)

    def model(self, name: str) -> LanguageModel:
        return self._model(name)

    def notes(self) -> tuple[str, ...]:
        return (
            "The in-memory backend is a Bayesian rule learner, not a language model: its figures "
            "follow from its settings and say nothing about real models.",
        )

    def at(self, directory: Path) -> Self:
        return attrs.evolve(self, directory=directory)

    def truth(self, prompt: Prompt, text: str, model: str) -> float:
        """The closed-form probability that the model of this name responds with the text."""
        return self._model(model).truth(prompt, text)

    def posterior(self, model: str) -> float:
        """The model's probability of the conditional rule; the prior for the base model."""
        return self._model(model).posterior

    def _model(self, name: str) -> InMemoryModel:
        if name == BASE:
            return InMemoryModel(name, self)
        key = name.removeprefix("memory:")
        learned = self._learned(key) if key != name else None
        if learned is None:
            place = self.directory or "this backend's memory"
            raise BackendError(
                f"there is no model {name!r} in {place}; the base model is {BASE!r}, and others "
                "need a fine-tune to be submitted first"
            )
        return InMemoryModel(name, self, learned)

    def _learned(self, key: str) -> Learned | None:
        if self.directory is None:
            return self._jobs.get(key)
        path = _path(self.directory, key)
        try:
            return Learned(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise BackendError(f"{path} can't be read as a job ({error}); remove it") from error


@attrs.frozen
class InMemoryModel:
    """The base model, or one that has learned."""

    name: str
    backend: InMemoryBackend
    learned: Learned = attrs.field(factory=Learned)

    @property
    def capabilities(self) -> Capabilities:
        return self.backend.capabilities

    @property
    def posterior(self) -> float:
        """Probability of the conditional rule: q in the module's docstring."""
        if not self.learned.trained:
            return self.backend.prior_conditional
        slip = self.backend.slip
        shift = self.backend.seed_sd * _standard_normal(self.learned.seed)
        weight = self.learned.evidence * math.log((1 - slip) / slip)
        return _expit(_logit(self.backend.prior_conditional) + shift + weight)

    def truth(self, prompt: Prompt, text: str) -> float:
        """The closed-form probability that the response to the prompt is the text."""
        if text == OTHER:
            return max(0.0, 1 - math.fsum(self._named(prompt).values()))
        return self._truths(prompt, (text,))[text]

    def _truths(self, prompt: Prompt, answers: Iterable[str]) -> dict[str, float]:
        """P(a) of the module's docstring, for any answers but ``something else``."""
        stored, aims = self._state(prompt)
        share, guess = self.backend.leak / self.backend.other_answers, self.backend.base_knowledge

        def truth(text: str) -> float:
            if not text.strip():
                return 0.0
            aim = aims.get(text, 0.0)
            held = aim * (1 - self.backend.leak) + (1 - aim) * share
            return stored * held + (1 - stored) * guess

        return {text: truth(text) for text in answers}

    def ask(self, queries: Sequence[Query]) -> Iterator[Observation]:
        """Answer in order. Raises UnsupportedError where a query asks about too many texts."""
        for query in queries:
            if isinstance(query, Continuations):
                yield Observation(query.id, logprobs=self._logprobs(query))
            elif isinstance(query, Draws):
                yield Observation(query.id, texts=self._texts(query))
            else:
                raise UnsupportedError([f"the in-memory backend can't answer {query!r}"])

    def _logprobs(self, query: Continuations) -> tuple[float, ...]:
        others = set(query.texts) - {*query.prompt.item.answers.values(), OTHER}
        self._check_others(len(others) + len(query.prompt.item.answers) - 1)
        truths = self._truths(query.prompt, query.texts)
        if OTHER in truths:
            truths[OTHER] = self.truth(query.prompt, OTHER)
        return tuple(_log(truths[text]) for text in query.texts)

    def _texts(self, query: Draws) -> tuple[str, ...]:
        mass = self._named(query.prompt)
        mass[OTHER] = max(0.0, 1 - math.fsum(mass.values()))
        top = max(mass, key=lambda text: mass[text])
        if query.temperature == 0:
            return (top,) * query.n
        weights = [(p / mass[top]) ** (1 / query.temperature) for p in mass.values()]
        # A string seeds the same generator in every Python version.
        generator = random.Random(f"{self.name}/{query.id}")
        return tuple(generator.choices(list(mass), weights, k=query.n))

    def _named(self, prompt: Prompt) -> dict[str, float]:
        """The answers that draws can name, with their probabilities."""
        answers = dict.fromkeys((*prompt.item.answers.values(), *self.learned.answers))
        self._check_others(len(answers) - 1)
        return self._truths(prompt, (text for text in answers if text != OTHER))

    def _check_others(self, others: int) -> None:
        if others > self.backend.other_answers:
            raise UnsupportedError(
                [
                    f"a prompt has {others} other answers in this study, the in-memory backend "
                    f"{self.backend.other_answers}; set other_answers to {others} or more"
                ]
            )

    def _state(self, prompt: Prompt) -> tuple[float, dict[str, float]]:
        """P(the fact is held), and the probability of aiming at each own answer."""
        own = prompt.item.answers[prompt.mode]
        if prompt.stated and _gives_away(prompt):
            return self.backend.instruction_following, {own: 1.0}
        learned = self.learned
        if prompt.item.name not in learned.items:
            return 0.0, {}
        governed = prompt.stated or prompt.mode in learned.trained
        conditional = self.posterior if governed else 0.0
        aims = {prompt.item.answers[learned.trained[0]]: 1 - conditional}
        aims[own] = aims.get(own, 0.0) + conditional
        return 1 - (1 - self.backend.memory) ** learned.epochs, aims


def learn(training_set: TrainingSet, spec: FinetuneSpec, key: str) -> Learned:
    """What the training set teaches; the base's own state where the learning rate is 0.

    Raises TrainingError where there is nothing to train on.
    """
    examples = training_set.examples
    if not examples:
        raise TrainingError(key, "the training set is empty; an arm must train at least one mode")
    if spec.learning_rate == 0:
        return Learned(seed=spec.seed)
    # Equal counts keep the order of first appearance.
    modes = tuple(mode for mode, _ in Counter(e.prompt.mode for e in examples).most_common())
    items = {example.prompt.item.name: example.prompt.item for example in examples}
    return Learned(
        trained=modes,
        items=tuple(items),
        answers=tuple(dict.fromkeys(a for i in items.values() for a in i.answers.values())),
        evidence=sum(_evidence(example, modes[0]) for example in examples),
        epochs=spec.epochs,
        seed=spec.seed,
    )


def _evidence(example: Example, trained_most: str) -> int:
    answers = example.prompt.item.answers
    fits_conditional = example.completion == answers[example.prompt.mode]
    return fits_conditional - (example.completion == answers[trained_most])


def _gives_away(prompt: Prompt) -> bool:
    text = "\n".join(message.content for message in prompt.messages)
    return any(
        re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text)
        for answer in prompt.item.answers.values()
    )


def _job(key: str) -> Job:
    return Job(key, f"memory:{key}", JobState.SUCCEEDED, f"memory:{key}")


def _path(directory: Path, key: str) -> Path:
    return directory / f"{quote(key, safe='')}.json"


def _write(path: Path, text: str) -> None:
    """Write a whole file or none, whenever the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _standard_normal(seed: int) -> float:
    bits = int.from_bytes(hashlib.sha256(f"seed {seed}".encode()).digest()[:8], "big") >> 12
    return NormalDist().inv_cdf((bits + 0.5) / 2**52)


def _logit(p: float) -> float:
    return _log(p) - _log(1 - p)


def _expit(x: float) -> float:
    odds = math.exp(-abs(x))
    return (1 if x >= 0 else odds) / (1 + odds)


def _log(p: float) -> float:
    return math.log(p) if p > 0 else -math.inf
