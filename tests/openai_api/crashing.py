"""Kill a study on the rehearsal server with SIGKILL, resume it, and tell what happened.

Run as a script, with the server in a process of its own: it forks, which only a process with a
single thread may do safely. Prints one JSON object a line, for each kill.

    python crashing.py FOLDER URL points       at each of a closed list of points
    python crashing.py FOLDER URL random N     at N random moments
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

import condrule
from condrule.backends.openai import OpenAIBackend, connection, jobs
from condrule.backends.openai.connection import Connection
from condrule.encodings import get_encoding
from condrule.errors import UnsettledJobError
from condrule.journal import Journal
from condrule.progress import quiet
from condrule.responses import Responses
from condrule.rundir import RunDirectory

MODEL = "gpt-4o-mini-2024-07-18"
PARTS = ("cells", "ratios", "specificity", "differences")
SETTLE = 0.25  # seconds; listings at the server are never late here
TRIES = 12

# Where a study can be killed: something it does, which time, and before or after it is done.
POINTS = [
    (what, number, moment)
    for number, done in (
        (1, ("upload", "intent", "create", "job", "keep", "answers")),
        (2, ("create", "poll", "ask", "result")),
    )
    for what in done
    for moment in ("before", "after")
]


def study(url: str) -> condrule.ConditionalRuleExperiment:
    """One arm and two seeds: two jobs, and few questions. From lists alone: its numbers don't
    depend on chance."""
    backend = OpenAIBackend(
        MODEL, base_url=url, poll_seconds=0.01, settle_seconds=SETTLE, timeout=10.0
    )
    return condrule.ConditionalRuleExperiment(
        items=condrule.favourite_countries(n=10, seed=3),
        arms=[condrule.conditional_arm()],
        backend=backend,
        scorer=condrule.AutoScorer(methods=["exact", "top_logprobs"]),
        spec=condrule.FinetuneSpec(epochs=8, learning_rate="auto"),
        seeds=2,
        samples=0,
    )


@attrs.define
class Killer:
    """Kills this process at one point: before something is done, or after, even if it failed."""

    point: tuple[str, int, str]
    counts: Counter[str] = attrs.field(factory=Counter)

    def around(self, what: str, do: Callable[[], Any]) -> Any:
        """Do something that may be the point."""
        number = self._begin(what)
        try:
            return do()
        finally:
            self._now(what, number, "after")

    async def around_async(self, what: str, do: Callable[[], Any]) -> Any:
        """The same for what is awaited."""
        number = self._begin(what)
        try:
            return await do()
        finally:
            self._now(what, number, "after")

    def _begin(self, what: str) -> int:
        self.counts[what] += 1
        self._now(what, self.counts[what], "before")
        return self.counts[what]

    def _now(self, what: str, number: int, moment: str) -> None:
        if self.point == (what, number, moment):
            os.kill(os.getpid(), signal.SIGKILL)


def watch(killer: Killer) -> None:
    """Let all that a study does to the world go through the killer. In a forked process only."""

    def wrap(owner: type, name: str, word: str) -> None:
        inner = getattr(owner, name)
        setattr(owner, name, lambda *a, **k: killer.around(word, lambda: inner(*a, **k)))

    wrap(Journal, "intent", "intent")
    wrap(Journal, "job", "job")
    wrap(Journal, "answers", "answers")
    wrap(Responses, "_append", "keep")
    wrap(RunDirectory, "write_result", "result")
    upload, sent = Connection.upload, Connection._sent

    async def uploading(self: Connection, *a: Any) -> Any:
        return await killer.around_async("upload", lambda: upload(self, *a))

    async def sending(self: Connection, method: str, path: str, **k: Any) -> Any:
        words = {"/fine_tuning/jobs": "create", "/chat/completions": "ask"}
        polled = method == "get" and path.startswith("/fine_tuning/jobs/")
        word = "poll" if polled else words.get(path, "") if method == "post" else ""
        return await killer.around_async(word, lambda: sent(self, method, path, **k))

    Connection.upload, Connection._sent = uploading, sending  # type: ignore[method-assign]


def in_a_process(do: Callable[[], None], delay: float | None = None) -> int:
    """Do something in a forked process; kill it after so many seconds. Its exit status."""
    child = os.fork()
    if child == 0:
        try:
            do()
        except BaseException as error:  # noqa: BLE001 - told, and the process ends
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(3)
        os._exit(0)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def run(folder: Path, url: str, resubmit: list[str]) -> None:
    """Carry the study out; leave the result, or the key of a job that may or may not exist."""
    connection.FIRST_DELAY = 0.01
    asked = folder / "unsettled"
    asked.unlink(missing_ok=True)
    try:
        result = study(url).run(folder / "run", watch=quiet, resubmit=resubmit)
    except UnsettledJobError as error:
        asked.write_text(error.key)
        return
    found = result.to_dict()
    (folder / "numbers.tmp").write_text(json.dumps([found[part] for part in PARTS]))
    (folder / "numbers.tmp").replace(folder / "numbers.json")


def look(folder: Path, url: str) -> None:
    """Leave how many jobs each key of this run has: what a person sees in the provider's list."""
    import openai

    run_id = RunDirectory(folder / "run").run_id
    keys: list[str] | None = None
    while keys is None:
        with openai.OpenAI(base_url=url, max_retries=20) as client, suppress(ValueError):
            # The SDK takes no second look at an answer that is no JSON.
            keys = [job.metadata[jobs.KEY] for job in client.fine_tuning.jobs.list(limit=100)]
    own = Counter(key for key in keys if key.startswith(run_id))
    (folder / "jobs").write_text(json.dumps(own))


