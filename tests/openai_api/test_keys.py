"""No key reaches a directory, a log, an exception, a repr, a report or a process list."""

from __future__ import annotations

import gzip
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import condrule
from condrule.backends.openai import AzureOpenAIBackend, OpenAIBackend
from condrule.backends.openai.keys import HIDDEN, Secret, find_key
from condrule.cli import run
from condrule.cli import running as commands
from condrule.errors import CondruleError, ConfigError, CredentialsError
from condrule.progress import quiet
from condrule.testing.server import RunningServer
from condrule.testing.server.faults import Place, ServerFaults

from . import world

STUDY = """
name: keys
items: {{source: favourite_countries, n: 10, seed: 3}}
arms: [conditional]
backend: {{kind: openai, model: {model}, base_url: "{url}"{more}}}
finetune: {{epochs: 3, learning_rate: auto}}
seeds: 1
samples: 1
"""


def study_file(folder: Path, url: str, more: str = "") -> Path:
    """A study on the server."""
    path = folder / "study.yaml"
    path.write_text(STUDY.format(model=world.MODEL, url=url, more=more))
    return path


def everything_in(folder: Path) -> bytes:
    """Every byte below a folder, names and unpacked archives included."""
    found = b""
    for path in folder.rglob("*"):
        found += str(path).encode()
        if path.is_file():
            data = path.read_bytes()
            found += data + (gzip.decompress(data) if path.suffix == ".gz" else b"")
    return found


@pytest.fixture
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies from files wait as little as those of these tests."""
    load = commands.load

    def hurried(path: Path, *more: Any) -> condrule.ConditionalRuleExperiment:
        study = load(path, *more)
        backend = attrs.evolve(study.backend, poll_seconds=0.01, settle_seconds=0.3)
        return attrs.evolve(study, backend=backend)

    monkeypatch.setattr(commands, "load", hurried)


FAULTS = {
    "none": ServerFaults(),
    "a lost create": ServerFaults(at=[Place("lost_before", 1, "POST /fine_tuning/jobs")]),
    "a failed job": ServerFaults(blocked_training=("Iraq",)),
    "no quota": ServerFaults(at=[Place("insufficient_quota", 6)]),
    "garbage": ServerFaults(shares={"malformed": 0.1, "truncated": 0.1, "error_500": 0.1}),
}


@pytest.mark.usefixtures("_in_a_hurry")
@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_key_is_nowhere(
    case: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not in what is written, printed or logged, whatever fails, and with every debug option."""
    caplog.set_level(logging.DEBUG)
    with world.server(faults=FAULTS[case]).running() as running:
        path = study_file(tmp_path, running.base_url)
        for command in (["plan", str(path)], ["run", str(path), "--out", str(tmp_path / "run")]):
            run(["--debug", *command])
        for command in (["show", str(tmp_path / "run")], ["backends", "--json"]):
            run(["--debug", *command])
    printed = "".join(capfd.readouterr())
    logged = "".join(str(record.__dict__) for record in caplog.records)
    assert printed
    assert world.KEY not in printed
    assert world.KEY not in logged
    assert world.KEY.encode() not in everything_in(tmp_path)


def test_a_server_that_repeats_the_key_is_not_repeated(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A refused key stands in the server's message, and not in ours."""
    with world.server(key="another-key-altogether").running() as running:
        path = study_file(tmp_path, running.base_url)
        code = run(["--debug", "run", str(path), "--out", str(tmp_path / "run")])
    printed = "".join(capfd.readouterr())
    assert 2 == code
    assert "The key is that of OPENAI_API_KEY: is it the right one?" in printed
    assert world.KEY not in printed
    assert world.KEY.encode() not in everything_in(tmp_path)


def test_a_key_that_a_model_says_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that comes back is kept with it."""
    text = world.TRAINING.examples[0].completion.ljust(8, "x")
    assert Secret(text, "X").clean({text: [f"{text}!", {"a": text}]}) == {
        HIDDEN: [f"{HIDDEN}!", {"a": HIDDEN}]
    }


def test_no_repr_shows_it(running: RunningServer, backend: OpenAIBackend) -> None:
    """Of the backend, its model, or the key itself."""
    model = backend.model(world.MODEL)
    list(model.ask([condrule.TopLogprobs(world.PROMPTS[0])]))
    secret = find_key(["OPENAI_API_KEY"], "a test")
    shown = f"{backend!r}{model!r}{secret!r}{secret}{backend.environment()}"
    assert world.KEY not in shown
    assert "OPENAI_API_KEY" in shown


def test_the_process_list_does_not_show_it(tmp_path: Path) -> None:
    """It is in no argument of a command."""
    script = (
        "import os, pathlib; from condrule.backends.openai.keys import find_key;"
        "key = find_key(['OPENAI_API_KEY'], 'x').value;"
        "assert key not in pathlib.Path('/proc/self/cmdline').read_text()"
    )
    if Path("/proc/self/cmdline").exists():
        subprocess.run([sys.executable, "-c", script], check=True)


def test_a_key_is_read_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``.env`` in this directory, as it was written by ``echo``."""
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-from-a-file\n")
    assert "sk-from-a-file" == find_key(["OPENAI_API_KEY"], "x").value


def test_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of the file is for where there is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-from-a-file\n")
    assert world.KEY == find_key(["OPENAI_API_KEY"], "x").value


def test_no_key_says_where_one_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name of the variable, and the file."""
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.chdir(tmp_path)
    path = study_file(tmp_path, "http://127.0.0.1:9/v1")
    assert 2 == run(["run", str(path), "--out", str(tmp_path / "run")])
    assert "set OPENAI_API_KEY in the environment, or write" in capsys.readouterr().err


def test_a_plan_needs_no_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says that the run will."""
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.chdir(tmp_path)
    assert 0 == run(["plan", str(study_file(tmp_path, "http://127.0.0.1:9/v1"))])
    assert "NOT READY TO RUN: there is no key" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["short", "with a space in it", "umläute-umläute", "a\tb1234567"])
