from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse
from django.utils import translation

from accounts import roles
from accounts.models import Account
from accounts.viewers import Right
from forwarding.models import ForwardingAddress
from history.models import Entry
from mailhost import records
from mailhost.records import AutoReply as Recorded
from mailuser import standing
from mailuser.models import AccountRights, AutoReply, DomainRights
from mailuser.sessions import MailboxUser
from mailuser.sources import replies
from panel.history_words import words
from propagation.cancel import cancel
from propagation.models import Change
from remotemail.models import Action, MailAccess
from tests import factories
from tests.conftest import Cast
from tests.mailuser.people import as_user

FORM = {"on": "on", "subject": "不在", "text": "休みです。\r\n\tまた来週", "days": "3"}


@pytest.fixture
def user(tanaka: Account) -> Client:
    """The browser of tanaka's user."""
    return as_user(tanaka)


def save(client: Client, **fields: str) -> int:
    """Send the page of the auto-reply."""
    return client.post(reverse("mailbox_auto_reply"), FORM | fields).status_code


def held(change: Change | None) -> Any:
    """Return the record that a change puts."""
    assert change is not None
    return records.record_from(change.key, change.after or {})


def test_saving_proposes_the_record_and_switching_off_takes_it_back(
    tanaka: Account, user: Client
) -> None:
    assert save(user, starts="2026-12-28", ends="2027-01-04") == 302
    change = Change.objects.open().get()
    assert change.key == "reply:tanaka"
    assert change.made_by is None
    assert change.made_by_mailbox == "tanaka@example.com"
    assert held(change) == Recorded(
        "tanaka",
        "example.com",
        tanaka.pk.hex,
        "不在",
        "休みです。\n    また来週",
        "2026-12-28",
        "2027-01-04",
        3,
    )
    assert "不在" in user.get(reverse("mailbox_auto_reply")).text
    off = {name: value for name, value in FORM.items() if name != "on"}
    assert user.post(reverse("mailbox_auto_reply"), off).status_code == 302
    assert not Change.objects.open().exists()
    assert AutoReply.objects.get().text == "休みです。\n    また来週"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", ""),
        ("subject", "a\x07b"),
        ("subject", "x" * 201),
        ("text", " \r\n "),
        ("text", "a\x00b"),
        ("text", "a\u202eb"),
        ("text", "x" * 4001),
        ("days", "0"),
        ("days", "31"),
        ("ends", "yesterday"),
        ("ends", "2026-12-01"),
        ("starts", "1999-12-31"),
        ("ends", "2100-01-01"),
        ("ends", "9999-12-31"),
    ],
)
def test_bad_input_says_why_and_loses_nothing(user: Client, field: str, value: str) -> None:
    response = user.post(
        reverse("mailbox_auto_reply"), FORM | {"starts": "2026-12-28", field: value}
    )
    assert response.status_code == 422
    assert set(response.context["form"].errors) == {field}
    assert f'id="{field}-error"' in response.text
    if field != "text":
        assert "休みです。" in response.text
    assert not AutoReply.objects.exists()
    assert not Change.objects.open().exists()


def test_owner_sets_it_too_and_takes_it_back(tanaka: Account, sakura: Client) -> None:
    path = reverse("auto_reply", args=["example.com", tanaka.pk])
    assert sakura.post(path, FORM).status_code == 302
    change = Change.objects.open().get()
    assert change.made_by is not None
    assert replies.record(tanaka.server, "reply:tanaka") == held(change)
    factories.settle()
    assert sakura.post(path, FORM | {"text": "other"}).status_code == 302
    cancel(list(Change.objects.pending()))
    assert AutoReply.objects.get().text.startswith("休みです。")
    assert list(replies.records(tanaka.server)) == [AutoReply.objects.get().record()]


@pytest.mark.parametrize(
    "values",
    [
        {"subject": "a\u202eb"},
        {"subject": "x" * 201},
        {"text": "a\x00b"},
        {"text": "x" * 4001},
        {"text": " "},
        {"starts": date(1999, 12, 31)},
        {"ends": date(2100, 1, 1)},
        {"starts": date(2026, 12, 2), "ends": date(2026, 12, 1)},
        {"days": 31},
    ],
)
def test_whoever_writes_it_hears_what_is_wrong(tanaka: Account, values: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"on": True, "subject": "a", "text": "b", **values}
    with pytest.raises(ValidationError) as caught:
        AutoReply.objects.write(tanaka, **fields)
    assert set(caught.value.message_dict) <= set(values)
    assert not AutoReply.objects.exists()


