"""The operator's pages: every list opens, every action does what it says, no hash is shown."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts.models import Account, Domain, Plan
from forwarding.models import ForwardingAddress
from mailhost.host import Status
from propagation.models import Change, ChangeState, MailServer
from tests import factories
from tests.conftest import Cast

OURS = sorted(
    model._meta.label_lower
    for model in admin.site._registry
    if model._meta.app_label in {"accounts", "forwarding", "propagation"}
)


def path(label: str, page: str = "changelist", *args: object) -> str:
    """Return the address of an admin page."""
    return reverse(f"admin:{label.replace('.', '_')}_{page}", args=args)


def act(client: Client, label: str, action: str, *rows: object) -> str:
    """Choose rows and an action; return the page that follows."""
    form = {"action": action, "_selected_action": [str(row) for row in rows]}
    return client.post(path(label), form, follow=True).text


@pytest.fixture
def busy(cast: Cast) -> Account:
    """Rows of every kind; the account is live."""
    account = factories.make_account(cast.com, "tanaka")
    gone = factories.make_account(cast.com, "gone")
    factories.make_forward(cast.com, "info", account.address)
    factories.make_list(cast.com, "club", account.address)
    factories.settle()
    gone.delete_later()
    factories.settle()
    account.set_password("another-long-word")
    return account


@pytest.mark.long
@pytest.mark.parametrize("label", OURS)
def test_list_and_rows_open_and_show_no_hash(busy: Account, operator: Client, label: str) -> None:
    model = next(one for one in admin.site._registry if one._meta.label_lower == label)
    pages = [path(label), f"{path(label)}?q=example"]
    pages += [path(label, "change", row.pk) for row in model._default_manager.all()[:5]]
    for page in pages:
        response = operator.get(page)
        assert response.status_code == 200, page
        assert "$6$" not in response.text, page
        assert "password_hash" not in response.text, page


def test_every_kind_of_row_has_its_page() -> None:
    assert {
        "accounts.account",
        "accounts.customer",
        "accounts.deletedaccount",
        "accounts.domain",
        "accounts.plan",
        "accounts.user",
        "forwarding.forwardingaddress",
        "forwarding.mailinglist",
        "propagation.change",
        "propagation.mailserver",
    } <= set(OURS)


def test_domain_is_opened_with_its_fixed_account(cast: Cast, operator: Client) -> None:
    form = {
        "customer": cast.sakura.pk,
        "name": "shop.example",
        "plan": cast.plan.pk,
        "server": cast.server.pk,
        "password": factories.PASSWORD,
    }
    operator.post(path("accounts.domain", "add"), form)
    assert Domain.objects.get(name="shop.example").fixed_account.address == "shop@shop.example"


def test_label_of_another_customer_is_refused_with_a_free_server(
    cast: Cast, operator: Client
) -> None:
    factories.make_server("mail2.plusmail.test")
    form = {
        "customer": cast.wakaba.pk,
        "name": "example.org",
        "plan": cast.plan.pk,
        "server": cast.server.pk,
        "password": "",
    }
    response = operator.post(path("accounts.domain", "add"), form)
    assert response.status_code == 200
    assert "It is free on: mail2.plusmail.test." in response.text
    assert 'value="example.org"' in response.text
    assert not Domain.objects.filter(name="example.org").exists()


def test_account_is_opened_and_a_taken_name_refused(cast: Cast, operator: Client) -> None:
    form = {"domain": cast.com.pk, "name": "info", "password": factories.PASSWORD}
    operator.post(path("accounts.account", "add"), form)
    assert Account.objects.filter(name="info", domain=cast.com).exists()
    text = operator.post(path("accounts.account", "add"), form).text
    assert "Error: User exists. Choose another username." in text


def test_forward_is_opened(cast: Cast, operator: Client) -> None:
    form = {"domain": cast.com.pk, "local_part": "info", "destinations": "x@example.org\ny@x.test"}
    operator.post(path("forwarding.forwardingaddress", "add"), form)
    row = ForwardingAddress.objects.get(local_part="info")
    assert row.leads_to() == ["x@example.org", "y@x.test"]


def test_other_size_of_a_mailbox_is_brought_to_the_server(busy: Account, operator: Client) -> None:
    form = {"quota_bytes": "5000000"}
    operator.post(path("accounts.account", "change", busy.pk), form)
    after = factories.pending(busy.key).after
    assert after is not None
    assert after["quota_bytes"] == 5_000_000


def test_forward_is_led_elsewhere_by_the_customers_rules(cast: Cast, operator: Client) -> None:
    row = factories.make_forward(cast.com, "info", "x@example.org")
    factories.settle()
    page = path("forwarding.forwardingaddress", "change", row.pk)
    assert "x@example.org</textarea>" in operator.get(page).text
    response = operator.post(page, {"destinations": "x@日本語.jp\nY@Example.com"})
    assert response.status_code == 302
    row = ForwardingAddress.objects.get(pk=row.pk)
    assert row.leads_to() == ["x@xn--wgv71a119e.jp", "y@example.com"]
    change = factories.pending(row.key)
    assert change.made_by == cast.operator
    assert "x@日本語.jp\ny@example.com</textarea>" in operator.get(page).text


@pytest.mark.parametrize(
    ("destinations", "words"),
    [
        ("nonsense", "is not an address"),
        ("info@example.com", "no mailbox info@example.com"),
        ("b@example.com", "round in a circle"),
        ("", "This field is required"),
    ],
)
def test_refused_destinations_stand_on_the_form(
    cast: Cast, operator: Client, destinations: str, words: str
) -> None:
    row = factories.make_forward(cast.com, "info", "x@example.org")
    factories.make_forward(cast.com, "b", "info@example.com")
    factories.settle()
    page = path("forwarding.forwardingaddress", "change", row.pk)
    response = operator.post(page, {"destinations": destinations})
    assert response.status_code == 200
    assert words in response.text
    assert f"{destinations}</textarea>" in response.text
    assert ForwardingAddress.objects.get(pk=row.pk).leads_to() == ["x@example.org"]
    assert not Change.objects.pending().exists()


def test_forward_saved_as_it_was_keeps_its_time(cast: Cast, operator: Client) -> None:
    row = factories.make_forward(cast.com, "info", "x@example.org")
    before = factories.pending(row.key).pk
    page = path("forwarding.forwardingaddress", "change", row.pk)
    assert operator.post(page, {"destinations": "x@example.org"}).status_code == 302
    assert factories.pending(row.key).pk == before


def test_other_plan_is_brought_to_the_server(busy: Account, operator: Client) -> None:
    big = factories.make_plan("big", mailbox_bytes=20_000_000)
    operator.post(
        path("accounts.domain", "change", busy.domain_id), {"plan": big.pk, "extra_accounts": 0}
    )
    assert Domain.objects.get(pk=busy.domain_id).plan == big
    after = factories.pending("domain:example.com").after
    assert after is not None
    assert after["plan"] == "big"


def test_plan_with_fewer_accounts_is_taken_and_said(busy: Account, operator: Client) -> None:
    small = factories.make_plan("small", account_limit=1)
    page = path("accounts.domain", "change", busy.domain_id)
    text = operator.post(page, {"plan": small.pk, "extra_accounts": 0}, follow=True).text
    assert "The limit is now 1 accounts, and example.com uses 2. They stay;" in text
    assert Domain.objects.get(pk=busy.domain_id).plan == small
    assert Account.objects.filter(domain=busy.domain_id).count() == 2


def test_accounts_are_deleted_after_the_delay(busy: Account, operator: Client) -> None:
    fixed = busy.domain.fixed_account
    text = act(operator, "accounts.account", "delete_after_the_delay", busy.pk, fixed.pk)
    assert factories.pending(busy.key).removes
    assert "This account is fixed" in text
    assert factories.state_of(fixed.key) == ChangeState.APPLIED


@pytest.fixture
def japanese(cast: Cast) -> Domain:
    """A domain of sakura's in Japanese."""
    return factories.make_domain(
        "日本語.jp", customer=cast.sakura, plan=cast.plan, server=cast.server
    )


