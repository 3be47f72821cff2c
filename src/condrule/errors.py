"""Every error condrule raises on purpose.

::

    CondruleError
    ├── ConfigError(ValueError)            a study file or an argument is wrong
    ├── ItemError(ValueError)              items can't be read or used
    ├── TemplateError(ValueError)          a prompt template can't be rendered
    ├── UnreadableError(ValueError)        a model has no token for some words
    ├── UnsupportedError(ValueError)       the backend can't do what the study asks
    ├── MissingExtraError(ImportError)     an optional dependency is not installed
    ├── PluginError(ImportError)           a backend, scorer or template can't be had
    ├── RunError(RuntimeError)             a run directory can't be used
    │   ├── RunLockedError                 another process is writing to it
    │   ├── StudyChangedError              it holds another study
    │   └── JournalError                   its journal is damaged
    ├── CredentialsError(ValueError)       there is no key, or the provider refuses it
    └── BackendError(RuntimeError)         the provider or machine failed; resume
        ├── TrainingError                  a fine-tune ended without a model
        ├── UnreachableError               the provider did not answer; asking again may help
        ├── NotSubmittedError              a submission was not accepted: there is no job
        ├── LostAnswerError                a submission got no answer: there may be a job
        ├── UnsettledJobError              whether there is a job, a person must say
        └── BudgetError                    more would be spent than may be

Bad input inherits ``ValueError``; what may succeed when tried again inherits ``RuntimeError``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

import attrs

__all__ = [
    "BackendError",
    "BudgetError",
    "CondruleError",
    "ConfigError",
    "CredentialsError",
    "ItemError",
    "JournalError",
    "LostAnswerError",
    "MissingExtraError",
    "NotSubmittedError",
    "PluginError",
    "Problem",
    "RunError",
    "RunLockedError",
    "StudyChangedError",
    "TemplateError",
    "TrainingError",
    "UnreachableError",
    "UnreadableError",
    "UnsettledJobError",
    "UnsupportedError",
    "did_you_mean",
]


def did_you_mean(found: object, allowed: Iterable[object]) -> str:
    """A sentence that names the allowed word closest to what was found, or nothing."""
    close = difflib.get_close_matches(str(found), [str(word) for word in allowed], n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


class CondruleError(Exception):
    """The root of the tree: catches all that condrule raises on purpose."""


@attrs.frozen
class Problem:
    """One thing that is wrong in a study file."""

    path: str
    """Where: the keys from the top, such as ``finetune.epochs``; empty for the whole file."""
    message: str
    """What was found, what is allowed and what to do."""
    line: int | None = None
    """Line in the file, counted from 1; None where it has no line of its own."""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        return f"{place}{self.path + ': ' if self.path else ''}{self.message}"


def _masked(problem: Problem) -> Problem:
    """A problem without what looks like a key: it may stand in a wrong place of a study file."""
    path, message = (
        re.sub(r"\bsk-[\w-]{6,}", "sk-…", text) for text in (problem.path, problem.message)
    )
    return Problem(path, message, problem.line)


class ConfigError(CondruleError, ValueError):
    """A study file or an argument is wrong. ``problems`` holds all that was found."""

    def __init__(self, problems: Sequence[Problem], source: str = "") -> None:
        self.problems = tuple(_masked(problem) for problem in problems)
        self.source = source
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        head = f"{source}: {count}" if source else count
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))


class ItemError(CondruleError, ValueError):
    """Items can't be read or used. The message names the file, the line and the key."""


class TemplateError(CondruleError, ValueError):
    """A prompt template can't be rendered: an unknown placeholder, or a mode it says nothing of."""


class UnreadableError(CondruleError, ValueError):
    """A model has no token for some words. ``words`` maps each to the places that use it."""

    def __init__(self, words: dict[str, tuple[str, ...]], model: str) -> None:
        self.words = words
        self.model = model
        lines = [f"  {word!r} in {', '.join(places[:3])}" for word, places in words.items()]
        super().__init__(
            f"model {model!r} can't read {len(words)} of the words in this study; it would see an "
            "unknown token in their place:\n"
            + "\n".join(lines)
            + "\nUse other items or wording, or a model with a larger vocabulary."
        )


