"""The customers' guide as pages: the manual in today's words, and what of it is about which page.

The guide itself is docs/customer-guide.LANGUAGE.md. A comment before each heading names the
section; the names are the same in each language.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from markdown_it import MarkdownIt

#: The section about each page, by the page's name; a mailbox user's page has the owner's.
SECTION_OF = {
    "domain_home": "until-it-takes-effect",
    "cancel_change": "until-it-takes-effect",
    "user_manager": "accounts",
    "assistant": "taken-names",
    "change_password": "passwords",
    "delete_account": "deleting",
    "mailbox_rights": "mailbox-users",
    "account_rights": "mailbox-users",
    "home": "mailbox-users",
    "auto_reply": "auto-reply",
    "account_ftp": "ftp",
    "account_ssh": "ssh",
    "remote_mail": "mail-on-the-server",
    "remote_delete": "mail-on-the-server",
    "remote_trail": "mail-on-the-server",
    "remote_message": "mail-on-the-server",
    "email_forwarding": "forwarding",
    "forwarding": "forwarding",
    "catch_all": "forwarding",
    "change_forwarding": "forwarding",
    "delete_forwarding": "forwarding",
    "mailing_lists": "lists",
    "mailing_list": "lists",
    "change_list": "lists",
    "delete_list": "lists",
    "mailboxes": "mailboxes",
    "archive_now": "archives",
    "archives": "archives",
    "archive": "archives",
    "archive_message": "archives",
    "archive_put_back": "archives",
    "archive_delete": "archives",
    "archive_job": "archives",
    "sending": "sending",
    "account_sending": "sending",
    "check_sending": "sending",
    "why": "arriving",
    "address_map": "arriving",
    "webmail": "webmail",
    "remove_webmail": "webmail",
    "domain_settings": "mail-programs",
    "client_settings": "mail-programs",
    "history": "history",
    "csv_home": "csv",
    "csv_import": "csv",
    "orders_options": "options",
    "orders_order": "options",
    "orders_take_back": "options",
    "contact": "contact",
}
#: Pages that say more about a section, by their names.
MORE = {
    "sending": "help_sending",
    "mailboxes": "help_mailbox",
    "archives": "help_mailbox",
    "mail-on-the-server": "help_remote_mail",
    "mail-programs": "help_mail_program",
    "webmail": "help_webmail",
}
_SECTION = re.compile(r"^<!-- ([a-z-]+) -->\n## (.+)\n", re.MULTILINE)
# Where a line of Japanese goes on in the next one: no space stands there.
_GOES_ON = re.compile(r"(?<=[^\x00-\x7f])\n {0,3}(?=[^\x00-\x7f])")
# A heading names the page in brackets, which whoever comes from that page need not be told.
_PAGE = re.compile(r" ?\([^()]*\)$")


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the guide: its name in addresses, its heading, and the text as HTML."""

    name: str
    title: str
    html: SafeString

    @property
    def more(self) -> str:
        """Name the page that says more, or ""."""
        return MORE.get(self.name, "")

    @property
    def short_title(self) -> str:
        """Return the heading without the page that it is about."""
        return _PAGE.sub("", self.title)


def sections() -> dict[str, Section]:
    """Return the guide in the reader's language, in its order, by the sections' names."""
    return _read("en" if get_language() == "en" else "ja")


def section_of(page: str) -> Section | None:
    """Return the section about a page, if there is one."""
    name = SECTION_OF.get(page) or SECTION_OF.get(page.removeprefix("mailbox_"))
    return sections()[name] if name else None


@lru_cache
def _read(language: str) -> dict[str, Section]:
    text = (settings.BASE_DIR / "docs" / f"customer-guide.{language}.md").read_text("utf-8")
    # What is written there is ours; nothing in it is HTML, and pictures are the documents' alone.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("image", lambda *_: "")
    _before, *parts = _SECTION.split(_GOES_ON.sub("", text))
    named = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return {
        name: Section(name, title, mark_safe(markdown.render(body)))  # noqa: S308 (see above)
        for name, title, body in named
    }


@never_cache
@require_safe
def help_guide(request: HttpRequest) -> HttpResponse:
    """Show the whole guide, to everybody: logged in or not."""
    return render(request, "panel/guide.html", {"sections": sections().values()})
