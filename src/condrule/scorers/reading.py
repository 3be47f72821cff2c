"""What follows a first token: whether a response goes on into an answer.

A bias acts wherever a token is drawn, so how often a response goes on after a biased token says
nothing. But the lists of top logprobs at its later positions show the probabilities without a bias.
So few responses are steered along an answer, by biases on its own tokens, and what is listed on the
way gives the rest of the answer's probability; a token that is not listed is bounded by its list.
Pure: queries are made here, and sent elsewhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import attrs

from condrule.arms import Prompt
from condrule.backends.base import Draws, Event, Observation, Token
from condrule.encodings import Vocabulary
from condrule.evidence import logsumexp
from condrule.scorers.matching import first_tokens, less, printed_tokens, unlisted_limit

__all__ = ["Path", "Steering", "Tree", "agree", "read"]

Path = tuple[bytes, ...]
"""The tokens that a response begins with."""

READ = 8  # responses of a reading: all it takes is one that goes the right way
TRIES, AGAIN = 12, 3  # readings after a first token, and those that aim at the same place
SMALL = 0.02  # the share of what may follow a token that is not worth a reading
SURELY = 1.5  # nats of logit: four in five take a token that they are steered to
ELSEWHERE = (8.0, 16.0, 3.0)  # nats below a list that a token is taken to be where it isn't listed
_READINGS = 4000  # seeds


@attrs.frozen
class Tree:
    """Lists of next tokens by what came before, and the texts that are looked for in them."""

    texts: frozenset[bytes]
    """The answer's spellings, with a leading space and without."""
    lists: Mapping[Path, Sequence[Token]]
    """The first list is that of the response's first token, which was asked without a bias."""
    event: Event = "begins"
    band: float = 0.05
    """Nats by which a printed logprob may be off."""
    encoding: str = ""
    """The name of the model's encoding, where it is known which tokens there are."""
    doubted: int = 0
    """Readings whose first list was another than the first list."""
    _limits: dict[Path, tuple[float, float]] = attrs.field(
        factory=dict, init=False, eq=False, repr=False
    )

    def limits(self, path: Path = ()) -> tuple[float, float]:
        """Bounds of the probability that a response which begins so gives the answer."""
        if path not in self._limits:
            self._limits[path] = self._found(path)
        return self._limits[path]

    def _found(self, path: Path) -> tuple[float, float]:
        said = b"".join(path)
        if said.startswith(tuple(self.texts)):
            return self._ended(path, said)
        rests = self._rests(said)
        printed = printed_tokens(self.lists.get(path, ()))
        if not printed or not rests:
            return 0.0, 1.0 if rests else 0.0
        first = first_tokens(rests, self.encoding, begun=bool(path))
        once = set(printed)  # two lines that are the same may be one that is printed twice
        own = {token: self._next(path, token) for token, _ in once if first.begins(token)}
        low = logsumexp(p - self.band + _log(own[t][0]) for t, p in once if t in own)
        total = logsumexp(p for _, p in once)
        count = len(first.known - {token for token, _ in once})
        rest = unlisted_limit(count, min(p for _, p in once), total, self.band)
        high = logsumexp([*(p + self.band + _log(own[t][1]) for t, p in printed if t in own), rest])
        return min(1.0, math.exp(less(low, total))), min(1.0, math.exp(high))

    def under(self, event: Event) -> Self:
        """The same lists, read for an event."""
        return self if event == self.event else attrs.evolve(self, event=event)

    def unread(self, path: Path) -> list[tuple[float, Path]]:
        """Where a list would tell more, and the probability that a response which begins so comes
        there."""
        said = b"".join(path)
        if said.startswith(tuple(self.texts)):
            ends = self.event == "equals" and said in self.texts and path not in self.lists
            return [(1.0, path)] if ends else []
        rests = self._rests(said)
        if not rests or path not in self.lists:
            return [(1.0, path)] if rests else []
        first = first_tokens(rests, self.encoding, begun=bool(path))
        printed = dict(printed_tokens(self.lists[path]))
        return [
            (math.exp(p) * share, further)
            for token, p in printed.items()
            if first.begins(token) and not token.endswith(b"\xff")
            for share, further in self.unread((*path, token))
        ]

    def with_lists(self, found: Observation) -> Self:
        """With what a reading listed, if its first list is the one that is known without a bias:
        else its lists show what the bias makes of them."""
        lists = {one.after: one.top for one in found.lists or ()}
        if () not in lists:
            return self
        if not agree(lists[()], self.lists.get((), ()), self.band):
            return attrs.evolve(self, doubted=self.doubted + 1)
        return attrs.evolve(self, lists={**lists, **self.lists})

    def _next(self, path: Path, token: bytes) -> tuple[float, float]:
        return (0.0, 1.0) if token.endswith(b"\xff") else self.limits((*path, token))

    def _rests(self, said: bytes) -> frozenset[bytes]:
        return frozenset(text[len(said) :] for text in self.texts if text.startswith(said))

    def _ended(self, path: Path, said: bytes) -> tuple[float, float]:
        """After the answer. That the response ends there is on no list, or on a line that shows no
        text: it has at most what the others leave over."""
        if self.event == "begins":
            return 1.0, 1.0
        if said not in self.texts:
            return 0.0, 0.0
        printed = set(printed_tokens(self.lists.get(path, ())))
        listed = logsumexp(p - self.band for token, p in printed if not _may_end(token))
        return 0.0, max(0.0, 1 - math.exp(listed))


