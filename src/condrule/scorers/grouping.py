"""Answers to one prompt that are drawn together, each under a bias of its own. Pure.

With biases b_i on the first tokens of several answers, answer i is drawn with probability
P_i e^b_i / (P_0 + sum of P_j e^b_j), P_0 being that of none. Among the draws that are none of the
others' it is drawn with odds P_i e^b_i / P_0, whatever the others' probabilities and biases are: so
one likelihood holds draws of an answer alone and together with others, whatever their biases were.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import attrs

from condrule.arms import Probe, Prompt
from condrule.backends.base import Draws, Event, Observation
from condrule.scorers.aiming import draw
from condrule.scorers.calibration import APART
from condrule.scorers.chains import Chain
from condrule.scorers.outcomes import Drawn, Outcome, Stage, outcome, together
from condrule.scorers.reading import Tree
from condrule.scorers.tilting import FIRST, likeliest_logit

__all__ = ["Checked", "Group", "groups"]

RARE = 0.05  # answers more probable than this are drawn alone: what is left of 1 would be uncertain
_CHECKS = 1000  # the seed of draws that calibrate


@attrs.frozen
class Checked:
    """A stage whose tokens are drawn once more under a smaller bias."""

    prompt: Prompt
    stage: Stage

    @property
    def check(self) -> Draws:
        """That query."""
        pairs = ((id, self.stage.bias - APART) for id in self.stage.aim.ids)
        return draw(self.prompt, pairs, FIRST, _CHECKS)


@attrs.frozen
class Group:
    """Answers to one prompt that are drawn together; or one alone."""

    probe: Probe
    chains: Mapping[str, Chain]
    """By mode."""

    @property
    def ready(self) -> list[str]:
        """The modes of the answers that can be drawn."""
        return [mode for mode, chain in self.chains.items() if chain.ready]

    def counted(self, mode: str, tree: Tree) -> Outcome:
        """What the main stage of one of them counts, by what follows its first tokens."""
        chain = self.chains[mode]
        return outcome(chain.stage, tree, self._texts(mode), sought=chain.sought)

    def _texts(self, mode: str) -> set[str]:
        others = (self.chains[m].stage for m in self.ready if m != mode)
        return {text for stage in others for text in stage.aim.tokens}

    def outcome(self, mode: str, event: Event = "begins") -> Outcome:
        """What is known of one of them."""
        chain, texts = self.chains[mode], self._texts(mode)
        tree = chain.tree.under(event)
        odds = math.fsum(_odds(self.chains[m].stage) for m in self.ready if m != mode)
        ends = range(len(chain.stages))
        found = [
            outcome(chain.stages[n], tree, texts, odds, sought=n != ends[-1] or chain.sought)
            for n in ends
        ]
        rest = [one for n, one in enumerate(found) if n != chain.main]
        return together(found[chain.main], rest, _known(chain, event))

    def query(self, wanted: Mapping[str, tuple[int, int]], seed: int) -> Draws:
        """Draws for the answers of these modes, each under its bias; as many as the one that wants
        the most, for about a third of them are each one's, and draws of the others don't count."""
        pairs = [
            (id, bias) for m, (bias, _) in wanted.items() for id in self.chains[m].stage.aim.ids
        ]
        return draw(self.probe.prompt, pairs, max(n for _, n in wanted.values()), seed)

    def with_drawn(self, biases: Mapping[str, int], query: Draws, texts: Sequence[str]) -> Group:
        """With draws for the answers of these modes."""
        said = Counter(texts)
        more = {
            mode: self.chains[mode].with_drawn([Drawn(query.id, bias, said)])
            for mode, bias in biases.items()
        }
        return attrs.evolve(self, chains={**self.chains, **more})

    def with_checks(self, seen: Mapping[str, Observation]) -> Group:
        """With the draws that calibrated the model, for those that did."""
        group = self
        for mode in self.ready:
            stage = self.chains[mode].stage
            query = Checked(self.probe.prompt, stage).check
            if query.id in seen and (texts := seen[query.id].texts) is not None:
                group = group.with_drawn({mode: stage.bias - APART}, query, texts)
        return group


def groups(
    probes: Sequence[Probe], chains: Mapping[tuple[str, str], Chain], *, ready: bool = True
) -> Iterator[Group]:
    """The answers of each probe: those that can be drawn together, and each other alone.

    Args:
        probes: all that are asked.
        chains: by probe and mode.
        ready: leave out those that can't be drawn.
    """
    for probe in probes:
        own = {m: c for (id, m), c in chains.items() if id == probe.id and (c.ready or not ready)}
        joint = _joint(own)
        if joint:
            yield Group(probe, joint)
        yield from (Group(probe, {m: c}) for m, c in own.items() if m not in joint)


def _joint(chains: Mapping[str, Chain]) -> dict[str, Chain]:
    """Rare answers whose tokens are different ones; none if there is one alone."""
    found: dict[str, Chain] = {}
    taken: set[str] = set()
    for mode, chain in chains.items():
        if not chain.ready or not chain.stage.logprob < math.log(RARE):
            continue
        texts = {*chain.stage.aim.tokens}
        if not texts & taken:
            found[mode] = chain
            taken |= texts
    return found if len(found) > 1 else {}


def _odds(stage: Stage) -> float:
    x = likeliest_logit(stage.counts)
    return 0.0 if x is None else math.exp(x)


def _known(chain: Chain, event: Event) -> tuple[float, float]:
    """The probability that comes with listed tokens; under *equals* the lower bound is 0."""
    return chain.known if event == "begins" else (0.0, chain.known[1])
