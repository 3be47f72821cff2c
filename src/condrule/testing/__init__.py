"""Suites that prove a plugin: subclass one in a test module, give its fixture, run pytest.

    from condrule.testing import BackendSuite

    class TestMyBackend(BackendSuite):
        @pytest.fixture
        def backend(self, tmp_path):
            return MyBackend().at(tmp_path)

condrule's own backends, scorers and templates are proved by the same suites. Each test says in its
docstring what must hold; one that is about something a backend doesn't offer is skipped, with the
reason.
"""

from __future__ import annotations

from condrule.errors import MissingExtraError

try:
    import hypothesis
    import pytest
except ImportError as error:
    raise MissingExtraError(
        str(error.name), "testing", "proving a plugin with condrule.testing"
    ) from error

# So that a failed assertion of a suite shows its values, as one of the reader's own would.
pytest.register_assert_rewrite(
    "condrule.testing.backends", "condrule.testing.scorers", "condrule.testing.templates"
)

from condrule.testing.backends import BackendSuite  # noqa: E402 - after the line above
from condrule.testing.scorers import ScorerSuite  # noqa: E402
from condrule.testing.templates import TemplateSuite  # noqa: E402

__all__ = ["BackendSuite", "ScorerSuite", "TemplateSuite"]

del hypothesis
