"""Scoring strategies: one file each."""

from condrule.scorers.auto import AutoScorer
from condrule.scorers.base import ProbeEvidence, Scorer, Seen
from condrule.scorers.exact import ExactScorer

__all__ = ["AutoScorer", "ExactScorer", "ProbeEvidence", "Scorer", "Seen"]
