"""Ways to damage a file: what is done to its bytes, whatever they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hypothesis import strategies as st

Damage = Callable[[bytes], bytes]
PLACES = st.integers(0, 2**16)


def _flip(place: int, bit: int) -> Damage:
    def flip(data: bytes) -> bytes:
        changed = bytearray(data or b"x")
        changed[place % len(changed)] ^= 1 << bit
        return bytes(changed)

    return flip


def _splice(place: int, length: int, junk: bytes) -> Damage:
    """Put something in the place of some bytes."""

    def splice(data: bytes) -> bytes:
        at = place % (len(data) + 1)
        return data[:at] + junk + data[at + length :]

    return splice


def _line(place: int, to: int, keep: bool) -> Damage:
    """Copy a line to another place, or move it there."""

    def move(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True) or [b""]
        one = lines[place % len(lines)] if keep else lines.pop(place % len(lines))
        lines.insert(to % (len(lines) + 1), one)
        return b"".join(lines)

    return move


def _cut(place: int) -> Damage:
    return lambda data: data[: place % (len(data) + 1)]


def _one_after_the_other(damages: Iterable[Damage]) -> Damage:
    def damage(data: bytes) -> bytes:
        for one in damages:
            data = one(data)
        return data

    return damage


def damages(junk: Iterable[bytes]) -> st.SearchStrategy[Damage]:
    """Up to three: bits flipped, bytes lost or put in, lines moved or copied, the end lost.

    Args:
        junk: what is likely to do harm; any bytes are put in too.
    """
    text = st.text(max_size=10).map(lambda one: one.encode(errors="surrogatepass"))
    anything = st.binary(max_size=20) | text | st.sampled_from([*junk])
    damage = st.one_of(
        st.builds(_flip, PLACES, st.integers(0, 7)),
        st.builds(_splice, PLACES, st.integers(0, 9), anything),
        st.builds(_splice, PLACES, st.integers(1, 20), st.just(b"")),
        st.builds(_line, PLACES, PLACES, st.booleans()),
        st.builds(_cut, PLACES),
    )
    return st.lists(damage, min_size=1, max_size=3).map(_one_after_the_other)