class UnsupportedError(CondruleError, ValueError):
    """The backend can't do what the study asks. ``reasons`` holds one sentence for each."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("\n".join(self.reasons))


class MissingExtraError(CondruleError, ImportError):
    """An optional dependency is not installed. ``extra`` names what to install, and
    ``distribution`` whose extra it is."""

    def __init__(
        self, package: str, extra: str, purpose: str, distribution: str = "condrule"
    ) -> None:
        self.package, self.extra, self.distribution = package, extra, distribution
        super().__init__(
            f"{purpose} needs {package}, which is not installed. "
            f"Install it with: pip install '{distribution}[{extra}]'"
        )


class PluginError(CondruleError, ImportError):
    """A backend, scorer or template that is named can't be had."""

    def __init__(self, group: str, kind: str, package: str, reason: str) -> None:
        source = f" of {package}" if package else ""
        super().__init__(f"{group.removesuffix('s')} {kind!r}{source}: {reason}")
        self.group, self.kind, self.package, self.reason = group, kind, package, reason


class RunError(CondruleError, RuntimeError):
    """A run directory can't be used as it is. The message names the directory and the remedy."""


class RunLockedError(RunError):
    """Another process is writing to the run directory. ``holder`` says which."""

    def __init__(self, directory: str, holder: str) -> None:
        self.directory = directory
        self.holder = holder
        super().__init__(
            f"{directory} is being written by {holder}. Wait until it ends or stop it; "
            "then the same command goes on where it was."
        )


class StudyChangedError(RunError):
    """The run directory holds another study. ``diff`` shows the recorded one against the new."""

    def __init__(self, directory: str, diff: str) -> None:
        self.directory = directory
        self.diff = diff
        super().__init__(
            f"{directory} holds a study that differs from this one:\n{diff}\n"
            "Use another directory, or change the study back. A run keeps the study it began with."
        )


class JournalError(RunError):
    """The journal is damaged. ``path`` and ``line`` say where, and ``lost`` what its whole lines
    lack of the study, where that is known."""

    def __init__(self, path: str, line: int, reason: str, lost: Sequence[str] = ()) -> None:
        self.path = path
        self.line = line
        self.reason = reason
        self.lost = tuple(lost)
        lines = ["The whole lines lack:", *(f"  {one}" for one in self.lost)] if lost else []
        super().__init__("\n".join([f"{path}, line {line}: {reason}", *lines]))


class BackendError(CondruleError, RuntimeError):
    """The provider or the machine failed. Nothing finished is lost: the same command resumes."""


class TrainingError(BackendError):
    """A fine-tune ended without a model. ``key`` names the job and ``reason`` says why."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        self.reason = reason
        super().__init__(f"fine-tune {key} ended without a model: {reason}")


class CredentialsError(CondruleError, ValueError):
    """There is no key, or the provider refuses it. The message names where keys are looked for."""


class UnreachableError(BackendError):
    """The provider did not answer, or is too busy. Asking again, later, may help."""


class NotSubmittedError(BackendError):
    """A submission was not accepted: there is no job, and the message says why."""


class LostAnswerError(BackendError):
    """A submission got no answer. Whether there is a job is not known."""


class UnsettledJobError(BackendError):
    """A submission got no answer and its job is not found. ``key`` names it, and ``word`` this
    submission of it.

    A second submission might be a second paid job, so a person says whether there is one.
    """

    def __init__(self, key: str, word: str, seconds: float) -> None:
        self.key = key
        self.word = word
        super().__init__(
            f"fine-tune {key} was about to be submitted when the process or the connection died, "
            f"and no job of this key was found in {seconds:g} s of looking. Look for the key in "
            "the provider's own list of jobs. If it is there, wait, and the same command finds "
            f"it, or name it: condrule adopt DIR --job ID. If it is not: --resubmit {word}"
        )


class BudgetError(BackendError):
    """More would be spent than may be, or might be. Nothing more was sent, and all that came is
    kept: a larger budget goes on. Amounts are in USD.
    """

    def __init__(self, budget: float, needed: float, what: str) -> None:
        self.budget = budget
        self.needed = needed
        super().__init__(
            f"the budget is {budget:.6g} USD, and {what}. Everything so far is kept; the same "
            "command with a larger budget goes on"
        )
