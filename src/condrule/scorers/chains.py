"""One answer to one prompt: its list, the search for the right bias, and what is read. Pure.

First its list is read on (`condrule.scorers.reading`): what listed first tokens go on into. Where
that leaves it open, all its first tokens are biased and drawn, and those that come are read on.
Where they lead elsewhere, the others are drawn without them, in a further stage. What the draws say
then is worked out in `condrule.scorers.outcomes`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import attrs

from condrule.backends.base import Draws, Observation
from condrule.scorers.aiming import Aim, draw
from condrule.scorers.matching import printed_tokens
from condrule.scorers.outcomes import Drawn, Stage, outcome
from condrule.scorers.reading import Steering, Tree, read
from condrule.scorers.tilting import FIRST, LOOK, find, likeliest_logit, logit

__all__ = ["Chain", "grow", "start_of"]

STAGES = 3  # searches for rarer beginnings of an answer, each without those that lead elsewhere
FREQUENT = 0.05  # the share of hits, or of what a list leaves open, from which a token is read
ASTRAY = 0.25  # a token that goes on into the answer more rarely makes room for others
MOSTLY = 0.75  # ... where it and its like are so many of the hits


@attrs.frozen
class Chain:
    """One answer to one prompt, as far as it was asked until the model is calibrated."""

    tree: Tree
    stages: tuple[Stage, ...] = ()
    """Those whose bias is known."""
    main: int = 0
    """The stage that has most of the answer's probability."""
    known: tuple[float, float] = (0.0, 0.0)
    """Bounds of the probability that comes with listed tokens that rarely go on into the answer:
    they are biased in no stage."""
    sought: bool = False
    """Whether all other beginnings were looked for in vain, after the last stage."""
    next: tuple[Draws, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether all was asked, and something can be drawn."""
        return bool(self.stages) and not self.next

    @property
    def stage(self) -> Stage:
        """The main one."""
        return self.stages[self.main]

    def with_drawn(self, drawn: Sequence[Drawn]) -> Chain:
        """With more draws in the main stage."""
        more = attrs.evolve(self.stage, drawn=(*self.stage.drawn, *drawn))
        before, after = self.stages[: self.main], self.stages[self.main + 1 :]
        return attrs.evolve(self, stages=(*before, more, *after))


def grow(
    tree: Tree,
    target: Aim,
    start: int,
    steering: Steering,
    wide: float,
    seen: Mapping[str, Observation],
) -> Chain:
    """A chain as far as it was asked.

    Args:
        tree: the answer's spellings and its prompt's list.
        target: the answer's first tokens.
        start: the first bias.
        steering: how responses are brought to where lists are read.
        wide: the width of bounds from which an answer is drawn, in nats.
        seen: what was answered.
    """
    listed = _worth_reading(tree, target)
    tree, pending = _read(steering, tree, listed, seen)
    if pending:
        return Chain(tree, next=pending)
    low, high = tree.limits()
    if low > 0 and math.log(high / low) <= wide:
        return Chain(tree)
    known = {token: p for token, p in listed.items() if tree.limits((token,))[1] <= ASTRAY}
    chain = Chain(tree, known=_contribution(tree, known))
    return _grown(chain, target.without(known), start, steering, seen)


def _grown(
    chain: Chain, target: Aim, start: int, steering: Steering, seen: Mapping[str, Observation]
) -> Chain:
    """With its stages."""
    stages: list[Stage] = []
    tree, seed = chain.tree, 0
    while target.ids and len(stages) < STAGES:
        stage, query = _pilot(Stage(target, seed=seed), start, steering, seen)
        if query:
            return attrs.evolve(chain, stages=tuple(stages), next=(query,))
        if not stage.ready:
            chain = attrs.evolve(chain, sought=bool(stage.drawn))
            break
        tree, pending = _read(steering, tree, _frequent(tree, stage), seen)
        stages.append(stage)
        chain = attrs.evolve(chain, tree=tree, stages=tuple(stages), next=pending)
        lost = _astray(tree, stage)
        if pending or not lost:
            break
        stages[-1] = attrs.evolve(stage, only=frozenset(lost))
        seed += len(stage.drawn)
        target, start = target.without(lost), stage.bias + round(math.log(sum(stage.hits.values())))
    if stages and not chain.next:  # no later stage has the others
        stages[-1] = attrs.evolve(stages[-1], only=None)
    sizes = [outcome(stage, tree).logprob for stage in stages]
    main = sizes.index(max(sizes)) if sizes else 0
    return attrs.evolve(chain, stages=tuple(stages), main=main)


def _pilot(
    stage: Stage, start: int, steering: Steering, seen: Mapping[str, Observation]
) -> tuple[Stage, Draws | None]:
    """The stage up to the first draws under the bias that it needs, and the query that is missing;
    not ready where nothing is hit, or everything: a truncated tail would look so."""
    largest, ids = steering.largest, stage.aim.ids
    start = max(-largest, min(largest, start))
    while True:
        counts = stage.counts
        bias, n = find(counts, start, largest), LOOK
        if bias is None:
            x, n = likeliest_logit(counts), FIRST
            if x is None:
                return stage, None
            bias = max(-largest, min(largest, -round(x)))
        pairs = ((id, bias) for id in ids)
        query = draw(steering.prompt, pairs, n, stage.seed + len(counts))
        if query.id not in seen:
            return stage, query
        if (texts := seen[query.id].texts) is None:
            return attrs.evolve(stage, drawn=(), ready=False), None  # nothing was looked for
        stage = attrs.evolve(stage, drawn=(*stage.drawn, Drawn(query.id, bias, Counter(texts))))
        if n == FIRST:
            return attrs.evolve(stage, ready=likeliest_logit(stage.counts) is not None), None


def _read(
    steering: Steering, tree: Tree, tokens: Mapping[bytes, float], seen: Mapping[str, Observation]
) -> tuple[Tree, tuple[Draws, ...]]:
    """With what follows each of these tokens, whose log-probabilities are about known."""
    pending: list[Draws] = []
    for token, first in sorted(tokens.items()):
        tree, query = read(steering, tree, token, first, seen)
        pending += [query] if query else []
    return tree, tuple(pending)


def _worth_reading(tree: Tree, target: Aim) -> dict[bytes, float]:
    """Listed beginnings of the answer that matter to its bounds."""
    least = FREQUENT * tree.limits()[1]
    printed = dict(printed_tokens(tree.lists.get((), ())))
    open_ = _undecided(tree, target)
    return {t: p for t, p in printed.items() if t in open_ and math.exp(p) >= least}


def _undecided(tree: Tree, target: Aim) -> Collection[bytes]:
    """First tokens after which more must follow, or the response must end."""
    return {*target.parts, *(target.whole if tree.event == "equals" else ())}


def _contribution(tree: Tree, listed: Mapping[bytes, float]) -> tuple[float, float]:
    ends = [(p, tree.limits((token,))) for token, p in listed.items()]
    low = math.fsum(math.exp(p - tree.band) * least for p, (least, _) in ends)
    return low, math.fsum(math.exp(p + tree.band) * most for p, (_, most) in ends)


def _frequent(tree: Tree, stage: Stage) -> dict[bytes, float]:
    """Beginnings of the answer that are not few of the hits."""
    hits, size, open_ = stage.hits, stage.logprob, _undecided(tree, stage.aim)
    shares = {t: n / hits.total() for text, n in hits.items() if (t := stage.aim.tokens[text])}
    return {
        token: size + math.log(share)
        for token, share in shares.items()
        if token in open_ and share >= FREQUENT
    }


def _astray(tree: Tree, stage: Stage) -> set[bytes]:
    """Tokens that rarely go on into the answer, where they are most of the hits and so leave little
    room for others; none where there are no others."""
    hits = {t: n for text, n in stage.hits.items() if (t := stage.aim.tokens[text])}
    found = {token for token in hits if tree.limits((token,))[1] <= ASTRAY}
    many = sum(hits[token] for token in found) >= MOSTLY * stage.hits.total()
    return found if many and stage.aim.without(hits).ids else set()


def start_of(low: float, high: float) -> int:
    """The first bias, for bounds of the log-probability."""
    likely = low if low > -math.inf else high
    return -round(logit((likely + high) / 2)) if high < 0 else 0
