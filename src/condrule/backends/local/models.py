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

__all__ = ["SHIPPED", "Loaded", "Source", "card", "load", "locate", "pick_device", "shipped"]

SHIPPED = Path(__file__).parent / "models"
"""Where the models that ship with condrule are."""

Source = Path | str
"""A Hugging Face directory, or the id of a model on the hub."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@attrs.frozen(eq=False)
class Loaded:
    """A model in memory, ready for use: fp32 weights, in evaluation mode."""

    name: str
    module: Any
    """The ``transformers`` model."""
    tokenizer: Any
    device: str
    threads: int | None = None
    """How many threads torch uses on the CPU; None: as many as it likes."""

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(weights.numel() for weights in self.module.parameters())

    @property
    def positions(self) -> int | None:
        """The longest text it can read, in tokens; None: no limit is known."""
        limit = getattr(self.module.config, "max_position_embeddings", None)
        return limit if isinstance(limit, int) and limit > 0 else None

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Use the wished number of threads, then as many as before."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def shipped() -> tuple[str, ...]:
    """The names of the models that ship with condrule, in order."""
    return tuple(sorted(path.parent.name for path in SHIPPED.glob("small-*/config.json")))


def card(source: Source) -> dict[str, Any]:
    """What a model's ``card.json`` says; nothing where there is none."""
    path = source / "card.json" if isinstance(source, Path) else None
    if path is None or not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def locate(name: str) -> Source:
    """Where the model of a name is: shipped, a directory, or on the hub.

    Raises UnsupportedError where the name can be none of these.
    """
    path = SHIPPED / name if name in shipped() else Path(name).expanduser()
    if (path / "config.json").is_file():
        return path
    if path.exists():
        raise UnsupportedError(
            [f"{name} is no Hugging Face model: it has no config.json. Give a directory that "
             "save_pretrained wrote, a model id on the hub, or 'small'."]
        )
    if not _HUB_ID.fullmatch(name):
        raise UnsupportedError(
            [f"there is no model directory {name!r}, and that is no model id on the hub either. "
             f"The models that ship with condrule are {', '.join(shipped()) or 'not installed'}."]
        )
    return name


def pick_device(device: str) -> str:
    """The device that ``auto`` stands for: cuda where there is one, else cpu."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def load(name: str, source: Source, device: str = "auto", threads: int | None = None) -> Loaded:
    """The model and its tokenizer.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        UnsupportedError: it is no causal language model, or has weights missing.
        BackendError: the hub can't be reached.
    """
    torch, transformers = _libraries()
    with _quietly(transformers, isinstance(source, Path)), _explained(name, source):
        place = str(source)
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        module, report = transformers.AutoModelForCausalLM.from_pretrained(
            place, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    # transformers fills what is missing with random numbers: probabilities would be made up.
    if missing := sorted(report["missing_keys"]):
        raise UnsupportedError(
            [f"model {name} is no complete causal language model: its files lack the weights "
             f"{', '.join(missing[:3])}{' and others' if len(missing) > 3 else ''}"]
        )
    chosen = pick_device(device)
    try:
        module.to(chosen).eval()
    except (RuntimeError, AssertionError) as error:
        raise BackendError(f"model {name} can't be put on device {chosen!r}: {error}") from error
    return Loaded(name, module, tokenizer, chosen, threads)


def _libraries() -> tuple[Any, Any]:
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
def _quietly(transformers: Any, on_disk: bool) -> Iterator[None]:
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
def _explained(name: str, source: Source) -> Iterator[None]:
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
                [f"there is no directory {name!r} and no public model of this id on the Hugging "
                 "Face hub; check the spelling (log in to use a private one)"]
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
