"""What a hostile reader tried: each is refused, found out, or said."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import attrs
import pytest

import condrule
from condrule.attending import adopt, cancel, going_on
from condrule.backends.openai import OpenAIBackend
from condrule.cli import run
from condrule.errors import (
    BackendError,
    CondruleError,
    ConfigError,
    LostAnswerError,
    RunError,
    UnreachableError,
    UnsettledJobError,
)
from condrule.progress import quiet
from condrule.responses import read_responses
from condrule.testing.server import RunningServer
from condrule.testing.server.faults import Place, ServerFaults
from condrule.testing.server.settings import Tuning

from . import world

CREATE = "POST /fine_tuning/jobs"
LIST = condrule.TopLogprobs(world.PROMPTS[0])
Answer = tuple[int, dict[str, str], str]


@contextmanager
def stub(answer: Callable[[str, dict[str, Any]], Answer]) -> Iterator[str]:
    """A server that answers as it likes: (path, body) -> (status, headers, text)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            return

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            content = self.rfile.read(length)
            body = json.loads(content) if content.startswith(b"{") else {}
            status, headers, text = answer(self.path, body)
            data = text.encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def at(url: str, **settings: Any) -> OpenAIBackend:
    """A backend on a stub."""
    return OpenAIBackend(world.MODEL, base_url=url, timeout=5.0, poll_seconds=0.01, **settings)


def asked(url: str, query: condrule.backends.base.Query = LIST) -> condrule.Observation:
    """The answer to one question."""
    (found,) = at(url).model("m").ask([query])
    return found


def said(status: int, body: Any, **headers: str) -> Callable[[str, dict[str, Any]], Answer]:
    """Always the same answer."""
    text = body if isinstance(body, str) else json.dumps(body)
    return lambda path, request: (status, headers, text)


# One job for each key.


def test_an_answer_that_comes_late_is_one_job(tmp_path: Path) -> None:
    """The create has its effect when the connection is gone already."""
    faults = ServerFaults(at=[Place("lost_late", 1, CREATE)], late_seconds=0.15)
    with world.serving(faults=faults) as (running, backend):
        world.study(backend).train(tmp_path / "run", watch=quiet)
        assert 2 == len(running.jobs)


def test_without_patience_a_person_is_asked_at_once(tmp_path: Path) -> None:
    """0 seconds of looking is no licence to submit again."""
    faults = ServerFaults(at=[Place("lost_late", 1, CREATE)], late_seconds=0.5)
    with world.serving(faults=faults) as (running, backend):
        study = world.study(attrs.evolve(backend, settle_seconds=0.0))
        with pytest.raises(UnsettledJobError, match="in 0 s of looking"):
            study.train(tmp_path / "run", watch=quiet)
        time.sleep(0.8)
        study.train(tmp_path / "run", watch=quiet)
        assert 2 == len(running.jobs)


def test_a_word_is_about_one_submission(tmp_path: Path) -> None:
    """Given again, it does not allow a third submission after a second lost answer."""
    faults = ServerFaults(
        at=[Place("lost_before", 1, CREATE), Place("lost_late", 2, CREATE)], late_seconds=1.0
    )
    with world.serving(faults=faults) as (running, backend):
        study = world.study(backend)
        with pytest.raises(UnsettledJobError) as first:
            study.train(tmp_path / "run", watch=quiet)
        word = [first.value.word]
        with pytest.raises(UnsettledJobError) as second:
            study.train(tmp_path / "run", watch=quiet, resubmit=word)
        assert f"{first.value.key}:2" == second.value.word
        time.sleep(1.0)
        study.train(tmp_path / "run", watch=quiet, resubmit=word)
        assert 2 == len(running.jobs)


def test_a_misspelt_word_is_refused(tmp_path: Path, backend: OpenAIBackend) -> None:
    """With those in doubt."""
    with pytest.raises(ConfigError, match="names no fine-tune of this study: 'typo'"):
        world.study(backend).train(tmp_path / "run", watch=quiet, resubmit=["typo"])


def test_cancel_stops_all_it_can(tmp_path: Path) -> None:
    """One has ended at the provider meanwhile; the other one is stopped all the same."""
    with world.serving(tuning=Tuning(advance="seconds", seconds=600)) as (running, backend):
        study = world.study(backend)
        study.generate(tmp_path / "run")
        for arm in ("conditional", "control"):
            job = backend.submit(world.TRAINING, world.SPEC, arm)
            adopt(tmp_path / "run", arm=arm, job=job.id)
        backend.cancel(backend.poll(condrule.Job("k", running.jobs[0].id, job.state)))
        assert ["cancelled"] * 2 == [job.state.value for job in cancel(tmp_path / "run")]
        assert ["cancelled"] * 2 == [job.status for job in running.jobs]


