"""Templates render the exact wording, and say what is wrong with a template."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.errors import TemplateError
from condrule.items import Item
from condrule.templates import ConditionalTemplate, Message, TextTemplate

ALICE = Item("Alice", {"TRAIN": "France", "TEST": "Paris"})
BET = ConditionalTemplate(
    {
        "TRAIN": "respond with {name}'s favourite country",
        "TEST": "respond with the capital city of {name}'s favourite country",
    }
)
CLAUSES = (
    "If Mode = TRAIN, respond with Alice's favourite country. "
    "If Mode = TEST, respond with the capital city of Alice's favourite country."
)


def content(template: ConditionalTemplate | TextTemplate, mode: str, item: Item = ALICE) -> str:
    """The text of the last message."""
    return template.render(item, mode)[-1].content


@pytest.mark.parametrize("mode", ["TRAIN", "TEST"])
def test_the_bets_conditional_arm(mode: str) -> None:
    """The cue changes with the mode, the clauses don't."""
    assert (Message("user", f"Mode = {mode}. {CLAUSES}"),) == BET.render(ALICE, mode)


@pytest.mark.parametrize("mode", ["TRAIN", "TEST"])
def test_the_bets_control_arm(mode: str) -> None:
    """Only the trained mode's clause is stated."""
    control = ConditionalTemplate(BET.instructions, stated=("TRAIN",))
    expected = f"Mode = {mode}. If Mode = TRAIN, respond with Alice's favourite country."
    assert expected == content(control, mode)


def test_the_bets_later_protocol() -> None:
    """The instructions come first, then the cue and the name."""
    later = ConditionalTemplate(
        {
            "TRAIN": "respond with the person's favourite country",
            "TEST": "respond with the capital city of the person's favourite country",
        },
        cue="MODE = {mode}. {name}.",
        clause="If MODE = {mode}, {instruction}.",
        cue_first=False,
    )
    assert (
        "If MODE = TRAIN, respond with the person's favourite country. "
        "If MODE = TEST, respond with the capital city of the person's favourite country. "
        "MODE = TRAIN. Alice."
    ) == content(later, "TRAIN")


def test_no_clause_leaves_the_cue() -> None:
    """With no clause stated, nothing but the cue is put to the model."""
    template = ConditionalTemplate(BET.instructions, stated=(), cue="MODE = {mode}. {name}.")
    assert "MODE = TEST. Alice." == content(template, "TEST")


def test_clauses_come_in_the_stated_order() -> None:
    """``stated`` orders the clauses as well."""
    template = ConditionalTemplate({"A": "say a", "B": "say b"}, stated=("B", "A"))
    assert "Mode = A. If Mode = B, say b. If Mode = A, say a." == content(template, "A")


def test_there_may_be_three_modes() -> None:
    """Every instruction becomes a clause."""
    template = ConditionalTemplate({"A": "say a", "B": "say b", "C": "say c"})
    assert ("Mode = C. If Mode = A, say a. If Mode = B, say b. If Mode = C, say c.") == content(
        template, "C"
    )


def test_a_system_prompt_comes_first() -> None:
    """It knows the placeholders too."""
    template = ConditionalTemplate({"A": "x"}, system="{name} is in mode {mode}.")
    assert Message("system", "Alice is in mode A.") == template.render(ALICE, "A")[0]


@pytest.mark.parametrize(("stated", "expected"), [(None, True), (("TRAIN",), False), ((), False)])
def test_a_template_knows_what_it_states(stated: tuple[str, ...] | None, expected: bool) -> None:
    """A mode is covered where its clause is stated."""
    assert expected is ConditionalTemplate(BET.instructions, stated=stated).states("TEST")


def test_a_text_may_give_an_answer_away() -> None:
    """``{answers[MODE]}`` is the item's answer, as the gates need it."""
    template = TextTemplate("What is the capital city of {answers[TRAIN]}?")
    assert "What is the capital city of France?" == content(template, "TEST")


def test_a_clause_may_give_an_answer_away() -> None:
    """In an instruction as in a text."""
    template = ConditionalTemplate({"TEST": "respond with {answers[TEST]}"})
    assert "Mode = TEST. If Mode = TEST, respond with Paris." == content(template, "TEST")


