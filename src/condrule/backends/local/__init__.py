"""Fine-tune and score Hugging Face causal language models on this machine (extra ``local``)."""

from condrule.backends.local.backend import LocalBackend

__all__ = ["LocalBackend"]