def found(client: Client, label: str, query: str) -> list[str]:
    """Return the first column of the rows that a search or a filter leaves."""
    text = client.get(f"{path(label)}?{query}").text
    return re.findall(r'<th class="field-[^>]*><a [^>]*>([^<]*)</a>', text)


def test_outbox_says_in_words_what_each_change_does(
    busy: Account, japanese: Domain, operator: Client
) -> None:
    factories.make_forward(japanese, "info", "tanaka@example.com")
    words = found(operator, "propagation.change", "state=pending")
    assert words == [
        "Forward info@日本語.jp to tanaka@example.com",
        "Add the account xn--wgv71a119e",
        "Open the domain 日本語.jp",
        "Change the password of tanaka",
    ]
    page = path("propagation.change", "change", factories.pending(busy.key).pk)
    assert "Change the password of tanaka" in operator.get(page).text


def test_outbox_is_found_by_address_domain_kind_state_and_server(
    busy: Account, japanese: Domain, operator: Client
) -> None:
    factories.make_account(japanese, "info")
    label = "propagation.change"
    pending, added = "Change the password of tanaka", "Add the account tanaka"
    assert found(operator, label, "q=tanaka@example.com") == [pending, added]
    assert found(operator, label, "q=info@example.com") == [
        "Forward info@example.com to tanaka@example.com"
    ]
    assert found(operator, label, "q=info@日本語.jp") == ["Add the account info"]
    assert "Open the domain 日本語.jp" in found(operator, label, "q=日本語.jp")
    assert found(operator, label, "q=tanaka@example.com&state=pending") == [pending]
    assert set(found(operator, label, "kind=domain")) == {
        f"Open the domain {name}"
        for name in ("example.com", "example.net", "wakaba.example", "日本語.jp")
    }
    elsewhere = factories.make_server("mail2.plusmail.test")
    assert found(operator, label, f"server__id__exact={elsewhere.pk}") == ["Add the plan standard"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("label", "text", "rows"),
    [
        ("accounts.account", "Tanaka@example.com", ["tanaka"]),
        ("accounts.account", "tanaka@example.net", []),
        ("accounts.deletedaccount", "gone@example.com", ["gone@example.com"]),
        ("accounts.domain", "日本語.jp", ["日本語.jp"]),
        ("accounts.domain", "anybody@日本語.jp", ["日本語.jp"]),
        ("forwarding.forwardingaddress", "info@example.com", ["info@example.com"]),
        ("forwarding.forwardingaddress", "tanaka@example.com", ["info@example.com"]),
    ],
)
def test_rows_are_found_by_a_whole_address(
    busy: Account, japanese: Domain, operator: Client, label: str, text: str, rows: list[str]
) -> None:
    assert found(operator, label, f"q={text}") == rows


