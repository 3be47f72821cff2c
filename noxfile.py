"""What is run on this repository: ``nox --list`` shows it, ``nox -s NAME`` runs one.

Everything is installed with pip, in the versions of constraints.txt, and the package is tested as
it is installed: from its wheel, not from the source tree.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_external_run = True
nox.options.sessions = ["lint", "typing", "docs", "tests"]
nox.options.reuse_existing_virtualenvs = True

STRAY = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "PYTHONPATH", "PYTHONWARNINGS")
QUIET = {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg", "TOKENIZERS_PARALLELISM": "false"}

PARALLEL = ("--numprocesses", "auto", "--dist", "loadfile")
"""One process for each core; a process that has nothing left to do takes tests of another."""


def install(session: nox.Session, *packages: str, versions: str = "constraints.txt") -> None:
    """Install the package with extras, and other packages, in tested versions."""
    session.env.update(dict.fromkeys(STRAY), **QUIET)
    session.env["PIP_CONSTRAINT"] = str(Path(versions).resolve())
    session.env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    session.install(*packages)


@nox.session
def bet(session: nox.Session) -> None:
    """Fine-tune small language models on the bet; print the table and the verdict."""
    install(session, ".[local,plot]")
    session.run("python", "examples/kaarel_bet.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Every test, and every example in the documentation, against the installed package."""
    install(session, ".[all,test]")
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session
def kill(session: nox.Session) -> None:
    """A study killed with SIGKILL at every write of its journal, and resumed."""
    install(session, ".[all,test]")
    session.run("pytest", "tests/test_resume.py", "-k", "kill", "--durations=0", *session.posargs)


@nox.session
def crashes(session: nox.Session) -> None:
    """Studies at the rehearsal server, killed with SIGKILL at random moments and resumed."""
    install(session, ".[all,test]")
    session.run("pytest", "-m", "crashes", "--durations=0", *session.posargs)


@nox.session
def vendor(session: nox.Session) -> None:
    """A few requests to the real provider, which cost money: with a key and a budget only."""
    install(session, ".[all,test]")
    for name in STRAY:
        session.env.pop(name, None)  # the key is what it is about
    session.run("pytest", "-m", "vendor", "tests/openai_api/test_vendor.py", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Ten thousand cases each of study files, item files, journals and provider answers."""
    install(session, ".[all,test]")
    options = ("-m", "fuzz", "--hypothesis-profile", "fuzz", "--durations=0")
    session.run("pytest", *options, *session.posargs)


@nox.session(python="3.11")
def floors(session: nox.Session) -> None:
    """The lowest versions of the dependencies, without torch."""
    install(session, ".[openai,pandas,plot,test]", versions="constraints-floors.txt")
    # Old versions warn of what newer ones have changed since.
    places = session.posargs or ("tests", "docs/how-to")
    session.run("pytest", "-W", "default", "--disable-warnings", *PARALLEL, *places)


@nox.session
def coverage(session: nox.Session) -> None:
    """Branch coverage of the tests and of the processes that they start."""
    install(session, ".[all,test]", "coverage")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *PARALLEL, *session.posargs)
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, on everything: its rules, and its format."""
    install(session, "ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def typing(session: nox.Session) -> None:
    """mypy --strict on the package, and on typical user code."""
    install(session, ".[all,testing]", "mypy", "pandas-stubs", "types-tqdm")
    session.run("mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site: every warning and every unknown reference is an error."""
    install(session, ".[docs]")
    target = Path("docs/_build/html")
    session.run("sphinx-build", "-W", "-n", "-E", "--keep-going", "docs", str(target))


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel and check what is in it."""
    install(session, "build")
    session.run("python", "-m", "build", "--wheel", "--outdir", "dist")
    wheel = max(Path("dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    with zipfile.ZipFile(wheel) as archive:
        _check_wheel(session, set(archive.namelist()))


def _check_wheel(session: nox.Session, found: set[str]) -> None:
    tracked = session.run("git", "ls-files", "src", external=True, silent=True)
    wanted = {name.removeprefix("src/") for name in str(tracked).split()}
    if missing := sorted(wanted - found):
        session.error(f"not in the wheel: {', '.join(missing)}")
    session.log("the wheel has all %d files of the package", len(wanted))


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Import time, scoring and fine-tuning against others, as ratios measured in one run."""
    install(session, ".[local]", *_requirements("benchmarks"))
    for script in sorted(Path("benchmarks").glob("bench_*.py")):
        session.run("python", str(script), *session.posargs)


@nox.session
def loopback(session: nox.Session) -> None:
    """Asking over the API: condrule, the SDK, aiohttp and llmcomp, of one local server."""
    install(session, ".[testing]")
    session.run("python", "benchmarks/openai_loopback.py", *session.posargs)


@nox.session
def intervals(session: nox.Session) -> None:
    """Coverage of intervals and rates of false verdicts, over simulated studies: minutes."""
    install(session, ".")
    session.run("python", "simulations/intervals.py", *session.posargs)


@nox.session
def tilted(session: nox.Session) -> None:
    """Coverage, width and cost of tilted sampling, over simulated items: seconds."""
    install(session, ".[plot]")
    session.run("python", "simulations/tilted.py", *session.posargs)


@nox.session(name="tilted-oracle")
def tilted_oracle(session: nox.Session) -> None:
    """Tilted sampling end to end, against the oracle and over a socket: a quarter of an hour."""
    install(session, ".[testing]")
    session.run("python", "simulations/tilted_oracle.py", *session.posargs)


@nox.session(name="tilted-bet")
def tilted_bet(session: nox.Session) -> None:
    """The bet decided by tilted sampling, in studies whose truth is known: half an hour."""
    install(session, ".[testing]")
    session.run("python", "simulations/tilted_bet.py", *session.posargs)


@nox.session
def mutation(session: nox.Session) -> None:
    """How many small changes to the code that computes and judges make a test fail: 20 minutes."""
    install(session, ".[test]", "mutmut")
    shutil.rmtree("mutants", ignore_errors=True)
    session.run("mutmut", "run", "--max-children", "1", *session.posargs)
    found = str(session.run("mutmut", "results", "--all", "true", silent=True))
    outcomes: dict[str, Counter[str]] = {}
    for module, outcome in re.findall(r"condrule\.(\w+)\.\S+: (.+)", found):
        outcomes.setdefault(module, Counter())[outcome] += 1
    # A mutant that never ends is noticed too; it is counted on its own all the same.
    shares = {name: _killed(session, name, counts) for name, counts in sorted(outcomes.items())}
    if few := [name for name, share in shares.items() if share < 0.85]:
        session.error(f"fewer than 85 % of the mutants are killed in {', '.join(few)}")


def _killed(session: nox.Session, module: str, outcomes: Counter[str]) -> float:
    share = (outcomes["killed"] + outcomes["timeout"]) / outcomes.total()
    parts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    session.log("%s: %.1f %% of %d: %s", module, 100 * share, outcomes.total(), parts)
    return share


@nox.session
def pretrain(session: nox.Session) -> None:
    """Make a base model from scratch: ``nox -s pretrain -- --seed 0 --out DIR``."""
    install(session, ".[local]")
    session.run("python", "recipes/small/pretrain.py", *session.posargs)


def _requirements(folder: str) -> tuple[str, ...]:
    path = Path(folder) / "requirements.txt"
    return ("-r", str(path)) if path.exists() else ()
