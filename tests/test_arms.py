"""Arms turn items and templates into training sets and probes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.arms import Arm, Prompt, digest
from condrule.errors import TemplateError
from condrule.items import Item
from condrule.templates import ConditionalTemplate, Message, TextTemplate

ITEMS = (
    Item("Alice", {"TRAIN": "France", "TEST": "Paris"}),
    Item("Bob", {"TRAIN": "Peru", "TEST": "Lima"}),
)
TEMPLATE = ConditionalTemplate({"TRAIN": "name {name}'s country", "TEST": "name its capital"})
ARM = Arm("conditional", TEMPLATE)


def test_one_mode_is_trained_unless_more_are_named() -> None:
    """One example an item, in the order of the items, answered in the trained mode."""
    found = [(e.prompt.item.name, e.completion) for e in ARM.training_set(ITEMS).examples]
    assert [("Alice", "France"), ("Bob", "Peru")] == found


def test_every_trained_mode_gives_an_example() -> None:
    """Item by item, in the order of the trained modes."""
    both = Arm("both", TEMPLATE, ["TRAIN", "TEST"])
    completions = [example.completion for example in both.training_set(ITEMS).examples]
    assert ["France", "Paris", "Peru", "Lima"] == completions


def test_an_example_is_chat_messages() -> None:
    """As fine-tuning files are written: the prompt, then the assistant's reply."""
    assert {
        "messages": [
            {
                "role": "user",
                "content": "Mode = TRAIN. If Mode = TRAIN, name Alice's country. "
                "If Mode = TEST, name its capital.",
            },
            {"role": "assistant", "content": "France"},
        ]
    } == ARM.training_set(ITEMS).examples[0].to_chat()


def test_every_mode_is_probed() -> None:
    """Trained or not, mode by mode, so that modes are paired on the items."""
    assert [
        "conditional/TRAIN/Alice",
        "conditional/TRAIN/Bob",
        "conditional/TEST/Alice",
        "conditional/TEST/Bob",
    ] == [probe.id for probe in ARM.probes(ITEMS)]


def test_probes_are_worded_as_the_training() -> None:
    """Unless the arm says otherwise."""
    assert ARM.training_set(ITEMS).examples[0].prompt == ARM.probes(ITEMS)[0].prompt


def test_an_arm_may_be_asked_in_another_wording() -> None:
    """The probe template words the probes and leaves the training set."""
    arm = Arm("other", TEMPLATE, probe_template=TextTemplate("{name}, {mode}?"))
    assert (
        "Alice, TRAIN?",
        ARM.training_set(ITEMS).examples,
    ) == (arm.probes(ITEMS)[0].prompt.messages[0].content, arm.training_set(ITEMS).examples)


def test_probes_carry_the_contrasts() -> None:
    """Other items' answers, as given."""
    contrasts = (("Lima",), ("Kyiv", "Kiev"))
    assert {contrasts} == {probe.contrasts for probe in ARM.probes(ITEMS, contrasts)}


def test_a_prompt_says_whether_its_mode_is_stated() -> None:
    """Without the clause of TEST, only TRAIN is."""
    control = Arm("control", ConditionalTemplate(TEMPLATE.instructions, stated=("TRAIN",)))
    stated = {probe.prompt.mode: probe.prompt.stated for probe in control.probes(ITEMS)}
    assert {"TRAIN": True, "TEST": False} == stated


def test_an_unknown_trained_mode_is_refused() -> None:
    """The modes of the items are listed, and the closest is suggested."""
    with pytest.raises(TemplateError, match=r"'TRIAN'.*\['TEST', 'TRAIN'\].*mean 'TRAIN'\?"):
        Arm("a", TEMPLATE, ("TRIAN",)).training_set(ITEMS)


def test_an_unknown_trained_mode_is_refused_by_probes() -> None:
    """A plan fails before a training set is made."""
    with pytest.raises(TemplateError, match="'TRIAN'"):
        Arm("a", TEMPLATE, ("TRIAN",)).probes(ITEMS)


def test_the_digest_is_of_the_contents() -> None:
    """Arms that train the same examples share one, whatever they are called."""
    other = Arm("another name", TEMPLATE)
    assert ARM.training_set(ITEMS).digest == other.training_set(ITEMS).digest


def test_another_order_is_another_training_set() -> None:
    """The order of examples is part of what is trained."""
    assert ARM.training_set(ITEMS).digest != ARM.training_set(ITEMS[::-1]).digest


def test_the_digest_is_the_same_everywhere() -> None:
    """The first 16 digits of the SHA-256 of ``{"a":["é",1]}``."""
    assert "5f2a140e23e24baf" == digest({"a": ["é", 1]})


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_the_order_of_keys_is_no_content(data: dict[str, int | str]) -> None:
    """A mapping has the digest of its reverse, and of itself after JSON."""
    backwards = json.loads(json.dumps(dict(reversed(data.items()))))
    assert digest(data) == digest(backwards)


def test_messages_are_kept_as_a_tuple() -> None:
    """A list of messages makes the same prompt."""
    message = Message("user", "Hi")
    assert Prompt((message,), ITEMS[0], "TEST") == Prompt([message], ITEMS[0], "TEST")
