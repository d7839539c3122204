"""Sentences that are translated each by itself."""

from __future__ import annotations

from django.template import Context, Template
from django.utils import translation

PAGE = "{% load sentences %}One.{% between %}Two."


def test_space_is_between_sentences_but_not_in_japanese() -> None:
    for language, said in (("en", "One. Two."), ("ja", "One.Two.")):
        with translation.override(language):
            assert Template(PAGE).render(Context()) == said
