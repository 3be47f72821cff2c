"""The figure of a result: every item, and the mean with its interval. matplotlib is optional."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from condrule.counts import clopper_pearson
from condrule.errors import MissingExtraError
from condrule.scorers.base import Check, CheckPoint
from condrule.statistics import Bounds, Estimate

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

__all__ = ["CheckPanel", "PlotRow", "draw", "draw_checks"]

_TITLE = 44  # characters of a line above a panel: the names of fine-tunes are longer

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")  # Okabe and Ito (2008)
_FLOOR = -27.0  # nats, about 2e-12: what is lower is drawn there


@attrs.frozen(eq=False)
class PlotRow:
    """One line of the figure: an answer's probability for every item and fine-tune."""

    label: str
    answer: str
    items: Bounds
    mean: Estimate


@attrs.frozen
class CheckPanel:
    """One panel of the figure of models' tests."""

    title: str
    check: Check


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
    return _figure((8.5, 1.6 + 0.8 * lines), "Result.plot()").add_subplot()


def _figure(size: tuple[float, float], what: str) -> matplotlib.figure.Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "plot", what) from None
    return Figure(figsize=size, layout="constrained")


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


def draw_checks(panels: Iterable[CheckPanel]) -> matplotlib.figure.Figure | None:
    """A panel for each model that has points; None where none has."""
    drawn = [panel for panel in panels if panel.check.points]
    if not drawn:
        return None
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = _figure((1.0 + 3.4 * columns, 0.9 + 3.4 * rows), "Result.plot_checks()")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, panel in zip(axes, drawn, strict=False):
        _draw_panel(ax, panel)
    for ax in axes[len(drawn) :]:
        ax.set_axis_off()
    figure.supxlabel(
        "logit of the share of hits that there should be: the dotted line; the band holds the\n"
        "first group as a whole in 99 %. Each point has its own 95 % interval; open: no or all hits"
    )
    figure.supylabel("logit of the share of hits that there was")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
    return figure


def _draw_panel(ax: Any, panel: CheckPanel) -> None:
    points = [point for point in panel.check.points if np.isfinite(point.expected)]
    for place, group in enumerate(dict.fromkeys(point.group for point in points)):
        chosen = [point for point in points if point.group == group]
        _draw_group(ax, chosen, group, COLOURS[place % len(COLOURS)])
    expected = [point.expected for point in points]
    ends = np.array([min(expected, default=-1) - 1, max(expected, default=1) + 1])
    ax.plot(ends, ends, ":", color="grey", lw=1)
    ax.fill_between(ends, ends - panel.check.band, ends + panel.check.band, color="grey", alpha=0.2)
    lines = [part for line in panel.title.splitlines() for part in textwrap.wrap(line, _TITLE)]
    ax.set_title("\n".join(lines), loc="left", fontsize=8)
    ax.grid(alpha=0.25)


def _draw_group(ax: Any, points: list[CheckPoint], label: str, colour: str) -> None:
    """Each point with its interval of Clopper and Pearson; half a hit stands for none."""
    hits, draws, expected = (
        np.array([getattr(point, name) for point in points], dtype=float)
        for name in ("hits", "draws", "expected")
    )
    found = _logit((hits + 0.5) / (draws + 1))
    low, high = (_logit(end) for end in clopper_pearson(hits, draws))
    inside = (hits > 0) & (hits < draws)
    ax.plot(expected[inside], found[inside], "o", ms=4, color=colour, label=label)
    ax.plot(expected[~inside], found[~inside], "o", ms=4, mfc="none", color=colour)
    ax.vlines(expected, low, high, color=colour, lw=0.8, alpha=0.6)


def _logit(share: Any) -> Any:
    share = np.clip(share, 1e-4, 1 - 1e-4)
    return np.log(share) - np.log1p(-share)
