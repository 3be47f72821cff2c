"""Models behind the OpenAI API: OpenAI itself, Azure OpenAI, and compatible servers."""

from condrule.backends.openai.backend import AzureOpenAIBackend, OpenAIBackend

__all__ = ["AzureOpenAIBackend", "OpenAIBackend"]