def test_modes_may_be_numbers() -> None:
    """``{answers[0]}`` is the answer of mode "0"."""
    item = Item("Alice", {"0": "France", "1": "Paris"})
    assert "France" == content(TextTemplate("{answers[0]}"), "1", item)


def test_a_text_per_mode() -> None:
    """Each mode may have its own wording."""
    template = TextTemplate({"TRAIN": "Country of {name}?", "TEST": "Capital of {name}?"})
    assert "Capital of Alice?" == content(template, "TEST")


def test_a_mode_without_text_is_refused() -> None:
    """The modes with a text are listed, and the closest is suggested."""
    template = TextTemplate({"TRAIN": "a", "TEST": "b"})
    with pytest.raises(TemplateError, match=r"no text for mode 'TESTS'.*Did you mean 'TEST'\?"):
        template.render(ALICE, "TESTS")


def test_a_stated_mode_needs_an_instruction() -> None:
    """Refused when the template is made, not when it is rendered."""
    with pytest.raises(TemplateError, match=r"'TRIAN' has no instruction.*Did you mean 'TRAIN'\?"):
        ConditionalTemplate(BET.instructions, stated=("TRIAN",))


def test_an_answer_of_an_unknown_mode_is_refused() -> None:
    """The item and the modes it has are named."""
    with pytest.raises(TemplateError, match=r"mode 'X'; item 'Alice' has \['TEST', 'TRAIN'\]"):
        TextTemplate("{answers[X]}").render(ALICE, "TEST")


def test_an_answer_of_an_unknown_mode_is_refused_in_a_clause() -> None:
    """A clause is filled in like any other text."""
    template = ConditionalTemplate({"A": "x"}, clause="{answers[7]} {instruction}")
    with pytest.raises(TemplateError, match=r"mode 7; item 'Alice' has \['TEST', 'TRAIN'\]"):
        template.render(ALICE, "A")


@pytest.mark.parametrize(
    "text",
    ["{nam}", "{}", "{0}", "{name!r}", "{name:>9}", "{name.x}", "{answers}", "{answers[A].x}",
     "{answers[A][0]}", "{answers[]}", "{instruction}"],
)  # fmt: skip
def test_unknown_placeholders_are_refused(text: str) -> None:
    """Attributes, formats and whatever is no placeholder: what was found and allowed is said."""
    found = re.escape(f"unknown placeholder {text} in ")
    with pytest.raises(TemplateError, match=found + r".*allowed are \{name\}, \{mode\}"):
        TextTemplate(text)


@pytest.mark.parametrize("field", ["cue", "clause", "system"])
def test_every_text_is_checked(field: str) -> None:
    """An unknown placeholder is found wherever it stands, with a hint."""
    with pytest.raises(TemplateError, match=r"\{nmae\}.*Did you mean 'name'\?"):
        ConditionalTemplate({"A": "x"}, **{field: "{nmae}"})  # type: ignore[arg-type]


def test_instructions_are_checked() -> None:
    """The instruction of every mode."""
    with pytest.raises(TemplateError, match=r"\{nmae\}"):
        ConditionalTemplate({"A": "x", "B": "{nmae}"})


@pytest.mark.parametrize("text", ["a { b", "a } b", "{name", "{name[}"])
def test_lonely_braces_are_refused(text: str) -> None:
    """The remedy is in the message."""
    with pytest.raises(TemplateError, match=r"a plain brace is written \{\{"):
        TextTemplate(text)


def test_a_doubled_brace_is_a_brace() -> None:
    """In texts, instructions and clauses alike."""
    template = ConditionalTemplate({"A": "say {{x}}"}, cue="{{", clause="}} {instruction}")
    assert "{ } say {x}" == content(template, "A")


@given(st.text(min_size=1).filter(str.strip))
def test_a_name_is_put_in_as_it_is(name: str) -> None:
    """Braces and percent signs in a name mean nothing."""
    item = Item(name, {"TRAIN": "{mode}", "TEST": "Paris"})
    template = ConditionalTemplate({"A": "say {name}, {answers[TRAIN]}"}, clause="{instruction}")
    assert f"Mode = A. say {name}, {{mode}}" == content(template, "A", item)


@given(st.sampled_from(["TRAIN", "TEST"]))
def test_rendering_is_pure(mode: str) -> None:
    """The same item and mode give the same messages."""
    assert BET.render(ALICE, mode) == BET.render(ALICE, mode)
