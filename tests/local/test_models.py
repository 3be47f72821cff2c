"""Names, readers, and what is said where a model can't be had."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import condrule
from condrule.backends.local import LocalBackend
from condrule.errors import BackendError, UnsupportedError


def test_reader(word_llama: str, byte_gpt2: str) -> None:
    """A word-level tokenizer tells what it can't read; a byte-level one reads everything."""
    reader = LocalBackend(word_llama).reader([0, 1])
    assert reader is not None
    assert ("Zorro", "Atlantis") == reader.unreadable("respond with Zorro's Atlantis, Paris.")
    assert () == reader.unreadable("Paris")
    reads_bytes = LocalBackend(byte_gpt2).reader([0])
    assert reads_bytes is not None
    assert () == reads_bytes.unreadable("Zorro's Atlantis")


def test_a_reader_counts_the_tokens_of_an_answer(word_llama: str, byte_gpt2: str) -> None:
    """Words and bytes; the answer of a model without a chat template follows a space."""
    from transformers import AutoTokenizer

    for name, said in ((word_llama, "Paris"), (byte_gpt2, " Paris")):
        reader, tokenizer = LocalBackend(name).reader([0]), AutoTokenizer.from_pretrained(name)
        assert reader is not None
        assert len(tokenizer(said, add_special_tokens=False).input_ids) == reader.pieces("Paris")


def test_most_answers_are_one_token_of_the_small_models() -> None:
    """So items can be restricted to them: as many as were asked for are left."""
    reader = LocalBackend("small").reader([0, 1, 2])
    assert reader is not None
    items = condrule.favourite_countries(n=30, one_token=True).readable_by(reader)
    assert {1} == {reader.pieces(answer) for item in items for answer in item.answers.values()}


def test_a_model_without_a_tokenizer_file_can_not_count(byte_gpt2: str, tmp_path: Path) -> None:
    """Nothing is known of it, as it was not loaded."""
    copied = shutil.copytree(byte_gpt2, tmp_path / "model")
    (copied / "tokenizer.json").unlink()
    assert LocalBackend(str(copied)).reader([0]) is None


def test_names_are_known_of_a_model_whose_tokens_are_not(byte_gpt2: str, tmp_path: Path) -> None:
    """From its card; it is then not known how many tokens an answer is."""
    copied = shutil.copytree(byte_gpt2, tmp_path / "model")
    (copied / "tokenizer.json").unlink()
    (copied / "card.json").write_text('{"known_names": ["Zorro"]}')
    reader = LocalBackend(str(copied)).reader([0])
    assert reader is not None
    assert ((), None) == (reader.unreadable("Atlantis"), reader.pieces("Atlantis"))
    assert "was pretrained on facts about Zorro" in str(reader.familiar("Zorro"))


def test_light_import() -> None:
    """Importing the backend imports neither torch nor transformers."""
    code = (
        "import sys; from condrule.backends.local import LocalBackend; "
        "print(sorted({'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.strip()


def test_no_config(tmp_path: Path) -> None:
    """A directory without a model is refused by name."""
    with pytest.raises(UnsupportedError, match="config.json"):
        LocalBackend(str(tmp_path)).model(str(tmp_path))


def test_no_such_model() -> None:
    """A path that doesn't exist and can be no hub id is refused."""
    with pytest.raises(UnsupportedError, match="no model directory"):
        LocalBackend("./nowhere/at/all").model("./nowhere/at/all")


def test_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub id that can't be fetched is a failure that may pass."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BackendError, match="hub"):
        LocalBackend("someone/some-model-that-is-not-cached").model(
            "someone/some-model-that-is-not-cached"
        )


def test_missing_weights(word_llama: str, tmp_path: Path) -> None:
    """A model with weights missing is refused: they would be random."""
    import shutil

    from safetensors.torch import load_file, save_file

    place = tmp_path / "broken"
    shutil.copytree(word_llama, place)
    weights = load_file(place / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnsupportedError, match="up_proj"):
        LocalBackend(str(place)).model(str(place))
