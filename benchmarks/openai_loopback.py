"""2,000 lists of 20 top logprobs over the API, from a rehearsal server that takes 100 ms to answer.

condrule end to end (asked, checked, kept, journalled in a run directory) beside a bare AsyncOpenAI
loop, a bare aiohttp client, and llmcomp at its defaults, which is installed into an environment of
its own. Each asks the same prompts in a process of its own, in turn, of the same server. Wall and
CPU are from the first request to the last answer, imports aside; memory is the process's peak.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KEY = "sk-rehearsal-0123456789abcdef"
MODEL = "gpt-4o-mini-2024-07-18"
LATENCY = 0.1  # seconds
IN_FLIGHT = 100  # of the bare clients, and of llmcomp by default
LLMCOMP = "llmcomp==1.6.0"
FAULTS = {
    "rate_limit": 0.02,
    "rate_limit_silent": 0.03,
    "error_500": 0.03,
    "error_502": 0.02,
    "error_503": 0.03,
    "lost_before": 0.02,
    "lost_after": 0.02,
    "truncated": 0.02,
    "malformed": 0.01,
}
RETRY_AFTER = 0.1  # seconds that a rate_limit asks for: all pause, so the server sets the speed


def texts(count: int) -> list[str]:
    """The prompts."""
    return [f"Which country does person number {number} like best?" for number in range(count)]


def serve(count: int, shares: dict[str, float]) -> None:
    """Be the server until the process is ended."""
    from condrule.testing.server import RehearsalServer, ServerFaults

    faults = ServerFaults(latency=LATENCY, shares=shares, retry_after=RETRY_AFTER)
    server = RehearsalServer(prompts=prompts(count), faults=faults, key=KEY)
    with server.running() as running:
        print(running.base_url, flush=True)
        sys.stdin.read()


def prompts(count: int) -> tuple[Any, ...]:
    """The prompts as condrule has them: each of an item of its own."""
    import condrule

    made = []
    for number, text in enumerate(texts(count)):
        answers = {"TEST": f"Land{number % 50}", "TRAIN": f"City{number % 50}"}
        item = condrule.Item(f"person {number}", answers)
        made.append(condrule.Prompt((condrule.Message("user", text),), item, "TEST"))
    return tuple(made)


Asking = Callable[[], Sequence[Any]]
"""Asks, and returns the answers."""


def condrule_asking(url: str, count: int) -> Asking:
    """What a user gets: asked by the driver, checked, kept and journalled."""
    import openai  # noqa: F401 - imports are not counted

    import condrule
    from condrule.backends.checked import CheckedBackend
    from condrule.backends.openai import OpenAIBackend
    from condrule.driver import Driver
    from condrule.journal import Journal
    from condrule.plan import StudyPlan
    from condrule.rundir import RunDirectory
    from condrule.scorers import TopLogprobsScorer

    run = RunDirectory(Path(tempfile.mkdtemp()))
    backend = CheckedBackend(OpenAIBackend(MODEL, base_url=url)).at(run.models)
    gate = condrule.Gate("asked", "base", 0.5, modes=("TEST",))
    clause = condrule.Clause("probability", "none", "TEST", "TEST", ">", 0.5)
    made = prompts(count)
    plan = StudyPlan(
        name="loopback",
        items=condrule.ItemSet([prompt.item for prompt in made]),
        trained={},
        seeds=(0,),
        bases={0: MODEL},
        jobs=(),
        probes=tuple(condrule.Probe(gate.group, prompt) for prompt in made),
        pool=(),
        compared=0,
        scorer=TopLogprobsScorer(),
        criterion=condrule.Criterion("none", [clause], [gate]),
    )

    def ask() -> Sequence[Any]:
        with Journal(run.journal, "loopback") as journal:
            Driver(plan, backend, run, journal).test()
            seen = journal.history.seen[MODEL]
        return [seen[id].top for id in sorted(seen)]

    return ask


def sdk_asking(url: str, count: int) -> Asking:
    """A loop over AsyncOpenAI under a semaphore, as people write it."""
    import openai

    async def ask() -> list[Any]:
        room = asyncio.Semaphore(IN_FLIGHT)
        async with openai.AsyncOpenAI(api_key=KEY, base_url=url) as client:

            async def one(text: str) -> Any:
                async with room:
                    reply = await client.chat.completions.create(**asked(text))
                    return reply.choices[0].logprobs.content[0].top_logprobs

            return await asyncio.gather(*map(one, texts(count)))

    return lambda: asyncio.run(ask())


def aiohttp_asking(url: str, count: int) -> Asking:
    """aiohttp alone: no retries, no error types, nothing checked."""
    import aiohttp

    async def ask() -> list[Any]:
        room = asyncio.Semaphore(IN_FLIGHT)
        headers = {"Authorization": f"Bearer {KEY}"}
        async with aiohttp.ClientSession(headers=headers) as session:

            async def one(text: str) -> Any:
                place = f"{url}/chat/completions"
                async with room, session.post(place, json=asked(text)) as reply:
                    body = json.loads(await reply.read())
                    return body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]

            return await asyncio.gather(*map(one, texts(count)))

    return lambda: asyncio.run(ask())


def asked(text: str) -> dict[str, Any]:
    """The request, as all of them put it."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 1,
        "temperature": 1.0,
        "logprobs": True,
        "top_logprobs": 20,
    }