TODAY = date(2026, 12, 3)


@pytest.mark.parametrize(
    ("days", "pending", "live"),
    [
        ({}, ("Scheduled", ""), ("On", "")),
        (
            {"starts": "2026-12-05"},
            ("Scheduled", "It answers from December 5."),
            ("Scheduled", "It answers from December 5."),
        ),
        (
            {"starts": "2026-12-01", "ends": "2027-01-04"},
            ("Scheduled", "It answers until Jan. 4, 2027."),
            ("On", "It answers until Jan. 4, 2027."),
        ),
        (
            {"ends": "2026-12-02"},
            ("Over", "Its last day, December 2, is past: it does not answer."),
            ("Over", "Its last day, December 2, is past: it does not answer."),
        ),
    ],
)
def test_page_says_on_only_while_it_answers(
    user: Client,
    monkeypatch: pytest.MonkeyPatch,
    days: dict[str, str],
    pending: tuple[str, str],
    live: tuple[str, str],
) -> None:
    monkeypatch.setattr(standing, "localdate", lambda: TODAY)
    assert standing_on(user) == "Off"
    save(user, **days)
    for word, sentence in (pending, live):
        page = user.get(reverse("mailbox_auto_reply"))
        assert standing_on(user) == word
        assert page.context["days"] == sentence
        assert sentence in page.text
        factories.settle()


def test_page_says_on_until_the_server_has_switched_it_off(user: Client) -> None:
    save(user)
    factories.settle()
    save(user, on="")
    assert standing_on(user) == "On"
    factories.settle()
    assert standing_on(user) == "Off"


def standing_on(client: Client, page: str = "mailbox_auto_reply") -> str:
    """Return the word by which a page says whether it is on."""
    text = client.get(reverse(page)).text
    word: str = re.findall(r'<section class="card"><p><span class="state \w+">([^<]+)<', text)[0]
    return word


def test_goes_with_the_account(tanaka: Account, user: Client) -> None:
    save(user)
    factories.settle()
    tanaka.refresh_from_db()
    tanaka.delete()
    assert not AutoReply.objects.exists()
    gone = Change.objects.open().get(key="reply:tanaka")
    assert gone.removes
    assert list(replies.records(gone.server)) == []


def test_account_whose_reply_is_off_goes_as_any_other(tanaka: Account, user: Client) -> None:
    save(user)
    factories.settle()
    save(user, on="")
    factories.settle()
    tanaka.refresh_from_db()
    tanaka.delete_later()
    assert "mailbox:tanaka" in factories.settle()
    assert not Account.objects.filter(name="tanaka").exists()
    assert not Change.objects.open().exists()


def test_account_that_is_taken_back_takes_its_reply_along(cast: Cast) -> None:
    new = factories.make_account(cast.com, "new")
    save(as_user(new))
    cancel(list(Change.objects.pending().filter(key="mailbox:new")))
    assert not Account.objects.filter(name="new").exists()
    assert not AutoReply.objects.exists()
    assert not Change.objects.open().filter(key="reply:new").exists()


def test_none_is_written_for_an_account_that_is_leaving(tanaka: Account) -> None:
    tanaka.delete_later()
    with pytest.raises(ValidationError):
        AutoReply.objects.write(tanaka, on=True, subject="a", text="b")


@pytest.mark.parametrize("values", [{"days": 0}, {"days": 31}, {"text": ""}, {"subject": ""}])
def test_database_keeps_the_rules(tanaka: Account, values: dict[str, Any]) -> None:
    fields = {"subject": "a", "text": "b", "days": 7} | values
    with pytest.raises(IntegrityError):
        AutoReply.objects.create(account=tanaka, **fields)


# Forwarding


def forward(client: Client, to: str, **fields: str) -> int:
    """Send the page of the user's own forwarding."""
    return client.post(reverse("mailbox_forwarding"), {"destination": to, **fields}).status_code