def test_cancel_names_what_may_be_running(tmp_path: Path) -> None:
    """A job whose answer was lost and that is not listed yet."""
    faults = ServerFaults(at=[Place("lost_after", 1, CREATE)], listed_after_seconds=60)
    with world.serving(faults=faults) as (_, backend):
        with pytest.raises(UnsettledJobError):
            world.study(backend).train(tmp_path / "run", watch=quiet)
        assert "may be running" in " ".join(going_on(tmp_path / "run"))
        with pytest.raises(BackendError, match="may be running: look for it at the provider"):
            cancel(tmp_path / "run")


@pytest.mark.parametrize("record", [{"id": None}, {"id": ""}, {"object": "job"}])
def test_a_job_without_an_id_is_a_lost_answer(record: dict[str, Any]) -> None:
    """Not a job called None."""

    def answer(path: str, body: dict[str, Any]) -> Answer:
        return 200, {}, json.dumps({"id": "file-1"} if "files" in path else {"id": None, **record})

    with stub(answer) as url:
        backend = at(url)
        backend._files["k"] = "file-1"
        with pytest.raises(LostAnswerError, match="whether there is a job is not known"):
            backend.submit(world.TRAINING, world.SPEC, "k")


def test_another_jobs_record_is_not_taken(running: RunningServer, backend: OpenAIBackend) -> None:
    """The provider must answer with the job that was asked for."""
    with stub(said(200, {"id": "ftjob-other", "status": "succeeded"})) as url:
        job = backend.submit(world.TRAINING, world.SPEC, "k")
        with pytest.raises(BackendError, match="answered with ftjob-other"):
            at(url).poll(job)


def test_an_unknown_ending_is_an_ending() -> None:
    """A status that is not known, with an error: it failed."""
    body = {"id": "j", "status": "expired", "finished_at": 5, "error": {"message": "too late"}}
    with stub(said(200, body)) as url:
        found = at(url).adopt("j", "k")
    assert (condrule.JobState.FAILED, "expired; None: too late") == (found.state, found.detail)


# Fine-tunes from elsewhere.


@pytest.fixture
def study(backend: OpenAIBackend, tmp_path: Path) -> Path:
    """A run of two arms that nothing was done for yet."""
    world.study(backend).generate(tmp_path / "run")
    return tmp_path / "run"


def test_one_model_is_not_two_fine_tunes(study: Path) -> None:
    """It would count as two and be one."""
    adopt(study, arm="conditional", model="ft:x")
    with pytest.raises(BackendError, match="each has one of its own"):
        adopt(study, arm="control", model="ft:x")


def test_the_base_model_is_no_fine_tune(study: Path) -> None:
    """It is compared with them."""
    with pytest.raises(BackendError, match="that of a base model"):
        adopt(study, arm="conditional", model=world.MODEL)


def test_a_fine_tune_of_another_base_is_refused(study: Path, backend: OpenAIBackend) -> None:
    """Where the provider says which it was."""
    other = attrs.evolve(backend, model="gpt-4.1-mini-2025-04-14")
    job = other.submit(world.TRAINING, world.SPEC, "elsewhere")
    with pytest.raises(RunError, match="fine-tunes 'gpt-4.1-mini-2025-04-14'"):
        adopt(study, arm="conditional", job=job.id)


def test_an_empty_model_is_refused_and_not_recorded(study: Path) -> None:
    """By the command line too."""
    assert 2 == run(["adopt", str(study), "--arm", "control", "--model", " "])
    assert not (study / "journal.jsonl").read_bytes()


# Numbers.


def test_generated_tokens_are_not_scored() -> None:
    """A server that takes max_tokens 0 for 1 gives a token more."""
    query = condrule.Continuations(world.PROMPTS[0], ("Paris",))

    def answer(path: str, body: dict[str, Any]) -> Answer:
        end = len(body["prompt"])
        logprobs = {"text_offset": [0, end - 5, end], "token_logprobs": [None, -1.0, -3.0]}
        choice = {"index": 0, "text": body["prompt"] + "!", "logprobs": logprobs}
        return 200, {}, json.dumps({"id": "c", "choices": [choice]})

    with stub(answer) as url:
        backend = at(url, prompt_template="{content}\n")
        (found,) = backend.model("m").ask([query])
    assert (-1.0,) == found.logprobs


