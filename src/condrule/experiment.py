"""A study: items, arms, a backend, a spec and a criterion, composed and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from condrule import tables
from condrule.adjudications import read_adjudications
from condrule.analysis import build_result
from condrule.arms import Arm
from condrule.backends.base import FinetuneBackend
from condrule.backends.charges import Charges
from condrule.backends.checked import CheckedBackend
from condrule.backends.finetunes import FinetuneSpec
from condrule.costs import planned
from condrule.criteria import Criterion
from condrule.driver import Driver
from condrule.environment import environment
from condrule.errors import (
    ConfigError,
    MissingExtraError,
    Problem,
    UnreadableError,
    UnsupportedError,
)
from condrule.items import Item, ItemSet, Reader, several_tokens
from condrule.journal import History, Journal
from condrule.ledger import Announced, Ledger
from condrule.missing import check_fits
from condrule.plan import StudyPlan, check_criterion, gate_probes, plan_jobs, pool
from condrule.prices import Prices, PriceTable, bundled_prices, read_prices
from condrule.progress import Watcher, quiet, terminal
from condrule.recorded import explained, read_history
from condrule.report import render
from condrule.results import Result
from condrule.rundir import RunDirectory, evidence_csv
from condrule.scorers import AutoScorer, Scorer
from condrule.spending import Kind, parse_budget

__all__ = ["ConditionalRuleExperiment", "analyse"]


def _items(value: ItemSet | Iterable[Item]) -> ItemSet:
    return value if isinstance(value, ItemSet) else ItemSet(value)


def _arms(value: Iterable[Arm]) -> tuple[Arm, ...]:
    return tuple(value)


def _seeds(value: int | Iterable[int]) -> tuple[int, ...]:
    return tuple(range(value)) if isinstance(value, int) else tuple(value)


@attrs.frozen(kw_only=True)
class ConditionalRuleExperiment:
    """Which rule does a fine-tune on one branch of a conditional rule teach?

    Every fine-tune and its base model are asked the same prompts, in every mode, for every mode's
    answer. A run is a directory; running again goes on where it was.
    """

    items: ItemSet = attrs.field(converter=_items)
    arms: tuple[Arm, ...] = attrs.field(converter=_arms)
    backend: FinetuneBackend
    spec: FinetuneSpec = FinetuneSpec()
    criterion: Criterion | None = None
    """Fixed before the run; None: numbers without a verdict."""
    seeds: tuple[int, ...] = attrs.field(default=3, converter=_seeds)
    """Seeds, or how many: each is a fine-tune of every arm. One seed speaks of one fine-tune."""
    scorer: Scorer = AutoScorer()
    name: str = "study"
    samples: int = 3
    """Responses drawn for each prompt, beside the greedy one, to see what is said instead."""
    contrasts: int = 100
    """Specificity compares the answers of at most this many items."""

    def __attrs_post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ConfigError(problems, self.name)

    def _problems(self) -> Iterator[Problem]:
        names = [arm.name for arm in self.arms]
        if not names:
            yield Problem("arms", "is empty; a study needs at least one arm")
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Problem("arms", f"two arms are named {name!r}; give each a name of its own")
        for name in names:
            if name.startswith("gate:") or "/" in name or not name.strip("."):
                yield Problem("arms", f"an arm can't be named {name!r}: it names a file")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            yield Problem(
                "seeds",
                f"is {list(self.seeds)}; it must be one seed or more, all "
                "different, or how many there are",
            )

    def plan(self) -> StudyPlan:
        """What would be trained and asked, worked out without spending anything.

        Raises:
            UnsupportedError: the backend can't do what the study asks.
            UnreadableError: a model has no token for a word of the study.
            ConfigError: the criterion speaks of an arm or mode that the study has not.
        """
        backend = CheckedBackend(self.backend)
        capabilities = backend.capabilities
        reader = backend.reader(self.seeds)
        items = self.used_items()
        if self.criterion:
            check_criterion(self.criterion, [arm.name for arm in self.arms], items.modes)
        scorer = self.scorer.fitted(capabilities)
        reasons = (*backend.limits(self.spec), *scorer.limits(capabilities))
        if reasons:
            raise UnsupportedError(reasons)
        plan = self._plan(items, scorer, self._notes(items, reader, scorer))
        if reader:
            _check_readable(plan, reader)
        _check_examples(plan, backend.fewest_examples)
        return plan

    def _plan(self, items: ItemSet, scorer: Scorer, notes: tuple[str, ...]) -> StudyPlan:
        backend = CheckedBackend(self.backend)
        bases = {seed: backend.base_model(seed) for seed in self.seeds}
        compared = min(len(items), self.contrasts)
        answers = pool(items, items.modes, compared)
        gates = self.criterion.gates if self.criterion else ()
        arms = (probe for arm in self.arms for probe in arm.probes(items, answers))
        return StudyPlan(
            name=self.name,
            items=items,
            trained={arm.name: arm.trained for arm in self.arms},
            seeds=self.seeds,
            bases=bases,
            jobs=plan_jobs(self.arms, items, self.spec, bases),
            probes=(*arms, *(probe for gate in gates for probe in gate_probes(gate, items))),
            pool=answers,
            compared=compared,
            scorer=scorer,
            criterion=self.criterion,
            samples=self.samples,
            notes=notes,
        )

    def charges(self, prices: PriceTable | str | Path | None = None) -> Charges | None:
        """What the backend's provider charges, by a table of prices, or the file of one; None:
        nothing."""
        table = read_prices(prices) if isinstance(prices, (str, Path)) else prices
        return CheckedBackend(self.backend).charges(table or bundled_prices())

    def used_items(self) -> ItemSet:
        """The items that are trained and asked: those that the backend's models can read.

        Raises ItemError where none is left, and UnsupportedError where that can't be told.
        """
        reader = CheckedBackend(self.backend).reader(self.seeds)
        if reader:
            return self.items.readable_by(reader)
        if self.items.one_token:
            several_tokens(None, [self.items[0].name])  # raises: nobody can tell
        return self.items

    def _notes(self, items: ItemSet, reader: Reader | None, scorer: Scorer) -> tuple[str, ...]:
        known = [reason for item in items if reader and (reason := reader.familiar(item.name))]
        more = f" (and {len(known) - 1} more such items)" if len(known) > 1 else ""
        familiar = (f"{reason}{more}" for reason in known[:1])
        return (*CheckedBackend(self.backend).notes(), *familiar, *scorer.notes(items))

    def run(
        self,
        directory: str | Path,
        *,
        watch: Watcher = terminal,
        resubmit: Collection[str] = (),
        budget: str | float | None = None,
        prices: PriceTable | str | Path | None = None,
    ) -> Result:
        """Train, ask and analyse, keeping everything in a directory; again: go on where it was.

        Args:
            directory: a new or empty directory, or one that holds this very study.
            watch: who is told about progress; the default draws bars on a terminal only.
            resubmit: keys of fine-tunes of which you have seen that the provider has no job, though
                one was about to be submitted (see UnsettledJobError).
            budget: what the run may cost in all, such as ``20USD``, or a number of USD, all that
                was spent before included; None: any. For providers that charge by the token.
            prices: a table of prices, or the file of one; None: the bundled one.

        Raises:
            StudyChangedError: the directory holds another study.
            RunLockedError: another process is at work in it.
            BudgetError: the budget does not suffice, or no longer; a larger one goes on.
            BackendError: the provider or the machine failed; call again to resume.
        """
        with self._driver(directory, watch, resubmit, budget, prices) as driver:
            driver.train()
            driver.test()
            return _finish(driver)

    def generate(self, directory: str | Path) -> StudyPlan:
        """Write down the items, the training sets and the probes. No model is touched."""
        with self._driver(directory, quiet) as driver:
            return driver.plan

    def train(
        self,
        directory: str | Path,
        *,
        watch: Watcher = terminal,
        resubmit: Collection[str] = (),
        budget: str | float | None = None,
        prices: PriceTable | str | Path | None = None,
    ) -> None:
        """Fine-tune all that is not fine-tuned yet; arguments and errors as of `run`."""
        with self._driver(directory, watch, resubmit, budget, prices) as driver:
            driver.train()

    def test(
        self,
        directory: str | Path,
        *,
        watch: Watcher = terminal,
        budget: str | float | None = None,
        prices: PriceTable | str | Path | None = None,
    ) -> Result:
        """Ask the models, which must be trained, and analyse; raises as `run` does."""
        with self._driver(directory, watch, (), budget, prices) as driver:
            driver.test()
            return _finish(driver)

    @contextmanager
    def _driver(
        self,
        directory: str | Path,
        watch: Watcher,
        resubmit: Collection[str] = (),
        budget: str | float | None = None,
        prices: PriceTable | str | Path | None = None,
    ) -> Iterator[Driver]:
        run, money = RunDirectory(directory), None if budget is None else parse_budget(budget)
        charges = self.charges(prices)
        plan, backend = self.plan(), CheckedBackend(self.backend)
        with run.locked():
            read_adjudications(run.path)  # damaged ones are refused before anything is spent
            resumed = run.begun
            run.freeze(plan, {"arms": self.arms, "backend": self.backend, "spec": self.spec})
            with explained(plan, run):
                journal = Journal(run.journal, run.run_id)
            with journal:
                check_fits(plan, journal.history, run.key)
                dropped = {"torn_line": torn} if (torn := journal.history.torn) else {}
                run.record_environment({**environment(), **backend.environment(), **dropped})
                with _ledger(plan, run, charges, journal.history, money) as ledger:
                    yield Driver(
                        plan,
                        backend.at(run.models),
                        run,
                        journal,
                        resumed,
                        watch,
                        resubmit,
                        ledger,
                        charges,
                    )


@contextmanager
def _ledger(
    plan: StudyPlan,
    run: RunDirectory,
    charges: Charges | None,
    history: History,
    budget: float | None,
) -> Iterator[Ledger | None]:
    """The run's ledger; None where nothing is charged for."""
    if charges is None:
        yield None
        return
    if budget is not None and None in (charges.base, charges.finetuned):
        names = " and ".join(dict.fromkeys(plan.bases.values()))
        message = (
            "can't be kept, as the price of the model is not known; give a table of prices that "
            f"names {names} (--prices FILE)"
        )
        raise ConfigError([Problem("budget", message)], plan.name)
    most = {run.key(job): charges.training(job.training_set, job.spec).most for job in plan.jobs}
    known: dict[Kind, Prices | None] = {"base": charges.base, "finetuned": charges.finetuned}
    announced = Announced(known, charges.source, planned(plan, charges), most)
    with Ledger(run.ledger, announced, history, budget) as ledger:
        yield ledger


