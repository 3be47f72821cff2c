"""What holds for every prompt template."""

from __future__ import annotations

import pytest

from condrule.bundled import favourite_countries
from condrule.errors import TemplateError
from condrule.items import ItemSet
from condrule.templates import Message, PromptTemplate
from condrule.testing.plugin import check_frozen, check_named

__all__ = ["TemplateSuite"]

ROLES = ("system", "user", "assistant")


class TemplateSuite:
    """Proves a `PromptTemplate`. Give the fixture ``template``; ``items`` and ``modes`` are those
    that it is asked to render."""

    @pytest.fixture
    def template(self) -> PromptTemplate:
        """The template to prove."""
        raise NotImplementedError("a TemplateSuite needs a fixture 'template'")

    @pytest.fixture
    def items(self) -> ItemSet:
        """Items that the template can render."""
        return favourite_countries(n=6)

    @pytest.fixture
    def modes(self, items: ItemSet) -> tuple[str, ...]:
        """Modes that the template covers."""
        return tuple(items[0].answers)

    def test_it_can_be_frozen(self, template: PromptTemplate) -> None:
        """Its fields are plain data, and equal templates are the same study."""
        check_frozen(template)

    def test_a_study_file_can_name_it(self, template: PromptTemplate) -> None:
        """An entry point of the group condrule.templates leads to it."""
        check_named("templates", template)

    def test_it_renders_chat_messages(
        self, template: PromptTemplate, items: ItemSet, modes: tuple[str, ...]
    ) -> None:
        """A tuple of messages with known roles and some text; the model speaks next."""
        for item in items:
            for mode in modes:
                messages = template.render(item, mode)
                assert isinstance(messages, tuple)
                assert all(isinstance(one, Message) and one.content for one in messages)
                assert {one.role for one in messages} <= set(ROLES)
                assert messages[-1].role != "assistant"

    def test_it_is_pure(
        self, template: PromptTemplate, items: ItemSet, modes: tuple[str, ...]
    ) -> None:
        """The same item and mode give the same messages, in whatever order they are rendered."""
        pairs = [(item, mode) for item in items for mode in modes]
        there = [template.render(*pair) for pair in pairs]
        back = [template.render(*pair) for pair in reversed(pairs)]
        assert there == back[::-1]

    def test_items_are_told_apart(
        self, template: PromptTemplate, items: ItemSet, modes: tuple[str, ...]
    ) -> None:
        """In one mode, no two items have the same prompt: their answers differ."""
        for mode in modes:
            assert len(items) == len({template.render(item, mode) for item in items})

    def test_a_mode_it_does_not_cover_is_refused(
        self, template: PromptTemplate, items: ItemSet
    ) -> None:
        """With a TemplateError, unless every mode has a rendering."""
        try:
            messages = template.render(items[0], "no such mode")
        except TemplateError:
            return
        assert messages

    def test_it_says_which_modes_it_states(
        self, template: PromptTemplate, modes: tuple[str, ...]
    ) -> None:
        """``states`` answers with a truth value for every mode."""
        assert {type(template.states(mode)) for mode in modes} == {bool}