def test_what_can_be_no_key_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is sent, and without showing it."""
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(CredentialsError, match="can't be a key") as error:
        find_key(["OPENAI_API_KEY"], "x")
    assert value not in str(error.value)


@pytest.mark.parametrize(
    "more",
    [
        f", api_key: {world.KEY}",
        f", key: {world.KEY}",
        f", key_variable: {world.KEY}",
    ],
)
def test_a_study_file_holds_no_key(
    more: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The error does not show it either."""
    assert 2 == run(["plan", str(study_file(tmp_path, "http://127.0.0.1:9/v1", more))])
    printed = "".join(capfd.readouterr())
    assert world.KEY not in printed
    assert "backend." in printed


@pytest.mark.parametrize(
    "url",
    ["https://user:secret@example.com/v1", "https://example.com/v1?key=secret", "example.com"],
)
def test_an_address_holds_no_key(url: str) -> None:
    """It stands in the run directory."""
    with pytest.raises(ConfigError, match="base_url") as error:
        OpenAIBackend(world.MODEL, base_url=url)
    assert "secret" not in str(error.value)


@given(st.text(min_size=1, max_size=8), st.text(max_size=20), st.text(max_size=20))
def test_what_is_cleaned_holds_no_key(key: str, before: str, after: str) -> None:
    """Wherever it stands, unless the mark that replaces it does."""
    if key not in HIDDEN and not any(part in before + after for part in HIDDEN):
        assert key not in Secret(key, "X").redact(f"{before}{key}{after}").replace(HIDDEN, "")


def test_azure_has_variables_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of OpenAI does not go there."""
    backend: Any = AzureOpenAIBackend(world.MODEL, base_url="https://example.openai.azure.com")
    with pytest.raises(CredentialsError, match="AZURE_OPENAI_API_KEY"):
        backend.find("k")


def test_azure_without_an_address_says_so() -> None:
    """In the file or in the environment."""
    with pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT"):
        AzureOpenAIBackend(world.MODEL).environment()


def test_a_key_is_refused_with_its_source(running: RunningServer, monkeypatch: Any) -> None:
    """A wrong one is an error of the input, and is not tried again."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-key")
    before = running.account.requests.total()
    with pytest.raises(CredentialsError, match="OPENAI_API_KEY"):
        world.backend_at(running).find("k")
    assert 1 == running.account.requests.total() - before


def test_an_error_in_a_run_keeps_what_was_asked(tmp_path: Path) -> None:
    """A key that is refused midway: what was answered before is on record."""
    how = ServerFaults(at=[Place("insufficient_quota", n, "POST /chat/completions") for n in (40,)])
    with world.serving(faults=how) as (running, backend):
        study = world.study(attrs.evolve(backend, concurrency=1))
        with pytest.raises(CondruleError, match="no credit left"):
            study.run(tmp_path / "run", watch=quiet)
        asked = running.account.requests["POST /chat/completions"]
        study.run(tmp_path / "run", watch=quiet)
        again = running.account.requests["POST /chat/completions"] - asked
        whole = world.study(backend)
        before = running.account.requests["POST /chat/completions"]
        whole.run(tmp_path / "other", watch=quiet)
        undisturbed = running.account.requests["POST /chat/completions"] - before
    assert undisturbed + 1 == asked + again


JSON = st.recursive(
    st.none() | st.floats(allow_nan=False) | st.text() | st.sampled_from(["key+/1", 'key"\\/2']),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("key+/1"), inner),
)


@given(JSON, st.sampled_from(["key+/1", 'key"\\/2', "0123456789"]), st.booleans(), st.booleans())
def test_what_is_parsed_is_as_clean_as_what_is_cleaned(
    data: Any, key: str, numbers: bool, slashes: bool
) -> None:
    """However a server spells it: by number, or with slashes escaped."""
    text = json.dumps(data, ensure_ascii=numbers)
    text = text.replace("/", "\\/") if slashes else text
    secret = Secret(key, "X_KEY")
    assert secret.clean(json.loads(text)) == secret.parsed(text)
    assert [HIDDEN, {HIDDEN: f"a{HIDDEN}b"}] == secret.parsed(json.dumps([key, {key: f"a{key}b"}]))


def test_a_key_that_is_spelled_by_numbers_is_found() -> None:
    """Letter for letter."""
    spelled = "".join(f"\\u{ord(letter):04x}" for letter in world.KEY)
    assert ["[key]"] == Secret(world.KEY, "X_KEY").parsed(f'["{spelled}"]')