def analyse(directory: str | Path, *, scorer: Scorer | None = None) -> Result:
    """Redo everything after the models from a run directory, offline, and write the result anew.

    Args:
        directory: what `ConditionalRuleExperiment.run` was given.
        scorer: needed only where the study used a strategy of your own.

    Raises:
        RunError: the directory holds no study, or a damaged one.
    """
    run = RunDirectory(directory)
    plan = run.load(scorer)
    with run.locked():
        return _write(run, build_result(plan, read_history(plan, run), run.key))


def _finish(driver: Driver) -> Result:
    return _write(driver.run, build_result(driver.plan, driver.journal.history, driver.run.key))


def _write(run: RunDirectory, result: Result) -> Result:
    """Write the files that follow from the journal. The result, with what was judged of it."""
    result = attrs.evolve(result, adjudications=read_adjudications(run.path))
    run.write_result("evidence.csv", evidence_csv(tables.evidence_rows(result)))
    data = result.to_dict()  # takes longer than all else here
    run.write_result("result.json", tables.to_json(data))
    run.write_result("report.txt", f"{render(data)}\n")
    try:
        figure = result.plot().get_figure(root=True)
    except MissingExtraError:
        return result
    if figure is not None:
        figure.savefig(run.path / "figure.png", dpi=120)
    checks = result.plot_checks()
    if checks is not None:
        checks.savefig(run.path / "calibration.png", dpi=120)
    return result