def resumed(folder: Path, url: str) -> dict[str, Any]:
    """Resume until there is a result, as a person who looks at the provider's list when asked."""
    resubmit: list[str] = []
    asked = 0
    for _ in range(TRIES):
        if (folder / "numbers.json").exists():
            break
        in_a_process(lambda: run(folder, url, resubmit))
        if (folder / "unsettled").exists():
            asked += 1
            key = (folder / "unsettled").read_text()
            if key not in _own(folder, url):
                resubmit.append(key)
    numbers = (folder / "numbers.json").read_bytes()
    own = _own(folder, url)
    return {
        "numbers": hashlib.sha256(numbers).hexdigest()[:8],
        "jobs": len(own),
        "most": max(own.values(), default=0),
        "asked": asked,
    }


def _own(folder: Path, url: str) -> dict[str, int]:
    """How many jobs each key of this run has. Looked up in another process: see above."""
    in_a_process(lambda: look(folder, url))
    found: dict[str, int] = json.loads((folder / "jobs").read_text())
    return found


def kills(folder: Path, url: str, words: list[str]) -> Iterator[dict[str, Any]]:
    """What happened at each kill, an undisturbed run first."""
    started = time.monotonic()
    yield {"where": "nowhere", **one(folder / "undisturbed", url, None, None)}
    seconds = time.monotonic() - started
    if words[0] == "points":
        for number, point in enumerate(POINTS):
            where = " ".join(map(str, point))
            yield {"where": where, **one(folder / f"{number}", url, point, None)}
        return
    generator = random.Random(0)
    for number in range(int(words[1])):
        delays = [generator.uniform(0, seconds) for _ in range(generator.randint(1, 3))]
        where = ", ".join(f"{delay:.3f} s" for delay in delays)
        yield {"where": where, **one(folder / f"{number}", url, None, delays)}


def one(
    folder: Path, url: str, point: tuple[str, int, str] | None, delays: list[float] | None
) -> dict[str, Any]:
    """One run, killed at a point or after some times, and resumed."""
    folder.mkdir(parents=True)
    killed = False
    if point:
        killed = in_a_process(lambda: (watch(Killer(point)), run(folder, url, []))) == 9  # type: ignore[func-returns-value]
    for delay in delays or ():
        killed |= in_a_process(lambda: run(folder, url, []), delay) == 9
    return {"killed": killed, **resumed(folder, url)}


def prepare() -> None:
    """Import what every forked process needs, once."""
    for name in ("openai", "httpx2", "scipy.special", "ruamel.yaml"):
        importlib.import_module(name)
    get_encoding("o200k_base")
    sys.modules["matplotlib.figure"] = None  # type: ignore[assignment]  # figures take time
    condrule.ConditionalRuleExperiment(
        items=condrule.favourite_countries(n=2),
        arms=[condrule.conditional_arm()],
        backend=condrule.InMemoryBackend(),
        seeds=1,
    ).plan()


if __name__ == "__main__":
    prepare()
    for kill in kills(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]):
        print(json.dumps(kill), flush=True)