def agree(one: Iterable[Token], other: Iterable[Token], band: float) -> bool:
    """Whether two lists show the same probabilities, but for rounding and jitter."""
    lists = [dict(printed_tokens(tokens)) for tokens in (one, other)]
    if not all(lists):
        return False
    for listed, known in (lists, lists[::-1]):
        least = min(known.values())
        for token, p in listed.items():
            off = abs(p - known[token]) if token in known else p - least
            if off > 2 * band:
                return False
    return True


@attrs.frozen
class Steering:
    """How responses are brought to where lists are read."""

    prompt: Prompt
    vocabulary: Vocabulary
    largest: int = 30
    """The largest bias, in nats."""

    def reading(
        self, tree: Tree, path: Path, first: float, again: int, number: int
    ) -> Draws | None:
        """Responses most of which begin with these tokens; None where one has no id.

        Args:
            tree: what is known of the way there.
            path: the tokens.
            first: log-probability of the first of them, in nats.
            again: how often it was tried before.
            number: which reading of this first token it is.
        """
        ids = {token: self.vocabulary.token_id(token) for token in path}
        biases = self._biases(tree, path, first, ELSEWHERE[again])
        pairs = [(ids[t], min(self.largest, math.ceil(b))) for t, b in biases.items() if b > 0]
        known = [(id, float(b)) for id, b in sorted(pairs, key=str) if id is not None]
        if len(known) < len(pairs):
            return None
        seed, length, top = _READINGS + number, self._length(tree, path), len(tree.lists[()])
        return Draws(self.prompt, READ, length, 1.0, seed, bias=known, top=top)

    def _biases(self, tree: Tree, path: Path, first: float, elsewhere: float) -> dict[bytes, float]:
        """What makes each token of a path likely in its place, though all of them act in all
        places. Where they drive each other up no bias does it, and the tries end."""
        biases = dict.fromkeys(path, 0.0)
        lists = [dict(printed_tokens(tree.lists.get(path[:n], ()))) for n in range(len(path))]
        for _ in range(8):
            for place, (token, listed) in enumerate(zip(path, lists, strict=True)):
                unlisted = min(listed.values(), default=0.0) - elsewhere
                own = first if place == 0 else listed.get(token, unlisted)
                others = [
                    listed.get(other, unlisted) + bias
                    for other, bias in biases.items()
                    if other != token and bias > 0
                ]
                needed = logsumexp([0.0, *others]) + SURELY - own
                biases[token] = min(2.0 * self.largest, max(biases[token], needed))
        return biases

    def _length(self, tree: Tree, path: Path) -> int:
        """How many tokens a response needs to come to the end of the answer."""
        said = b"".join(path)
        rests = [text[len(said) :] for text in tree.texts if text.startswith(said)]
        more = min((self._tokens(rest) for rest in rests), default=0)
        return len(path) + max(more, 1 if said not in tree.texts else 0) + (tree.event == "equals")

    def _tokens(self, rest: bytes) -> int:
        count = 0
        while rest:
            longest = max(map(len, self.vocabulary.beginnings(rest)), default=1)
            rest, count = rest[longest:], count + 1
        return count


def read(
    steering: Steering, tree: Tree, token: bytes, first: float, seen: Mapping[str, Observation]
) -> tuple[Tree, Draws | None]:
    """What readings tell of what follows a first token, and the reading that is missing."""
    aimed: Counter[Path] = Counter()
    for number in range(TRIES):
        worth = SMALL * tree.limits((token,))[1]
        unread = [(p, path) for p, path in tree.unread((token,)) if p > worth]
        unread = [(p, path) for p, path in unread if aimed[path] < AGAIN]
        if not unread:
            break
        _, path = max(unread)
        query = steering.reading(tree, path, first, aimed[path], number)
        aimed[path] += 1
        if query is None:
            continue
        if query.id not in seen:
            return tree, query
        tree = tree.with_lists(seen[query.id])
        if tree.doubted or seen[query.id].refused is not None:
            break
    return tree, None


def _may_end(token: bytes) -> bool:
    """Whether a line of a list may be the end of the response: servers show it as no text at all,
    or by a name such as <|im_end|> or </s>."""
    return not token or (token.startswith(b"<") and token.endswith(b">"))


def _log(p: float) -> float:
    return math.log(p) if p > 0 else -math.inf
