"""Progress bars: on the terminal, for what takes over two seconds, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["Progress", "Watcher", "elapsed", "quiet", "speed", "terminal"]


class Progress(Protocol):
    """Told how far a piece of work is."""

    def __call__(self, done: float, total: float, note: str = "") -> None: ...


def elapsed(seconds: float) -> str:
    """A duration as people say it.

    >>> elapsed(42), elapsed(125), elapsed(7380)
    ('42 s', '2 min', '2 h 3 min')
    """
    minutes = int(max(0.0, seconds) // 60)
    if minutes < 1:
        return f"{max(0.0, seconds):.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def speed(done: int, total: int, seconds: float, *more: str) -> str:
    """How many answers have come in so many seconds, how fast, more, and how long the rest takes.

    >>> speed(640, 2000, 2.0, "651 requests", "0.0123 of 20 USD")
    '640 of 2,000 answers, 320/s, 651 requests, 0.0123 of 20 USD, 4 s left'
    >>> speed(3, 10, 60.0), speed(0, 10, 1.0)
    ('3 of 10 answers, 3/min, 2 min left', '0 of 10 answers')
    """
    counts = f"{done:,} of {total:,} answers"
    if not done or seconds <= 0:
        return ", ".join([counts, *more])
    rate = done / seconds
    each = f"{rate:,.0f}/s" if rate >= 1 else f"{60 * rate:,.0f}/min"
    return ", ".join([counts, each, *more, f"{elapsed((total - done) / rate)} left"])


class Watcher(Protocol):
    """Opens a progress report for one stage of a run."""

    def __call__(self, title: str) -> AbstractContextManager[Progress]: ...


def _nothing(done: float, total: float, note: str = "") -> None:
    return None


@contextmanager
def quiet(title: str) -> Iterator[Progress]:
    """Reports nothing."""
    yield _nothing


@contextmanager
def terminal(title: str) -> Iterator[Progress]:
    """A bar on standard error, shown after two seconds; nothing where that is no terminal."""
    from tqdm import tqdm

    bar_format = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    with tqdm(
        total=1.0, desc=title, delay=2, disable=None, leave=False, bar_format=bar_format
    ) as bar:

        def tell(done: float, total: float, note: str = "") -> None:
            bar.set_postfix_str(note, refresh=False)
            bar.update(max(0.0, done / total - bar.n) if total else 0.0)

        yield tell
