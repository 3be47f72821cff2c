"""Models behind the OpenAI API: OpenAI itself, Azure OpenAI, and compatible servers."""

from condrule.backends.openai.azure import AzureOpenAIBackend
from condrule.backends.openai.backend import OpenAIBackend

__all__ = ["AzureOpenAIBackend", "OpenAIBackend"]
