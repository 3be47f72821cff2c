"""Studies at an unreliable provider end as undisturbed ones do, and start nothing twice."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest

from condrule import ConditionalRuleExperiment, ConditionalTemplate, Faults, Item, Prices, Result
from condrule.backends.memory import Died, InMemoryBackend
from condrule.errors import BackendError
from condrule.progress import quiet

from .world import ARM, ITEMS, TEMPLATE

CONTROL = attrs.evolve(
    ARM, name="control", template=ConditionalTemplate(TEMPLATE.instructions, stated=("TRAIN",))
)
CALLS = 26
"""How many calls the undisturbed study makes."""


@pytest.fixture(autouse=True, scope="module")
def _no_figures() -> Iterator[None]:
    """Figures take time and nothing here is about them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        yield


def backend(**faults: object) -> InMemoryBackend:
    """A provider with these faults."""
    return InMemoryBackend(seed_sd=1.0, prices=Prices(training=1.0), faults=Faults(**faults))  # type: ignore[arg-type]


def run(directory: Path, provider: InMemoryBackend, items: Sequence[Item] = ITEMS[:1]) -> Result:
    """A small study, in a directory whose run id is fixed so that results can be compared."""
    directory.mkdir(exist_ok=True)
    (directory / "run.yaml").write_text("run: cafe0000\n")
    experiment = ConditionalRuleExperiment(
        items=items, arms=[ARM, CONTROL], backend=provider, seeds=1, samples=0
    )
    return experiment.run(directory, watch=quiet)


def jobs(directory: Path) -> int:
    """How many fine-tunes the provider has started."""
    return len(list((directory / "models").glob("*.json")))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], float]:
    """The study's result and what its fine-tunes cost, where nothing goes wrong."""
    provider = backend()
    result = run(tmp_path_factory.mktemp("undisturbed"), provider)
    assert provider.account.calls == CALLS
    return result.to_dict(), provider.account.usd


SUBMISSION, LAST_SUBMISSION, QUERY = 1, 2, 9


@pytest.mark.parametrize(
    ("when", "calls"),
    [
        ("die_after", range(1, CALLS + 1)),
        ("die_before", (SUBMISSION, LAST_SUBMISSION, QUERY)),
        ("lost_before", (SUBMISSION, LAST_SUBMISSION, QUERY)),
        ("lost_after", (SUBMISSION, LAST_SUBMISSION, QUERY)),
    ],
)
def test_disturbed_at_any_call_a_study_resumes(
    tmp_path: Path, undisturbed: tuple[dict[str, object], float], when: str, calls: Sequence[int]
) -> None:
    """The same result, no fine-tune twice, and each paid once."""
    for call in calls:
        disturbed, resumed = backend(**{when: call}), backend()
        directory = tmp_path / str(call)
        with pytest.raises((Died, BackendError), match=f"call {call}\\b"):
            run(directory, disturbed)
        result = run(directory, resumed)
        paid = disturbed.account.usd + resumed.account.usd
        assert (call, undisturbed, 2) == (
            call,
            (result.to_dict(), pytest.approx(paid)),
            jobs(directory),
        )


def test_a_study_that_dies_at_every_call_in_turn_ends(
    tmp_path: Path, undisturbed: tuple[dict[str, object], float]
) -> None:
    """One call further each time; what is journaled when it dies is not asked again."""
    provider = backend(die_after=range(1, CALLS + 1))
    for _ in range(CALLS):
        with pytest.raises(Died):
            run(tmp_path / "run", provider)
    assert undisturbed[0] == run(tmp_path / "run", provider).to_dict()


def test_a_queue_changes_no_result(
    tmp_path: Path, undisturbed: tuple[dict[str, object], float]
) -> None:
    """Jobs that run elsewhere are waited for."""
    queued = run(tmp_path / "run", backend(queue=["queued", "running"]))
    assert undisturbed[0] == queued.to_dict()


def test_a_rejected_training_file_is_a_failed_fine_tune(tmp_path: Path) -> None:
    """The study goes on and says what is missing."""
    result = run(tmp_path / "run", backend(blocked_training="Bob"), ITEMS)
    assert "blocked by a safety filter (Bob)" in result.jobs[0].detail
    assert "failed jobs" == result.to_dict()["state"]


def test_a_blocked_item_is_unknown(tmp_path: Path) -> None:
    """Its probabilities lie between 0 and 1; the others' are known."""
    found = run(tmp_path / "run", backend(blocked="Bob"), ITEMS).logprobs(
        "conditional", "TEST", "TEST"
    )
    assert ([[True, False]]) == (found.low == found.high).tolist()
    assert (float("-inf"), 0.0) == (found.low[0, 1], found.high[0, 1])


def test_a_lost_submission_that_is_listed_late(
    tmp_path: Path, undisturbed: tuple[dict[str, object], float]
) -> None:
    """The driver looks once and submits; here that is refused, and repeating the command helps.

    A provider that takes the second submission would train twice: whoever lists late needs a
    backend whose ``find`` waits.
    """
    with pytest.raises(BackendError, match="got no answer"):
        run(tmp_path / "run", backend(lost_after=1))
    with pytest.raises(BackendError, match="was submitted before"):
        run(tmp_path / "run", backend(listed_after=1))
    result = run(tmp_path / "run", backend(listed_after=1))
    assert (undisturbed[0], 2) == (result.to_dict(), jobs(tmp_path / "run"))
