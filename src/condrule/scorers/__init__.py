"""Scoring strategies: one file each."""

from condrule.scorers.auto import AutoScorer
from condrule.scorers.base import ProbeEvidence, Scorer, Seen
from condrule.scorers.exact import ExactScorer
from condrule.scorers.openai import OpenAIScorer
from condrule.scorers.sampling import SamplingScorer
from condrule.scorers.tilted import TiltedScorer
from condrule.scorers.top_logprobs import TopLogprobsScorer

__all__ = [
    "AutoScorer",
    "ExactScorer",
    "OpenAIScorer",
    "ProbeEvidence",
    "SamplingScorer",
    "Scorer",
    "Seen",
    "TiltedScorer",
    "TopLogprobsScorer",
]
