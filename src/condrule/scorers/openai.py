"""The strategies for models behind the OpenAI API."""

from __future__ import annotations

import attrs

from condrule.scorers.auto import AutoScorer

__all__ = ["OpenAIScorer"]


@attrs.frozen
class OpenAIScorer(AutoScorer):
    """What `condrule.scorers.auto.AutoScorer` does with models behind the OpenAI API, by a name
    that says so: exact where a server's completions score their prompt; else bounds from the
    longest list of top logprobs that the model gives, up to 20; draws under a calibrated bias where
    these leave an answer open; else counts of draws.
    """
