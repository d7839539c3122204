"""A part of a page that was drawn for one reader is another's only if it looks the same."""

from __future__ import annotations

from django.template import Context, Template
from django.utils import translation

from panel.templatetags.drawn import _drawn

PAGE = '{% load drawn %}{% drawn "_search.html" label=label q=q sort="name" %}'


def _page(**values: str) -> str:
    return Template(PAGE).render(Context(values))


def test_each_language_and_each_fact_is_drawn_for_itself() -> None:
    with translation.override("ja"):
        japanese = _page(label="L", q="info")
    with translation.override("en"):
        english = _page(label="L", q="info")
        other = _page(label="L", q="<b>")
    assert "Show all" in english
    assert "Show all" not in japanese
    assert 'value="info"' in english
    assert 'value="&lt;b&gt;"' in other


def test_the_same_is_drawn_once() -> None:
    with translation.override("en"):
        _page(label="once", q="")
        before = _drawn.cache_info()
        _page(label="once", q="")
    after = _drawn.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


def test_nothing_but_the_facts_is_seen() -> None:
    with translation.override("en"):
        text = Template('{% load drawn %}{% drawn "_search.html" q="" %}').render(
            Context({"label": "of the page"})
        )
    assert "of the page" not in text