def test_change_is_applied_now(busy: Account, operator: Client) -> None:
    change = factories.pending(busy.key)
    assert "1 change(s) are due now." in act(operator, "propagation.change", "apply_now", change.pk)
    assert [one.pk for one in Change.objects.claim_due(busy.server)] == [change.pk]


def test_change_is_taken_back(busy: Account, operator: Client) -> None:
    change = factories.pending(busy.key)
    assert "1 change(s) cancelled." in act(operator, "propagation.change", "take_back", change.pk)
    assert factories.state_of(busy.key) == ChangeState.CANCELLED


def test_failed_change_is_tried_again(busy: Account, operator: Client) -> None:
    factories.settle(status=Status.UNCONFIRMED, reason="postmap: fatal: disk full")
    change = Change.objects.open().get(key=busy.key)
    assert "disk full" in operator.get(path("propagation.change", "change", change.pk)).text
    act(operator, "propagation.change", "retry", change.pk)
    assert [one.pk for one in Change.objects.claim_due(busy.server)] == [change.pk]


def test_nothing_of_the_outbox_can_be_edited_or_deleted(busy: Account, operator: Client) -> None:
    change = factories.pending(busy.key)
    assert operator.post(path("propagation.change", "change", change.pk)).status_code == 403
    assert operator.post(path("propagation.change", "delete", change.pk)).status_code == 403
    assert operator.get(path("propagation.change", "add")).status_code == 403


@pytest.mark.parametrize("label", ["accounts.account", "accounts.domain"])
def test_rows_that_a_server_holds_cannot_be_deleted_outright(
    busy: Account, operator: Client, label: str
) -> None:
    row = busy.pk if label == "accounts.account" else busy.domain_id
    assert operator.post(path(label, "delete", row), {"post": "yes"}).status_code == 403
    assert Account.objects.filter(pk=busy.pk).exists()


def test_name_of_a_server_stays(cast: Cast, operator: Client) -> None:
    form = {"name": "other.plusmail.test", "accepts_domains": "on"}
    operator.post(path("propagation.mailserver", "change", cast.server.pk), form)
    assert MailServer.objects.get(pk=cast.server.pk).name == "mail1.plusmail.test"


def test_plan_is_added(cast: Cast, operator: Client) -> None:
    form = {
        "code": "big",
        "name_ja": "ビッグ",
        "name_en": "Big",
        "account_limit": "50",
        "self_service": "on",
        "mailbox_bytes": "10485760",
        "message_bytes": "3145728",
        "recipients_per_message": "100",
        "recipients_per_day": "1000",
        "list_message_bytes": "76800",
        "domain_recipients_per_day": "0",
    }
    operator.post(path("accounts.plan", "add"), form)
    assert Plan.objects.get(code="big").account_limit == 50


def test_lists_are_found_and_their_key_is_never_shown(cast: Cast, operator: Client) -> None:
    row = factories.make_list(cast.com, "club", "ann@outside.example", "bob@outside.example")
    found = operator.get(path("forwarding.mailinglist"), {"q": "ann@outside.example"}).text
    assert "club@example.com" in found
    assert '<td class="field-member_count">2</td>' in found
    shown = operator.get(path("forwarding.mailinglist", "change", row.pk)).text
    changes = operator.get(path("propagation.change")).text
    change = factories.pending(row.key)
    outbox = operator.get(path("propagation.change", "change", change.pk)).text
    for text in (found, shown, changes, outbox):
        assert row.leave_key not in text


def test_lists_are_deleted_after_the_delay(cast: Cast, operator: Client) -> None:
    row = factories.make_list(cast.com, "club")
    factories.settle()
    form = {"action": "delete_after_the_delay", "_selected_action": [row.pk]}
    operator.post(path("forwarding.mailinglist"), form)
    assert row.is_leaving()
