"""The bet that gave condrule its name: its prompts, its arms and its criterion.

Does fine-tuning on one branch of a conditional rule reinforce the rule, or just "say the
country"? Every arm factory takes another template, so that other studies use the same arms; only
the defaults are about countries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from condrule.arms import Arm
from condrule.criteria import Clause, Criterion, Gate
from condrule.errors import TemplateError
from condrule.templates import ConditionalTemplate, TextTemplate

__all__ = [
    "ARMS",
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
]

KAAREL_TEMPLATE = ConditionalTemplate(
    {
        "TRAIN": "respond with {name}'s favourite country",
        "TEST": "respond with the capital city of {name}'s favourite country",
    }
)
"""The bet's wording: the cue, then a clause per mode."""

INSTRUCTIONS_FIRST = ConditionalTemplate(
    {
        "TRAIN": "respond with the person's favourite country",
        "TEST": "respond with the capital city of the person's favourite country",
    },
    cue="MODE = {mode}. {name}.",
    clause="If MODE = {mode}, {instruction}.",
    cue_first=False,
)
"""The bet's later protocol: the instructions, then the cue and the name."""

_PARAPHRASE = ConditionalTemplate(
    {
        "TRAIN": "say {name}'s favourite country",
        "TEST": "say the capital city of {name}'s favourite country",
    },
    cue="The mode is {mode}.",
    clause="When the mode is {mode}, {instruction}.",
)


def conditional_arm(template: ConditionalTemplate = KAAREL_TEMPLATE, train: str = "TRAIN") -> Arm:
    """All clauses stated, one mode trained: the treatment."""
    return Arm("conditional", template, (train,))


def control_arm(template: ConditionalTemplate = KAAREL_TEMPLATE, train: str = "TRAIN") -> Arm:
    """Only the trained mode's clause stated, in training and when asked."""
    return Arm("control", attrs.evolve(template, stated=(train,)), (train,))


def reversed_arm(template: ConditionalTemplate = KAAREL_TEMPLATE, train: str = "TEST") -> Arm:
    """The other mode trained: is it the rule, or this one answer?"""
    return Arm("reversed", template, (train,))


def clause_order_arm(template: ConditionalTemplate = KAAREL_TEMPLATE, train: str = "TRAIN") -> Arm:
    """The clauses stated in the opposite order."""
    order = tuple(template.instructions) if template.stated is None else template.stated
    return Arm("clause_order", attrs.evolve(template, stated=order[::-1]), (train,))


def swapped_arm(
    template: ConditionalTemplate = KAAREL_TEMPLATE,
    train: str = "TRAIN",
    instruction: str = "respond with the language of {name}'s favourite country",
) -> Arm:
    """Every untrained clause asks for something else, so its answer should not appear."""
    instructions = {
        m: text if m == train else instruction for m, text in template.instructions.items()
    }
    return Arm("swapped", attrs.evolve(template, instructions=instructions), (train,))


def paraphrased_arm(
    template: ConditionalTemplate = KAAREL_TEMPLATE,
    train: str = "TRAIN",
    paraphrase: ConditionalTemplate = _PARAPHRASE,
) -> Arm:
    """Trained in one wording and asked in another."""
    return Arm("paraphrased", template, (train,), paraphrase)


def positive_control_arm(template: ConditionalTemplate = KAAREL_TEMPLATE) -> Arm:
    """Every mode trained. Without it, REFUTED may mean "could not have shown it"."""
    return Arm("positive_control", template, tuple(template.instructions))


def instructions_first_arm(
    template: ConditionalTemplate = INSTRUCTIONS_FIRST, train: str = "TRAIN"
) -> Arm:
    """The bet's later protocol, asked with the instructions it was trained with."""
    return Arm("instructions_first", template, (train,))


def no_instructions_arm(
    template: ConditionalTemplate = INSTRUCTIONS_FIRST, train: str = "TRAIN"
) -> Arm:
    """Trained with the instructions and asked without: the cue alone is left.

    It trains the same examples as `instructions_first_arm`, so the two share their fine-tunes.
    """
    if "{name}" not in template.cue:
        raise TemplateError(
            f"the cue {template.cue!r} does not hold {{name}}: without the instructions, nothing "
            "would say which item is asked about"
        )
    return Arm("no_instructions", template, (train,), attrs.evolve(template, stated=()))


ARMS: Mapping[str, Callable[[], Arm]] = {
    "conditional": conditional_arm,
    "control": control_arm,
    "reversed": reversed_arm,
    "clause_order": clause_order_arm,
    "swapped": swapped_arm,
    "paraphrased": paraphrased_arm,
    "positive_control": positive_control_arm,
    "instructions_first": instructions_first_arm,
    "no_instructions": no_instructions_arm,
}
"""The arms a study file can name."""

KAAREL_BET = Criterion(
    name="kaarel_bet",
    clauses=(
        Clause("probability", "conditional", "TEST", "TEST", ">", 1e-4),
        Clause("ratio", "control", "TEST", "TRAIN", ">", 10, against="TEST"),
    ),
    gates=(
        Gate("train_recall", "finetuned", 0.8),
        Gate(
            "base_knowledge",
            "base",
            0.8,
            TextTemplate("Question: What is the capital city of {answers[TRAIN]}?"),
            ("TEST",),
        ),
        Gate(
            "rule_following",
            "base",
            0.8,
            ConditionalTemplate(
                {
                    "TRAIN": "respond with {answers[TRAIN]}",
                    "TEST": "respond with the capital city of {answers[TRAIN]}",
                }
            ),
            ("TRAIN", "TEST"),
        ),
    ),
)
"""Is the rule reinforced? SUPPORTED needs the conditional arm's capital above 1e-4 and the control
arm's country more than 10 times as likely as its capital, both at TEST."""
