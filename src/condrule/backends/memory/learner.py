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

A share of the responses (``chatter``) may be no answer at all, as it is with real models: one of
eight fixed sentences such as "I am not sure.", each half as probable as the one before. Then P(a)
is multiplied by 1 - ``chatter``.

A prompt that states what to do and has one of the item's answers in its text gives the fact away,
to the base model too: there s = ``instruction_following`` and w(mode's answer) = 1.

Which strings the L other answers are is left open: any text asked about is one of them (an
alias too: the learner aims at an answer's first spelling only), except blank texts, whose
probability is 0. So the
probabilities of all texts add up to at most 1 as long as at most L others are asked about; a query
with more is refused. What is left is the response ``something else``; in draws it also stands for
those of the L answers that are no trained item's, since they have no names. Responses are whole
answers, so the events *begins* and *equals* differ only where an answer that has a name begins
another: "Niger" is then given by "Nigeria" too, under *begins*.

**Tokens.** A response is split into words (`condrule.backends.memory.tokens`). A token's
probability of being the first is the sum of P(a) over the named answers a that begin with it: the
prompt's own answers in all spellings, and the answers of trained items. A list of first tokens
holds these, the chatter, and ``something``, the first word of ``something else``, with the
probability (1 - s) * (1 - (L + 1) * b), times 1 - ``chatter``, that nothing else is said. The
answers without a name, each as improbable as an other answer can be, are on no list, so a list adds
up to less than 1 by their probabilities: what is not listed is not known to be 0.

**Biased draws.** Draws under a bias are made token by token: after the tokens so far, token t has
the probability P(t) e^bias(t) among all that the named answers allow there, the end of the response
included, made to add up to 1 (at temperature T each weight is raised to 1/T first). A biased token
that begins no named answer names one of the L others. So the share f of draws that begin with the
only biased token has logit f = logit P + bias.

The learner is told a prompt's mode, it does not read it: where two arms or modes share one wording
(no ``{mode}`` in it), its answers can differ though the question is the same.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Any

import attrs

from condrule.arms import Example, Prompt, TrainingSet
from condrule.backends.base import Event
from condrule.backends.finetunes import FinetuneSpec
from condrule.backends.memory.checks import number, whole
from condrule.convert import texts
from condrule.errors import TrainingError, UnsupportedError

__all__ = ["CHATTER", "OTHER", "Learned", "Learner", "Mass", "Settings", "learn"]

OTHER = "something else"
"""The response that stands for everything that is no answer to the item."""

CHATTER = (
    "I am not sure.",
    "The person did not say.",
    "As far as I know, none.",
    "It depends.",
    "Sure, here it is.",
    "Well, who knows?",
    "None that comes to mind.",
    "Unknown.",
)
"""Responses that are no answer. Each is half as probable as the one before."""


@attrs.frozen
class Settings:
    """What the learner believes beforehand, and how well it learns; see the formulas.

    Raises ConfigError where a value is out of range.
    """

    prior_conditional: float = attrs.field(default=0.5, validator=number(0, 1))
    """Prior probability of the conditional rule."""
    memory: float = attrs.field(default=0.3, validator=number(0, 1))
    """Probability, per epoch, that a trained item's fact is stored."""
    leak: float = attrs.field(default=0.05, validator=number(0, 1))
    """Probability of another answer than the one aimed at."""
    other_answers: int = attrs.field(default=1000, validator=whole(1))
    """How many other answers share the leak evenly; at least as many as a query asks about."""
    base_knowledge: float = attrs.field(
        default=1e-6, metadata={"keywords": {"minimum": 0, "maximum": 0.5}}
    )
    """Probability of any one answer without the item's fact; at most 1 / (other_answers + 1)."""
    slip: float = attrs.field(default=0.05, validator=number(0, 0.5, open_ends=True))
    """Likelihood of an example that contradicts a rule."""
    instruction_following: float = attrs.field(default=1.0, validator=number(0, 1))
    """Probability of doing what a prompt says that gives the item's fact away."""
    seed_sd: float = attrs.field(default=0.0, validator=number(0, 100))
    """Standard deviation, over seeds, of the prior's logit, in nats."""
    chatter: float = attrs.field(default=0.0, validator=number(0, 1))
    """The share of responses that are no answer at all, such as "I am not sure."; their first
    tokens take places in the lists."""

    @base_knowledge.validator
    def _check_base(self, attribute: attrs.Attribute[float], value: Any) -> None:
        # With the item's own, other_answers + 1 answers have this probability.
        number(0, 1 / (self.other_answers + 1))(self, attribute, value)


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


@attrs.frozen
class Mass:
    """Where the probability of a prompt's responses lies; everything adds up to 1."""

    named: dict[str, float]
    """P(a) of the answers that have a name, and of the chatter."""
    unnamed: float
    """Together, those of the L other answers that have none."""
    nothing: float
    """That no answer at all is given, nor chatter."""
    others: int
    """How many answers have no name."""


@attrs.frozen
class Learner:
    """The base model, or one that has learned."""

    settings: Settings
    learned: Learned = attrs.field(factory=Learned)

    @property
    def posterior(self) -> float:
        """Probability of the conditional rule: q in the module's docstring."""
        settings = self.settings
        if not self.learned.trained:
            return settings.prior_conditional
        shift = settings.seed_sd * _standard_normal(self.learned.seed)
        weight = self.learned.evidence * math.log((1 - settings.slip) / settings.slip)
        return _expit(_logit(settings.prior_conditional) + shift + weight)

    def truth(self, prompt: Prompt, text: str) -> float:
        """The closed-form probability that the response to the prompt is the text."""
        if text == OTHER:
            return max(0.0, 1 - math.fsum(self.named(prompt).values()))
        return self._truths(prompt, (text,))[text]

    def truths(self, prompt: Prompt, asked: Sequence[str], event: Event) -> dict[str, float]:
        """P(the response gives the text) of every text. Raises UnsupportedError where they are too
        many."""
        others = set(asked) - {*prompt.item.answers.values(), *self._chatter, OTHER}
        self._check_others(len(others) + len(prompt.item.answers) - 1)
        truths = self._truths(prompt, asked)
        if event == "begins":
            truths = self._beginnings(prompt, truths)
        return {**truths, OTHER: self.truth(prompt, OTHER)} if OTHER in truths else truths

    def _beginnings(self, prompt: Prompt, truths: dict[str, float]) -> dict[str, float]:
        """With each text's probability, that of the named answers that it begins."""
        names = sorted({*truths, *self._named(prompt), *self._chatter})
        longer = {text: _longer(names, text) for text in truths}
        more = self._truths(prompt, {a for found in longer.values() for a in found})
        return {
            text: p + math.fsum(more[a] for a in longer[text]) if text.strip() else p
            for text, p in truths.items()
        }

    def named(self, prompt: Prompt) -> dict[str, float]:
        """What draws without a bias can say, with the probabilities: answers, and the chatter."""
        answers = dict.fromkeys((*prompt.item.answers.values(), *self.learned.answers))
        self._check_others(len(answers) - 1)
        said = (text for text in (*answers, *self._chatter) if text != OTHER)
        return self._truths(prompt, said)

    def _named(self, prompt: Prompt) -> dict[str, None]:
        """The answers that have names, aliases too."""
        spelled = (text for mode in prompt.item.answers for text in prompt.item.spellings(mode))
        return dict.fromkeys((*spelled, *self.learned.answers))

    def mass(self, prompt: Prompt, also: Iterable[str] = ()) -> Mass:
        """Where all probability lies when aliases, and some texts more, are named too."""
        answers = dict.fromkeys((*self._named(prompt), *also))
        self._check_others(len(answers) - 1)
        sayable = [text for text in answers if text.strip() and text not in (OTHER, *self._chatter)]
        stored, _ = self._state(prompt)
        answers_in_all = self.settings.other_answers + 1
        guess, rest = self.settings.base_knowledge, 1 - self.settings.chatter
        other = stored * self.settings.leak / self.settings.other_answers + (1 - stored) * guess
        nothing = (1 - stored) * max(0.0, 1 - answers_in_all * guess)
        others = answers_in_all - len(sayable)
        named = self._truths(prompt, (*sayable, *self._chatter))
        return Mass(named, rest * others * other, rest * nothing, others)

    def _truths(self, prompt: Prompt, answers: Iterable[str]) -> dict[str, float]:
        """P(a) of the module's docstring, for any answers but ``something else``."""
        stored, aims = self._state(prompt)
        leak, rest, said = self.settings.leak, 1 - self.settings.chatter, self._chatter

        def truth(text: str) -> float:
            if not text.strip():
                return 0.0
            if text in said:
                return said[text]
            aim = aims.get(text, 0.0)
            held = aim * (1 - leak) + (1 - aim) * leak / self.settings.other_answers
            return rest * (stored * held + (1 - stored) * self.settings.base_knowledge)

        return {text: truth(text) for text in answers}

    @property
    def _chatter(self) -> dict[str, float]:
        """What is said in place of an answer, with its probability; nothing where nothing is."""
        return _chatter(self.settings.chatter)

    def _check_others(self, others: int) -> None:
        if others > self.settings.other_answers:
            raise UnsupportedError(
                [
                    f"a prompt has {others} other answers in this study, the in-memory backend "
                    f"{self.settings.other_answers}; set other_answers to {others} or more"
                ]
            )

    def _state(self, prompt: Prompt) -> tuple[float, dict[str, float]]:
        """P(the fact is held), and the probability of aiming at each own answer."""
        own = prompt.item.answers[prompt.mode]
        if prompt.stated and _gives_away(prompt):
            return self.settings.instruction_following, {own: 1.0}
        learned = self.learned
        if prompt.item.name not in learned.items:
            return 0.0, {}
        governed = prompt.stated or prompt.mode in learned.trained
        conditional = self.posterior if governed else 0.0
        aims = {prompt.item.answers[learned.trained[0]]: 1 - conditional}
        aims[own] = aims.get(own, 0.0) + conditional
        return 1 - (1 - self.settings.memory) ** learned.epochs, aims


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


@functools.lru_cache(maxsize=64)
def _chatter(share: float) -> dict[str, float]:
    total = 2 ** len(CHATTER) - 1
    places = enumerate(reversed(CHATTER)) if share else ()
    said = {text: share * 2**place / total for place, text in places}
    return dict(reversed(said.items()))


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


def _longer(names: Sequence[str], text: str) -> list[str]:
    """The names, which are sorted, that begin with the text and go on."""
    following = itertools.islice(names, bisect.bisect_right(names, text), None)
    return list(itertools.takewhile(lambda name: name.startswith(text), following))


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