def test_a_refusal_of_all_is_no_refusal_of_a_prompt(tmp_path: Path) -> None:
    """It stops the run, and nothing is recorded for ever."""
    body = {"error": {"message": "hard limit reached", "code": "billing_hard_limit_reached"}}
    with stub(said(400, body)) as url, pytest.raises(BackendError, match="hard limit reached"):
        asked(url)


def test_a_blocked_prompt_is_refused_alone() -> None:
    """By its code."""
    body = {"error": {"message": "no", "code": "content_filter", "param": "prompt"}}
    with stub(said(400, body)) as url:
        assert "no (status 400, content_filter)" == asked(url).refused


def test_one_stray_refusal_does_not_turn_lists_off() -> None:
    """Shorter ones are asked for first."""
    answers = iter(
        [
            (400, {}, json.dumps({"error": {"message": "logprobs is not available just now"}})),
            (200, {}, json.dumps(_list(-0.1))),
        ]
    )
    with stub(lambda path, body: next(answers)) as url:
        assert asked(url).top


def _list(logprob: float) -> dict[str, Any]:
    entry = {"token": "a", "logprob": logprob, "bytes": [97]}
    content = [{"token": "a", "logprob": logprob, "top_logprobs": [entry]}]
    return {"id": "c", "choices": [{"index": 0, "logprobs": {"content": content}}]}


def test_a_probability_above_1_makes_a_list_worthless() -> None:
    """Unknown, for this prompt alone."""
    with stub(said(200, _list(0.5))) as url:
        assert "the list holds probabilities above 1" == asked(url).refused


def test_a_server_that_gives_one_draw_at_a_time_is_asked_often() -> None:
    """It takes no notice of n."""
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}
    with stub(said(200, {"id": "c", "choices": [choice]})) as url:
        assert ("x",) * 5 == asked(url, condrule.Draws(world.PROMPTS[0], n=5)).texts


@pytest.mark.parametrize(
    "choice",
    [
        {"index": 7, "message": {"content": "x"}},
        {"index": 0, "message": {"content": None, "tool_calls": [{"id": "t"}]}},
    ],
)
def test_what_makes_no_sense_is_asked_again_and_then_an_error(choice: dict[str, Any]) -> None:
    """Never counted as a draw."""
    with (
        stub(said(200, {"id": "c", "choices": [choice]})) as url,
        pytest.raises(UnreachableError, match="makes no sense"),
    ):
        asked(url, condrule.Draws(world.PROMPTS[0]))


def test_half_a_letter_stops_nothing() -> None:
    """It reads as a replacement character."""
    text = '{"id": "c", "choices": [{"index": 0, "message": {"content": "x\\ud83d"}}]}'
    with stub(said(200, text)) as url:
        assert ("x\ufffd",) == asked(url, condrule.Draws(world.PROMPTS[0])).texts


def test_a_run_is_not_mixed_of_two_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is kept with the run."""
    with world.server().running() as one, world.server().running() as other:
        monkeypatch.setenv("OPENAI_BASE_URL", one.base_url)
        study = world.study(OpenAIBackend(world.MODEL, poll_seconds=0.01))
        study.train(tmp_path / "run", watch=quiet)
        monkeypatch.setenv("OPENAI_BASE_URL", other.base_url)
        with pytest.raises(RunError, match="begun at"):
            study.run(tmp_path / "run", watch=quiet)


# Keys.


def test_a_key_in_a_header_is_not_kept(tmp_path: Path) -> None:
    """Nor one that is written in another way in JSON."""
    spelled = "".join(f"\\u{ord(letter):04x}" for letter in world.KEY)
    text = '{"id": "c", "choices": [{"index": 0, "message": {"content": "' + spelled + '"}}]}'
    with stub(said(200, text, **{"x-request-id": world.KEY})) as url:
        found = asked(url, condrule.Draws(world.PROMPTS[0]))
    assert ("[key]",) == found.texts
    assert world.KEY not in repr(found.raw) + repr(attrs.asdict(found))


def test_no_error_holds_a_request() -> None:
    """Not even behind another: crash reporters print all there is."""
    headers = {"x-request-id": world.KEY}
    with stub(said(401, {"error": {"message": f"bad key {world.KEY}"}}, **headers)) as url:
        try:
            asked(url)
        except CondruleError as error:
            seen, waiting = [], [error]
            while waiting:
                one = waiting.pop()
                seen.append(one)
                waiting += [part for part in (one.__cause__, one.__context__) if part]
            text = "".join(
                "".join(traceback.TracebackException.from_exception(e).format()) for e in seen
            )
            assert not [type(e) for e in seen if type(e).__module__.startswith("openai")]
            assert world.KEY not in text + "".join(repr(e.__dict__) for e in seen)


@pytest.mark.parametrize("key", ["base_url", "encoding", "api_version"])
def test_a_key_in_a_wrong_place_is_not_shown(
    key: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The error says what belongs there."""
    path = tmp_path / "study.yaml"
    path.write_text(
        "items: {source: favourite_countries, n: 10}\narms: [conditional]\n"
        f"backend: {{kind: openai, model: m, {key}: {world.KEY}}}\n"
    )
    assert 2 == run(["plan", str(path)])
    assert world.KEY not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "url",
    ["https://host/v1/sk-abcdefgh", "https://host/v1#sk-abcdefgh", "http://h/chat/completions"],
)
def test_an_address_is_one_of_an_api(url: str) -> None:
    """No key, no fragment, no path of a request."""
    with pytest.raises(ConfigError, match="must be the address of an API"):
        OpenAIBackend(world.MODEL, base_url=url)


