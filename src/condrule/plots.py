"""The figure of a result: every item, and the mean with its interval. matplotlib is optional."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from condrule.errors import MissingExtraError
from condrule.statistics import Bounds, Estimate

if TYPE_CHECKING:
    import matplotlib.axes

__all__ = ["PlotRow", "draw"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")  # Okabe and Ito (2008)
_FLOOR = -27.0  # nats, about 2e-12: what is lower is drawn there


@attrs.frozen(eq=False)
class PlotRow:
    """One line of the figure: an answer's probability for every item and fine-tune."""

    label: str
    answer: str
    items: Bounds
    mean: Estimate


def draw(
    rows: Iterable[PlotRow],
    title: str,
    threshold: float,
    ax: matplotlib.axes.Axes | None = None,
) -> matplotlib.axes.Axes:
    """Draw the rows on the axes, or on new ones, and return them."""
    rows = list(rows)
    labels = list(dict.fromkeys(row.label for row in rows))
    answers = list(dict.fromkeys(row.answer for row in rows))
    ax = ax if ax is not None else _axes(len(labels))
    for row in rows:
        place = answers.index(row.answer)
        offset = (place + 0.5) / len(answers) - 0.5
        _draw_row(ax, row, labels.index(row.label) + 0.7 * offset, COLOURS[place % len(COLOURS)])
    _annotate(ax, labels, answers, title, threshold)
    return ax


def _axes(lines: int) -> matplotlib.axes.Axes:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "plot", "Result.plot()") from None
    figure = Figure(figsize=(8.5, 1.6 + 0.8 * lines), layout="constrained")
    return figure.add_subplot()


def _draw_row(ax: Any, row: PlotRow, height: float, colour: str) -> None:
    known = np.exp(np.maximum((row.items.low + row.items.high) / 2, _FLOOR))
    for fine_tune, values in enumerate(known):
        jitter = 0.05 * (fine_tune - (len(known) - 1) / 2)
        ax.plot(values, np.full(len(values), height + jitter), ".", color=colour, alpha=0.3, ms=5)
    low, high = (float(np.exp(max(end, _FLOOR))) for end in (row.mean.ci_low, row.mean.ci_high))
    mean = float(np.exp(max(row.mean.point, _FLOOR)))
    ax.plot([low, high], [height, height], "-", color="black", lw=1.4, zorder=3)
    ax.plot([mean], [height], "D", color=colour, mec="black", ms=7, zorder=4)


def _annotate(ax: Any, labels: list[str], answers: list[str], title: str, line: float) -> None:
    ax.set_xscale("log")
    ax.axvline(line, color="grey", ls=":", lw=1)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_xlabel(
        "P(answer): a dot for each item and fine-tune, a diamond for their\n"
        f"arithmetic mean with its interval; the dotted line is at {line:g}"
    )
    ax.set_title(title, loc="left")
    ax.grid(axis="x", alpha=0.25)
    for place, answer in enumerate(answers):
        ax.plot([], [], "D", color=COLOURS[place % len(COLOURS)], label=f"answer of {answer}")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1.0), ncols=len(answers), frameon=False)
