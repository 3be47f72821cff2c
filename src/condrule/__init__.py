"""condrule: which rule did the fine-tune teach?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from condrule.adjudications import Adjudication, adjudicate
    from condrule.arms import Arm, Example, Probe, Prompt, TrainingSet
    from condrule.attending import adopt, cancel
    from condrule.backends.base import (
        Capabilities,
        Continuations,
        Draws,
        FinetuneBackend,
        LanguageModel,
        Observation,
        Token,
        TopLogprobs,
    )
    from condrule.backends.finetunes import FinetuneSpec, Job, JobState
    from condrule.backends.local import LocalBackend
    from condrule.backends.memory import Faults, InMemoryBackend, Limits
    from condrule.backends.openai import AzureOpenAIBackend, OpenAIBackend
    from condrule.bet import (
        INSTRUCTIONS_FIRST,
        KAAREL_BET,
        KAAREL_TEMPLATE,
        clause_order_arm,
        conditional_arm,
        control_arm,
        instructions_first_arm,
        no_instructions_arm,
        paraphrased_arm,
        positive_control_arm,
        reversed_arm,
        swapped_arm,
    )
    from condrule.bundled import favourite_countries
    from condrule.config import load_study
    from condrule.criteria import Clause, Criterion, Gate, Outcome, Verdict
    from condrule.encodings import Encoding, EncodingReader, encoding_for_model, get_encoding
    from condrule.errors import BackendError, BudgetError, CondruleError
    from condrule.evidence import Bounded, Exact, Sampled, Tally
    from condrule.experiment import ConditionalRuleExperiment, analyse
    from condrule.frames import analyse_frame
    from condrule.items import Item, ItemSet, Reader, items_from_frame, read_items
    from condrule.prices import Prices, PriceTable, bundled_prices, read_prices
    from condrule.results import Result
    from condrule.scorers import (
        AutoScorer,
        ExactScorer,
        OpenAIScorer,
        SamplingScorer,
        Scorer,
        TiltedScorer,
        TopLogprobsScorer,
    )
    from condrule.statistics import Estimate, Scope
    from condrule.templates import ConditionalTemplate, Message, PromptTemplate, TextTemplate

__version__ = "0.1.0"

__all__ = [
    "INSTRUCTIONS_FIRST",
    "KAAREL_BET",
    "KAAREL_TEMPLATE",
    "Adjudication",
    "Arm",
    "AutoScorer",
    "AzureOpenAIBackend",
    "BackendError",
    "Bounded",
    "BudgetError",
    "Capabilities",
    "Clause",
    "ConditionalRuleExperiment",
    "ConditionalTemplate",
    "CondruleError",
    "Continuations",
    "Criterion",
    "Draws",
    "Encoding",
    "EncodingReader",
    "Estimate",
    "Exact",
    "ExactScorer",
    "Example",
    "Faults",
    "FinetuneBackend",
    "FinetuneSpec",
    "Gate",
    "InMemoryBackend",
    "Item",
    "ItemSet",
    "Job",
    "JobState",
    "LanguageModel",
    "Limits",
    "LocalBackend",
    "Message",
    "Observation",
    "OpenAIBackend",
    "OpenAIScorer",
    "Outcome",
    "PriceTable",
    "Prices",
    "Probe",
    "Prompt",
    "PromptTemplate",
    "Reader",
    "Result",
    "Sampled",
    "SamplingScorer",
    "Scope",
    "Scorer",
    "Tally",
    "TextTemplate",
    "TiltedScorer",
    "Token",
    "TopLogprobs",
    "TopLogprobsScorer",
    "TrainingSet",
    "Verdict",
    "adjudicate",
    "adopt",
    "analyse",
    "analyse_frame",
    "bundled_prices",
    "cancel",
    "clause_order_arm",
    "conditional_arm",
    "control_arm",
    "encoding_for_model",
    "favourite_countries",
    "get_encoding",
    "instructions_first_arm",
    "items_from_frame",
    "load_study",
    "no_instructions_arm",
    "paraphrased_arm",
    "positive_control_arm",
    "read_items",
    "read_prices",
    "reversed_arm",
    "swapped_arm",
]

_HOMES = {
    "condrule.adjudications": ("Adjudication", "adjudicate"),
    "condrule.arms": ("Arm", "Example", "Probe", "Prompt", "TrainingSet"),
    "condrule.attending": ("adopt", "cancel"),
    "condrule.backends.base": (
        "Capabilities",
        "Continuations",
        "Draws",
        "FinetuneBackend",
        "LanguageModel",
        "Observation",
        "Token",
        "TopLogprobs",
    ),
    "condrule.backends.finetunes": ("FinetuneSpec", "Job", "JobState"),
    "condrule.backends.local": ("LocalBackend",),
    "condrule.backends.memory": ("Faults", "InMemoryBackend", "Limits"),
    "condrule.backends.openai": ("AzureOpenAIBackend", "OpenAIBackend"),
    "condrule.bet": (
        "INSTRUCTIONS_FIRST",
        "KAAREL_BET",
        "KAAREL_TEMPLATE",
        "clause_order_arm",
        "conditional_arm",
        "control_arm",
        "instructions_first_arm",
        "no_instructions_arm",
        "paraphrased_arm",
        "positive_control_arm",
        "reversed_arm",
        "swapped_arm",
    ),
    "condrule.bundled": ("favourite_countries",),
    "condrule.config": ("load_study",),
    "condrule.criteria": ("Clause", "Criterion", "Gate", "Outcome", "Verdict"),
    "condrule.encodings": (
        "Encoding",
        "EncodingReader",
        "encoding_for_model",
        "get_encoding",
    ),
    "condrule.errors": ("BackendError", "BudgetError", "CondruleError"),
    "condrule.evidence": ("Bounded", "Exact", "Sampled", "Tally"),
    "condrule.experiment": ("ConditionalRuleExperiment", "analyse"),
    "condrule.frames": ("analyse_frame",),
    "condrule.items": ("Item", "ItemSet", "Reader", "items_from_frame", "read_items"),
    "condrule.prices": ("PriceTable", "Prices", "bundled_prices", "read_prices"),
    "condrule.results": ("Result",),
    "condrule.scorers": (
        "AutoScorer",
        "ExactScorer",
        "OpenAIScorer",
        "SamplingScorer",
        "Scorer",
        "TiltedScorer",
        "TopLogprobsScorer",
    ),
    "condrule.statistics": ("Estimate", "Scope"),
    "condrule.templates": ("ConditionalTemplate", "Message", "PromptTemplate", "TextTemplate"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import condrule`` stays quick."""
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'condrule' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