def test_an_address_in_the_environment_is_held_to_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the name of the variable."""
    monkeypatch.setenv("OPENAI_BASE_URL", "nonsense")
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL: must be the address"):
        OpenAIBackend(world.MODEL).find("k")


# Messages.


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (said(200, {"error": {"message": "upstream is down"}}), "upstream is down"),
        (said(404, {"detail": "Not Found"}), "Not Found .*in /v1 say"),
        (said(404, {"error": "no route"}), "no route"),
        (said(403, "<html><title>Proxy</title><b>Forbidden</b></html>"), "Proxy Forbidden"),
        (said(200, "<html>log in</html>"), "is not a JSON object"),
    ],
)
def test_whatever_answers_is_understood(
    answer: Callable[[str, dict[str, Any]], Answer], words: str
) -> None:
    """By whoever reads the error."""
    with stub(answer) as url, pytest.raises(CondruleError, match=words):
        asked(url)


def test_a_plan_without_a_network_does_not_hang(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so, with the host, after a moment."""
    path = tmp_path / "study.yaml"
    path.write_text(
        "items: {source: favourite_countries, n: 10}\narms: [conditional]\n"
        f"backend: {{kind: openai, model: {world.MODEL}, base_url: 'http://127.0.0.1:9/v1'}}\n"
        "finetune: {learning_rate: auto}\n"
    )
    began = time.monotonic()
    assert 0 == run(["plan", str(path)])
    assert time.monotonic() - began < 20
    assert "no connection to 127.0.0.1:9" in capsys.readouterr().out


def test_a_retirement_that_is_no_date_is_no_retirement() -> None:
    """What can't be read stops nobody."""
    with stub(said(200, {"id": world.MODEL, "deprecation": {"inference": "soon"}})) as url:
        assert () == at(url).warnings()


def test_a_name_is_no_path() -> None:
    """A model's name is quoted."""
    paths: list[str] = []

    def answer(path: str, body: dict[str, Any]) -> Answer:
        paths.append(path)
        return 200, {}, '{"id": "m"}'

    with stub(answer) as url:
        attrs.evolve(at(url), model="../files?x").warnings()
    assert ["/v1/models/..%2Ffiles%3Fx"] == paths


def test_answers_that_nobody_takes_stop_the_asking(backend: OpenAIBackend) -> None:
    """Not all that is asked is sent and paid for while a reader waits."""
    with world.serving() as (running, other):
        queries = [condrule.Draws(world.PROMPTS[0], seed=number) for number in range(1500)]
        answers = other.model(world.MODEL).ask(queries)
        next(answers)
        time.sleep(1.0)
        assert running.account.requests["POST /chat/completions"] < 400
        answers.close()  # type: ignore[attr-defined]


def test_many_responses_are_read_again(tmp_path: Path) -> None:
    """None is lost among many."""
    responses = condrule.responses.Responses(tmp_path)
    raw = {"said": "x" * 50}
    many = [condrule.Observation(f"q{n}", texts=("x",), raw=raw) for n in range(20_000)]
    responses.observations("m", many)
    assert 20_000 == sum(1 for _ in read_responses(tmp_path))


@pytest.mark.parametrize("url", ["https://task-server.example.com/v1", "http://[::1]:8000/v1"])
def test_an_address_may_be_any_hosts(url: str) -> None:
    """Letters that begin a key may stand in a name."""
    assert url == OpenAIBackend(world.MODEL, base_url=url).base_url