def test_forwards_his_mail_with_and_without_a_copy_and_no_more(
    tanaka: Account, user: Client
) -> None:
    assert forward(user, "me@outside.test", keep_copy="on") == 302
    row = ForwardingAddress.objects.get()
    assert row.leads_to() == ["tanaka@example.com", "me@outside.test"]
    change = Change.objects.open().get()
    assert change.made_by_mailbox == "tanaka@example.com"
    assert forward(user, "me@outside.test") == 302
    assert ForwardingAddress.objects.get().leads_to() == ["me@outside.test"]
    page = user.get(reverse("mailbox_forwarding"))
    assert "me@outside.test" in page.text
    assert forward(user, "", stop="1") == 302
    assert not ForwardingAddress.objects.exists()
    assert forward(user, "no address") == 422


def test_a_circle_is_refused_without_naming_whom_it_leads_over(
    cast: Cast, tanaka: Account, user: Client
) -> None:
    factories.make_forward(cast.com, "secret-team", "tanaka@example.com")
    factories.make_forward(cast.com, "all", "secret-team@example.com")
    factories.settle()
    response = user.post(reverse("mailbox_forwarding"), {"destination": "all@example.com"})
    assert response.status_code == 422
    assert "circle" in response.text
    assert "secret-team" not in response.text


def test_forwarding_is_on_once_the_server_has_it(user: Client) -> None:
    assert standing_on(user, "mailbox_forwarding") == "Off"
    forward(user, "me@outside.test", keep_copy="on")
    assert standing_on(user, "mailbox_forwarding") == "Scheduled"
    factories.settle()
    assert standing_on(user, "mailbox_forwarding") == "On"
    forward(user, "", stop="1")
    assert standing_on(user, "mailbox_forwarding") == "On"
    factories.settle()
    assert standing_on(user, "mailbox_forwarding") == "Off"


def test_home_shows_what_is_on_and_what_waits(tanaka: Account, user: Client) -> None:
    home = reverse("mailbox_home")
    save(user)
    forward(user, "me@outside.test")
    page = user.get(home)
    assert [words for words, _progress in page.context["pending"]] == [
        "Switch on the auto-reply of tanaka",
        "Forward tanaka@example.com to me@outside.test",
    ]
    assert "Pending changes" in page.text
    assert NEVER_SENT in page.text
    assert (page.context["reply_stage"], page.context["forwarding_stage"]) == ("scheduled",) * 2
    factories.settle()
    page = user.get(home)
    assert page.context["pending"] == []
    assert (page.context["reply_stage"], page.context["forwarding_stage"]) == ("on", "on")
    save(user, on="")
    forward(user, "", stop="1")
    DomainRights.objects.create(domain=tanaka.domain, reply=False, forward=False)
    assert user.get(home).context["pending"] == []


def test_owner_finds_the_auto_reply_beside_the_account(tanaka: Account, sakura: Client) -> None:
    page = sakura.get(reverse("user_manager", args=["example.com"])).text
    assert reverse("auto_reply", args=["example.com", tanaka.pk]) in page


NEVER_SENT = "never sent"


def test_forwarding_past_the_mailbox_is_told_wherever_it_silences_the_reply(
    tanaka: Account, user: Client, sakura: Client
) -> None:
    pages = [(user, reverse("mailbox_auto_reply")), (user, reverse("mailbox_forwarding"))]
    pages.append((sakura, reverse("auto_reply", args=["example.com", tanaka.pk])))
    save(user)
    forward(user, "me@outside.test", keep_copy="on")
    row = ForwardingAddress.objects.get()
    pages.append((sakura, reverse("change_forwarding", args=["example.com", row.pk])))
    factories.settle()
    for client, path in pages:
        assert NEVER_SENT not in client.get(path).text, path
    forward(user, "me@outside.test")
    for client, path in pages:
        assert NEVER_SENT in client.get(path).text, path
    assert standing_on(user) == "Does not answer"
    save(user, on="")
    for client, path in pages:
        assert NEVER_SENT not in client.get(path).text, path