def _check_examples(plan: StudyPlan, fewest: int) -> None:
    """Raise UnsupportedError where an arm trains on fewer examples than the provider takes."""
    counts = {arm: len(job.training_set.examples) for job in plan.jobs for arm in job.arms}
    few = [
        f"arm {arm!r} trains on {count} examples; this provider takes {fewest} or more: use more "
        "items"
        for arm, count in counts.items()
        if count < fewest
    ]
    if few:
        raise UnsupportedError(few)


def _check_readable(plan: StudyPlan, reader: Reader) -> None:
    words: dict[str, dict[str, None]] = {}
    for place, text in _texts(plan):
        for word in reader.unreadable(text):
            words.setdefault(word, {})[place] = None
    if words:
        bases = ", ".join(dict.fromkeys(plan.bases.values()))
        raise UnreadableError({word: tuple(places) for word, places in words.items()}, bases)


def _texts(plan: StudyPlan) -> Iterator[tuple[str, str]]:
    """Every text a model will see or be asked for, with where it comes from."""
    for item in plan.items:
        for mode in plan.modes:
            for text in item.spellings(mode):
                yield f"the answer of item {item.name!r} in mode {mode!r}", text
    for probe in plan.probes:
        for message in probe.prompt.messages:
            yield f"the prompt {probe.id!r}", message.content
    for job in plan.jobs:
        for example in job.training_set.examples:
            for message in example.prompt.messages:
                yield f"the training prompts of arm {job.arms[0]!r}", message.content
