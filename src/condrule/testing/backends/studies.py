"""What holds for every backend as a part of a study."""

from __future__ import annotations

import json
from pathlib import Path

from condrule.arms import Arm
from condrule.backends.base import Capabilities, FinetuneBackend
from condrule.backends.finetunes import FinetuneSpec
from condrule.experiment import ConditionalRuleExperiment, analyse
from condrule.items import ItemSet
from condrule.progress import quiet
from condrule.scorers.auto import AutoScorer
from condrule.testing.backends.fixtures import BackendFixtures
from condrule.testing.plugin import check_frozen, check_named

__all__ = ["StudySuite"]


class StudySuite(BackendFixtures):
    """A backend can be named, frozen and replayed, and says what it can do."""

    def test_it_can_be_frozen(self, backend: FinetuneBackend) -> None:
        """Its fields are plain data, and equal backends are the same study."""
        check_frozen(backend)

    def test_a_study_file_can_name_it(self, backend: FinetuneBackend) -> None:
        """An entry point of the group condrule.backends leads to it."""
        check_named("backends", backend)

    def test_it_says_what_its_models_can_do(self, backend: FinetuneBackend) -> None:
        """Without loading one; and some scorer can do with it."""
        assert isinstance(backend.capabilities, Capabilities)
        scorer = AutoScorer().fitted(backend.capabilities)
        assert () == scorer.limits(backend.capabilities)

    def test_it_says_what_it_cannot_do(self, backend: FinetuneBackend, spec: FinetuneSpec) -> None:
        """Limits and notes are sentences, the spec of this suite is within the limits, and the
        environment can be written down."""
        assert () == tuple(backend.limits(spec))
        assert all(isinstance(note, str) and note for note in backend.notes())
        assert json.loads(json.dumps(backend.environment())) == backend.environment()

    def test_a_study_runs_and_replays(
        self,
        backend: FinetuneBackend,
        items: ItemSet,
        arm: Arm,
        spec: FinetuneSpec,
        tmp_path: Path,
    ) -> None:
        """From items to a result; again it trains and asks nothing, and offline it is the same."""
        study = ConditionalRuleExperiment(
            items=items, arms=[arm], backend=backend, spec=spec, seeds=1, samples=1
        )
        first = study.run(tmp_path / "run", watch=quiet).to_json()
        journal = (tmp_path / "run" / "journal.jsonl").read_bytes()
        assert first == study.run(tmp_path / "run", watch=quiet).to_json()
        assert journal == (tmp_path / "run" / "journal.jsonl").read_bytes()
        assert first == analyse(tmp_path / "run").to_json()