def test_owner_who_forwards_past_an_auto_reply_is_told(
    tanaka: Account, user: Client, sakura: Client
) -> None:
    save(user)
    add = reverse("email_forwarding", args=["example.com"])
    to = {"local_part": "tanaka", "destination": "me@outside.test"}
    assert NEVER_SENT in sakura.post(add, to, follow=True).text
    row = ForwardingAddress.objects.get()
    change = reverse("change_forwarding", args=["example.com", row.pk])
    assert NEVER_SENT not in sakura.post(change, to | {"keep_copy": "on"}, follow=True).text
    assert NEVER_SENT in sakura.post(change, to, follow=True).text


# Rights


def test_owner_chooses_for_all_and_for_one(cast: Cast, tanaka: Account, sakura: Client) -> None:
    all_of_them = reverse("mailbox_rights", args=["example.com"])
    one = reverse("account_rights", args=["example.com", tanaka.pk])
    assert sakura.post(all_of_them, {"login": "on", "mail": "on"}).status_code == 302
    client = as_user(tanaka)
    assert client.get(reverse("mailbox_archives")).status_code == 403
    assert sakura.post(one, {"login": "on", "archives": "on"}).status_code == 302
    assert client.get(reverse("mailbox_archives")).status_code == 200
    assert client.get(reverse("mailbox_change_password")).status_code == 403
    assert sakura.post(one, {"usual": "1"}).status_code == 302
    assert client.get(reverse("mailbox_archives")).status_code == 403
    assert "tanaka" not in sakura.get(all_of_them).text


def told(kind: str) -> list[str]:
    """Return what the history says of this kind of thing, the oldest first."""
    area, _dot, what = kind.partition(".")
    entries = Entry.objects.filter(area=area, what=what).order_by("pk")
    with translation.override("en"):
        return [f"{entry.get_hand_display()}: {words(entry)}" for entry in entries]


def test_history_says_what_the_owner_allows_and_forbids(
    cast: Cast, tanaka: Account, sakura: Client
) -> None:
    everything = dict.fromkeys([right.value for right in Right], "on")
    all_of_them = reverse("mailbox_rights", args=["example.com"])
    one = reverse("account_rights", args=["example.com", tanaka.pk])
    for form in ({}, {"forward": ""}, {"forward": ""}, {}):
        sakura.post(all_of_them, everything | form)
    begin = "Customer: What users of mailboxes may do was changed: "
    assert told("rights.domain") == [
        f"{begin}forbidden: forward his mail",
        f"{begin}allowed: forward his mail",
    ]
    for form in ({}, {"reply": ""}, {"reply": ""}, {"usual": "1"}, {"usual": "1"}):
        sakura.post(one, everything | form)
    begin = "Customer: What the mailbox's user may do was changed"
    assert told("rights.mailbox") == [
        begin,
        f"{begin}: forbidden: set up an auto-reply",
        f"{begin}: as for the whole domain; allowed: set up an auto-reply",
    ]


def test_history_tells_of_a_text_that_is_edited_while_it_is_off(user: Client) -> None:
    draft = {"on": "", "text": "Later."}
    for form in (draft, draft, draft | {"days": "4"}, FORM):
        save(user, **form)
    assert told("reply.draft") == ["Mailbox user: Text of the auto-reply changed, which is off"] * 2


def test_no_page_of_a_mailboxs_user_is_without_a_right() -> None:
    for guard in (roles.for_viewer, roles.of_account, roles.in_mailbox):
        with pytest.raises(TypeError):
            guard()  # type: ignore[call-arg]


def test_who_sees_nothing_deletes_nothing(tanaka: Account, sakura: Client) -> None:
    path = reverse("account_rights", args=["example.com", tanaka.pk])
    refused = sakura.post(path, {"login": "on", "remove": "on"})
    assert refused.status_code == 422
    assert not AccountRights.objects.exists()
    with pytest.raises(IntegrityError):
        DomainRights.objects.create(domain=tanaka.domain, remove=True, mail=False, archives=False)


def test_access_to_his_mail_is_on_record_under_his_address(tanaka: Account) -> None:
    MailAccess.objects.note(
        by=MailboxUser(tanaka), account=tanaka, action=Action.LIST, address="", folder="INBOX"
    )
    access = MailAccess.objects.get()
    assert access.user is None
    assert access.user_name == "tanaka@example.com"
