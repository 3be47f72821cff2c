"""Which model a name means, and how it is loaded."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from condrule.errors import BackendError, MissingExtraError, UnsupportedError

__all__ = ["SHIPPED", "Loaded", "card", "load", "locate", "require", "shipped", "threads"]

SHIPPED = Path(__file__).parent / "models"
"""Where the models that ship with condrule are."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@attrs.frozen(eq=False)
class Loaded:
    """A model in memory, ready for use: fp32 weights, in evaluation mode."""

    name: str
    model: Any
    """The ``transformers`` model."""
    tokenizer: Any
    device: Any
    """A ``torch.device``."""

    def check_length(self, tokens: int) -> None:
        """Raise UnsupportedError where a text has more tokens than the model has positions."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        if isinstance(limit, int) and 0 < limit < tokens:
            raise UnsupportedError(
                [
                    f"a prompt with its answer has up to {tokens} tokens; model {self.name} reads "
                    f"at most {limit}. Shorten the prompts or use another model."
                ]
            )


def shipped() -> tuple[str, ...]:
    """The names of the models that ship with condrule, in order."""
    return tuple(sorted(path.parent.name for path in SHIPPED.glob("small-*/config.json")))


def card(name: str) -> dict[str, Any]:
    """What a model's ``card.json`` says; nothing where there is none."""
    path = Path(locate(name)) / "card.json"
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def locate(name: str, store: Path | None = None) -> Path | str:
    """Where the model of a name is: shipped, a finished job's in the store, a directory of its
    own, or on the hub; then the id is returned as it is.

    Raises UnsupportedError where the name can be none of these.
    """
    if store is not None and (store / name / "job.json").is_file():
        return store / name
    path = SHIPPED / name if name in shipped() else Path(name).expanduser()
    if (path / "config.json").is_file():
        return path
    if path.exists():
        raise UnsupportedError(
            [
                f"{name} is no Hugging Face model: it has no config.json. Give a directory that "
                "save_pretrained wrote, a model id on the hub, or 'small'."
            ]
        )
    if not _HUB_ID.fullmatch(name):
        raise UnsupportedError(
            [
                f"there is no model directory {name!r}, and that is no model id on the hub either. "
                f"The models that ship with condrule are {', '.join(shipped()) or 'not installed'}."
            ]
        )
    return name


def load(place: Path | str, device: str = "auto") -> Loaded:
    """The model and its tokenizer, from a directory or the hub.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        UnsupportedError: it is no causal language model, or has weights missing.
        BackendError: the hub can't be reached, or there is no such device.
    """
    torch, transformers = require()
    name = place.name if isinstance(place, Path) else place
    with quietly(transformers, isinstance(place, Path)), _explained(name, place):
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(place), trust_remote_code=False)
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            str(place), dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    # transformers fills what is missing with random numbers: probabilities would be made up.
    if missing := sorted(report["missing_keys"]):
        raise UnsupportedError(
            [
                f"model {name} is no complete causal language model: its files lack the weights "
                f"{', '.join(missing[:3])}{' and others' if len(missing) > 3 else ''}"
            ]
        )
    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        chosen = torch.device(wanted)
        model.to(chosen).eval()
    except (RuntimeError, AssertionError) as error:
        raise BackendError(f"model {name} can't be put on device {wanted!r}: {error}") from error
    return Loaded(name, model, tokenizer, chosen)


def require() -> tuple[Any, Any]:
    """torch and transformers. Raises MissingExtraError where one is not installed."""
    purpose = "the local backend"
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "local", purpose) from None
    try:
        import transformers
    except ImportError:
        raise MissingExtraError("transformers", "local", purpose) from None
    return torch, transformers


@contextlib.contextmanager
def threads(wanted: int | None) -> Iterator[None]:
    """Set torch's number of threads, and set it back; None leaves it."""
    torch, _ = require()
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def quietly(transformers: Any, on_disk: bool) -> Iterator[None]:
    """Keep transformers from talking; a download may show its progress."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    if on_disk:
        log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars and on_disk:
            log.enable_progress_bar()


@contextlib.contextmanager
def _explained(name: str, source: Path | str) -> Iterator[None]:
    """Turn what transformers raises into errors that say what to do."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        causes = {type(cause).__name__ for cause in _causes(error)}
        if isinstance(source, Path):
            raise UnsupportedError(
                [f"{name} can't be loaded as a causal language model: {first}"]
            ) from error
        if "RepositoryNotFoundError" in causes:
            raise UnsupportedError(
                [
                    f"there is no directory {name!r} and no public model of this id on the Hugging "
                    "Face hub; check the spelling (log in to use a private one)"
                ]
            ) from error
        if isinstance(error, OSError):
            raise BackendError(
                f"model {name} is not in the local cache and the Hugging Face hub did not give "
                f"it: {first} Check the id and the network, or give a directory."
            ) from error
        raise UnsupportedError(
            [f"{name} can't be loaded as a causal language model: {first}"]
        ) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