def llmcomp_asking(url: str, count: int) -> Asking:
    """llmcomp at its defaults: a question whose paraphrases are the prompts."""
    import llmcomp

    llmcomp.Config.url_key_pairs = [(url, KEY, "OPENAI_API_KEY")]
    question = llmcomp.Question.create(type="next_token", name="loopback", paraphrases=texts(count))

    def ask() -> Sequence[Any]:
        table = question.df({"base": [MODEL]})
        return [probs for probs in table["answer"] if probs]

    return ask


WAYS = {
    "condrule": condrule_asking,
    "AsyncOpenAI": sdk_asking,
    "aiohttp": aiohttp_asking,
    "llmcomp": llmcomp_asking,
}


def measure(name: str, url: str, count: int) -> None:
    """Ask in one way; print what it took and a digest of the answers as JSON."""
    os.environ["OPENAI_API_KEY"] = KEY
    ask = WAYS[name](url, count)
    begun, used = time.perf_counter(), time.process_time()
    answers = ask()
    wall, cpu = time.perf_counter() - begun, time.process_time() - used
    if len(answers) != count or not all(answers):
        raise SystemExit(f"{name}: {len(answers)} answers to {count} prompts, or empty ones")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # in KiB on Linux
    digest = hashlib.sha256(repr(answers).encode()).hexdigest()
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak, "digest": digest}))


@contextmanager
def serving(count: int, shares: dict[str, float]) -> Iterator[str]:
    """A server in a process of its own; its address."""
    command = [sys.executable, __file__, "--serve", json.dumps(shares), "--probes", str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        assert one.stdin is not None
        yield one.stdout.readline().strip()
        one.stdin.close()


def measured(python: str, name: str, url: str, count: int) -> dict[str, Any]:
    """What a way takes, in a process of its own."""
    command = [python, str(Path(__file__).resolve())]
    command += ["--ask", name, "--url", url, "--probes", str(count)]
    with tempfile.TemporaryDirectory() as place:
        found = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(found.stdout.splitlines()[-1]))


def llmcomp_python(folder: Path) -> str | None:
    """Python of an environment with llmcomp, made where there is none; None where it can't be."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", LLMCOMP]
    free = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    made = subprocess.run(command, env=free, stderr=subprocess.PIPE, text=True, check=False)
    if made.returncode == 0:
        return str(python)
    print(f"llmcomp is left out: it can't be installed ({made.stderr.strip()[-200:]})")
    return None


def main() -> None:
    """Print wall, CPU per probe and memory of each way, and their ratios to condrule's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--llmcomp-env", type=Path, default=Path(".llmcomp-env"))
    parser.add_argument("--without-llmcomp", action="store_true")
    for hidden in ("--serve", "--ask", "--url"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.probes, json.loads(options.serve))
    elif options.ask:
        measure(options.ask, options.url, options.probes)
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Each way in turn, round by round."""
    pythons: dict[str, str | None] = dict.fromkeys(WAYS, sys.executable)
    no = options.without_llmcomp
    pythons["llmcomp"] = None if no else llmcomp_python(options.llmcomp_env.resolve())
    count, rounds = options.probes, range(options.rounds)
    taken: dict[str, list[dict[str, Any]]] = {}
    few, faulty = [], []
    with serving(count, {}) as url, serving(count, FAULTS) as rough:
        for _ in rounds:  # in turn, so that a drift of the machine's speed hits all alike
            for name, python in pythons.items():
                if python:
                    taken.setdefault(name, []).append(measured(python, name, url, count))
                if name == "condrule":
                    few.append(measured(sys.executable, name, url, count // 4))
                    faulty.append(measured(sys.executable, name, rough, count))
    show(taken, count, options.rounds)
    ours = median(taken["condrule"])
    print(
        f"peak memory at a quarter of the probes: {median(few)['peak'] / ours['peak']:.2f} of that "
        f"at {count}"
    )
    same = {one["digest"] for one in (*faulty, *taken["condrule"])}
    print(
        f"with {sum(FAULTS.values()):.0%} of the requests hit by faults: "
        f"{median(faulty)['wall'] / ours['wall']:.2f} times the wall, "
        f"{'the same answers' if len(same) == 1 else 'OTHER ANSWERS'}"
    )


def median(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of each figure."""
    return {key: statistics.median(one[key] for one in rounds) for key in ("wall", "cpu", "peak")}


def show(taken: dict[str, list[dict[str, Any]]], count: int, rounds: int) -> None:
    """The table."""
    ideal = count * LATENCY / IN_FLIGHT
    print(
        f"{count} probes, {1000 * LATENCY:.0f} ms each; medians of {rounds}. "
        f"Ideal with {IN_FLIGHT} in flight: {ideal:.1f} s"
    )
    ours = median(taken["condrule"])
    for name, found in taken.items():
        one = median(found)
        print(
            f"{name:<12} {one['wall']:6.2f} s {one['wall'] / ideal:5.2f} x ideal   "
            f"{1000 * one['cpu'] / count:5.2f} ms of CPU a probe   {one['peak']:4.0f} MiB   "
            f"condrule / it: wall {ours['wall'] / one['wall']:.2f}, "
            f"CPU {ours['cpu'] / one['cpu']:.2f}, memory {ours['peak'] / one['peak']:.2f}"
        )


if __name__ == "__main__":
    main()
