"""The guide's pages: complete in both languages, and reached from where a question arises."""

from __future__ import annotations

import re

import pytest
from django.utils import translation

from panel import guide
from plusmail.urls import of_a_domain, of_a_mailbox
from tests.conftest import Cast, browser, logged_in

#: What is a file, or sends on and shows nothing.
NO_PAGES = {
    *("csv_accounts", "csv_forwards", "client_settings_qr", "client_settings_sheet"),
    *("remote_download", "archive_download"),
}


def test_both_languages_have_the_same_sections_in_the_same_order() -> None:
    with translation.override("ja"):
        japanese = guide.sections()
    with translation.override("en"):
        english = guide.sections()
    assert list(japanese) == list(english)
    assert len(english) > 20
    for name, section in english.items():
        assert section.html
        assert section.title != japanese[name].title, name


def test_no_space_stands_where_a_line_of_japanese_was_broken() -> None:
    with translation.override("ja"):
        text = " ".join(section.html for section in guide.sections().values())
    assert not re.search(r"[ぁ-ん。、]\n[ぁ-ん一-龠]", text)


@pytest.mark.parametrize("pattern", [*of_a_domain, *of_a_mailbox], ids=str)
def test_each_page_has_a_section(pattern: object) -> None:
    name: str = getattr(pattern, "name")  # noqa: B009 (URLPattern's, not URLResolver's)
    if name.removeprefix("mailbox_") in NO_PAGES:
        assert guide.section_of(name) is None
    else:
        assert guide.section_of(name) is not None


def test_each_section_is_about_a_page() -> None:
    assert set(guide.SECTION_OF.values()) == set(guide.sections())
    assert set(guide.MORE) <= set(guide.sections())


@pytest.mark.django_db
def test_page_leads_to_what_the_guide_says_about_it(cast: Cast) -> None:
    page = logged_in(cast.sakura.user).get("/domains/example.com/forwarding/").text
    assert '<a href="/help/#forwarding">' in page


@pytest.mark.django_db
def test_whoever_has_forgotten_his_password_can_read_it_too() -> None:
    for language, words in (("en", "Add a POP account"), ("ja", "POPアカウントを追加する")):
        page = browser(language).get("/help/")
        assert page.status_code == 200
        assert words in page.text
        assert '<h2 id="taken-names">' in page.text
        assert "<table>" in page.text
        assert "<img" not in page.text
        assert "<!--" not in page.text
    assert '<a href="/help/sending">' in page.text
