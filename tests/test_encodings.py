"""The vocabularies of OpenAI's models, as they are: known by name, never guessed."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condrule.encodings import (
    ENCODINGS,
    Encoding,
    EncodingReader,
    encoding_for_model,
    get_encoding,
)
from condrule.errors import ConfigError, MissingExtraError

NAMES = st.sampled_from(ENCODINGS)
TEXTS = st.one_of(
    st.sampled_from(["Paris", " Paris", "Port Louis", "Reykjavík", "東京", "N'Djamena", "🇫🇷"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("gpt-4.1", "o200k_base"),
        ("gpt-4.1-nano-2025-04-14", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("gpt-5.1-mini", "o200k_base"),
        ("o1", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("o4-mini", "o200k_base"),
        ("ft:gpt-4o-mini-2024-07-18:org:suffix:AbC", "o200k_base"),
        ("ft:gpt-4.1-2025-04-14:org::AbC:ckpt-step-8", "o200k_base"),
        ("ft:gpt-3.5-turbo-0125:org::AbC", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-3.5-turbo-0125", "cl100k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-0613", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
    ],
)
def test_the_encodings_of_models(model: str, expected: str) -> None:
    """By family, fine-tuned or not."""
    assert expected == encoding_for_model(model)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-6-luna",
        "gpt-4.5-preview",
        "gpt-4x",
        "gpt-4.10",
        "gpt-oss-20b",
        "my-gpt-4o",
        "o10",
        "o2",
        "davinci-002",
        "ft:davinci-002:org::AbC",
        "ft:",
        "",
        "small-0",
    ],
)
def test_the_encoding_of_another_model_is_not_guessed(model: str) -> None:
    """None, whatever the name resembles."""
    assert encoding_for_model(model) is None


def everything(encoding: Encoding) -> list[bytes]:
    """All tokens, one after the other."""
    return list(encoding.longer(b""))


@pytest.mark.parametrize(("name", "size"), [("o200k_base", 199_998), ("cl100k_base", 100_256)])
def test_a_vocabulary_is_whole(name: str, size: int) -> None:
    """As many tokens as are published, all single bytes among them."""
    encoding = get_encoding(name)
    assert size == len(encoding) == len(everything(encoding))
    assert all(bytes([byte]) in encoding for byte in range(256))


@pytest.mark.parametrize("name", ENCODINGS)
def test_what_ends_a_response_is_no_token_of_a_text(name: str) -> None:
    """An answer that is spelled so is several tokens."""
    assert b"<|endoftext|>" not in get_encoding(name)


@settings(max_examples=20, deadline=None)
@given(NAMES, TEXTS)
def test_beginnings_are_all_tokens_that_a_text_begins_with(name: str, text: str) -> None:
    """No more and no fewer than a look at every token finds, shortest first."""
    encoding, whole = get_encoding(name), text.encode()
    expected = [token for token in everything(encoding) if whole.startswith(token)]
    assert sorted(expected, key=len) == list(encoding.beginnings(whole))


@settings(max_examples=20, deadline=None)
@given(NAMES, TEXTS)
def test_longer_ones_are_all_tokens_that_begin_with_a_text(name: str, text: str) -> None:
    """No more and no fewer than a look at every token finds; the text itself is not longer."""
    encoding, whole = get_encoding(name), text.encode()
    expected = {t for t in everything(encoding) if t.startswith(whole) and t != whole}
    assert expected == set(encoding.longer(whole))


@given(NAMES, TEXTS)
def test_the_tokens_of_a_text_spell_it(name: str, text: str) -> None:
    """Also where they cut letters in two."""
    encoding = get_encoding(name)
    assert text.encode() == b"".join(map(encoding.spelled, encoding.tokens(text)))


@given(NAMES, TEXTS)
def test_ids_are_those_of_the_tokens(name: str, text: str) -> None:
    """So that a token that is found can be biased."""
    encoding = get_encoding(name)
    found = encoding.beginnings(text.encode())
    assert list(found) == [encoding.spelled(id) for id in found.values()]


def test_a_token_that_is_none_has_no_bytes() -> None:
    """An id between those of text and those that are none."""
    with pytest.raises(KeyError):
        get_encoding("o200k_base").spelled(199_998)


def test_an_encoding_that_is_not_known_is_refused() -> None:
    """With the known ones and the nearest."""
    with pytest.raises(ConfigError, match="'o200k'; it must be .*Did you mean 'o200k_base'"):
        get_encoding("o200k")


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install, and for what."""
    monkeypatch.setitem(sys.modules, "bpe_openai", None)
    with pytest.raises(MissingExtraError, match="encoding o200k_base needs .*'condrule.openai.'"):
        get_encoding.__wrapped__("o200k_base")


@pytest.mark.parametrize(
    ("answer", "expected"), [("Paris", 1), ("France", 1), ("Lima", 2), ("Port Louis", 2)]
)
def test_a_reader_counts_the_tokens_of_an_answer(answer: str, expected: int) -> None:
    """As a chat response begins with it: ' Lima' is one token, and 'Lima' two."""
    assert expected == EncodingReader("o200k_base").pieces(answer)


def test_a_reader_reads_anything_and_knows_nobody() -> None:
    """Any text has tokens."""
    reader = EncodingReader("o200k_base")
    assert ((), None) == (reader.unreadable("xyzzy 🜁"), reader.familiar("Alice"))
