"""What is open without a login: the same for every address, nothing for strangers' domains."""

from __future__ import annotations

import plistlib
import re
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import Account, Domain
from tests import factories
from tests.clientsettings.test_formats import HOSTILE, QUESTION
from tests.conftest import Cast, browser

AUTOCONFIG = "/mail/config-v1.1.xml"
WELL_KNOWN = "/.well-known/autoconfig/mail/config-v1.1.xml"
AUTODISCOVER = "/autodiscover/autodiscover.xml"
PROFILE = "/mail/profile.mobileconfig"
SETUP = "/mail/setup"
BY_ADDRESS = [AUTOCONFIG, WELL_KNOWN, PROFILE, SETUP]
# What would show that a text came back raw.
RAW = '"><script>alert(1)</script>'
HOSTILE_ADDRESSES = [
    f"info{RAW}@example.com",
    f"info@example.com{RAW}",
    "info@example.com\r\nSet-Cookie: x=y",
    "in\0fo@example.com",
    "info%22%3E@example.com",
    "ｉｎｆｏ@example.com",
    "\u202einfo@example.com",
    "a" * 10_000 + "@example.com",
    "'; DROP TABLE accounts_domain; --@example.com",
    "{{ settings.SECRET_KEY }}@example.com",
]


def post(client: Client, address: str, path: str = AUTODISCOVER, **extra: Any) -> Any:
    """Ask as Outlook does."""
    return client.post(path, QUESTION.format(address=address), content_type="text/xml", **extra)


def content_of(path: str, address: str) -> bytes:
    """Return what is answered about an address, the address itself taken out."""
    client = browser("ja")
    if path == AUTODISCOVER:
        response = post(client, address)
    else:
        response = client.get(path, {"emailaddress": address})
    assert response.status_code == 200
    content = response.content
    # What differs each time, and ids that are made of the address.
    content = re.sub(rb'name="csrfmiddlewaretoken" value="\w+"', b"", content)
    if path == PROFILE:
        plist = plistlib.loads(content)
        for payload in (plist, *plist["PayloadContent"]):
            del payload["PayloadUUID"], payload["PayloadIdentifier"]
        content = plistlib.dumps(plist)
    local_part = address.partition("@")[0]
    return bytes(content).replace(local_part.encode(), b"LOCAL").replace(b"%40", b"@")


@pytest.mark.parametrize("path", [*BY_ADDRESS, AUTODISCOVER])
def test_answer_is_the_same_whether_the_address_exists_or_not(
    tanaka: Account, com: Domain, path: str
) -> None:
    factories.make_forward(com, "sales", "tanaka@example.com")
    factories.make_list(com, "club", "tanaka@example.com")
    mailbox = content_of(path, "tanaka@example.com")
    for other in ("sales", "club", "nobody-has-this", "postmaster"):
        assert content_of(path, f"{other}@example.com") == mailbox, other


@pytest.mark.parametrize("path", [AUTOCONFIG, WELL_KNOWN, PROFILE])
def test_one_query_finds_the_domain_and_none_asks_for_the_address(
    tanaka: Account, path: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for name in ("tanaka", "nobody-has-this"):
        with django_assert_num_queries(1) as asked:
            browser().get(path, {"emailaddress": f"{name}@example.com"})
        assert name not in asked[0]["sql"]
        assert '"accounts_domain"' in asked[0]["sql"]


def test_open_page_asks_nothing_about_the_address(
    tanaka: Account, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for name in ("tanaka", "nobody-has-this"):
        # The second one is every page's: does a mail server answer?
        with django_assert_num_queries(2) as asked:
            browser().get(SETUP, {"emailaddress": f"{name}@example.com"})
        assert not [query for query in asked if name in query["sql"]]


def test_outlooks_question_costs_one_query(
    tanaka: Account, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        post(browser(), "tanaka@example.com")


@pytest.mark.parametrize("path", BY_ADDRESS)
def test_domain_that_is_not_hosted_gets_404(cast: Cast, path: str) -> None:
    assert browser().get(path, {"emailaddress": "info@evil.example"}).status_code == 404


def test_outlook_gets_404_for_a_domain_that_is_not_hosted(cast: Cast) -> None:
    response = post(browser(), "info@evil.example")
    assert response.status_code == 404
    assert "evil" not in response.text
    assert fromstring(response.content).find(".//{*}ErrorCode") is not None


@pytest.mark.parametrize("path", BY_ADDRESS)
def test_hostile_address_never_comes_back_raw(cast: Cast, path: str) -> None:
    for address in HOSTILE_ADDRESSES:
        response = browser().get(path, {"emailaddress": address})
        assert response.status_code in {400, 422}, address
        assert "<script" not in response.text.replace("<script src=", "")
        assert set(response.cookies) <= {"csrftoken"}
        if path != SETUP:
            assert response.content == b""


def test_outlook_gets_nothing_of_a_hostile_address_back(cast: Cast) -> None:
    for address in HOSTILE_ADDRESSES:
        response = post(browser(), address.replace("<", "&lt;").replace("\0", "&#1;"))
        assert response.status_code == 400, address
        assert "info" not in response.text


def test_hostile_xml_is_refused(cast: Cast) -> None:
    for what, question in HOSTILE.items():
        response = browser().post(AUTODISCOVER, question, content_type="text/xml")
        assert response.status_code == 400, what
        assert fromstring(response.content).findtext(".//{*}ErrorCode") == "600"


def test_only_the_beginning_of_a_huge_question_is_read(cast: Cast) -> None:
    # Django itself would refuse more than 2.5 MB by another answer once it reads them.
    response = browser().post(AUTODISCOVER, b" " * 5_000_000, content_type="text/xml")
    assert response.status_code == 400
    assert b"<ErrorCode>600" in response.content


def test_outlook_needs_no_token_and_leaves_nothing_behind(cast: Cast) -> None:
    client = Client(headers={"host": "panel.plusmail.test"}, enforce_csrf_checks=True)
    for path in (AUTODISCOVER, "/Autodiscover/Autodiscover.xml", "/AutoDiscover/AutoDiscover.xml"):
        response = post(client, "Info@Example.com", path)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/xml; charset=utf-8"
        assert not response.cookies
        logins = {
            name.text for name in fromstring(response.content).iter() if "LoginName" in name.tag
        }
        assert logins == {"info@example.com"}
    response = client.get(AUTODISCOVER)
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (AUTOCONFIG, "text/xml; charset=utf-8"),
        (WELL_KNOWN, "text/xml; charset=utf-8"),
        (PROFILE, "application/x-apple-aspen-config"),
    ],
)
def test_files_have_the_content_type_that_programs_look_for(
    cast: Cast, path: str, kind: str
) -> None:
    response = browser().get(path, {"emailaddress": "info@example.com"})
    assert response.headers["Content-Type"] == kind
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_profile_is_a_download_of_a_fixed_name(cast: Cast) -> None:
    response = browser().get(PROFILE, {"emailaddress": "info@example.com"})
    assert response.headers["Content-Disposition"] == 'attachment; filename="mail.mobileconfig"'
    assert (
        plistlib.loads(response.content)["PayloadContent"][0]["EmailAddress"] == "info@example.com"
    )


def test_open_page_never_says_a_mailboxs_own_name(com: Domain, tanaka: Account) -> None:
    factories.make_forward(com, "info", "tanaka@example.com")
    factories.settle()
    text = browser().get(SETUP, {"emailaddress": "info@example.com"}).text
    assert "info@example.com" in text
    assert "tanaka" not in text


def test_open_page_asks_for_an_address(cast: Cast) -> None:
    assert 'name="emailaddress"' in browser().get(SETUP).text
    response = browser().get(SETUP, {"emailaddress": "info"})
    assert response.status_code == 422
    assert 'value="info"' in response.text
    assert "Enter your whole mail address" in response.text


# At a hosted domain's own name.


@pytest.mark.parametrize(
    "host", ["autoconfig.example.com", "example.com", "autoconfig.example.com:80"]
)
@pytest.mark.parametrize("path", [AUTOCONFIG, WELL_KNOWN])
def test_autoconfig_answers_at_the_domains_own_names(cast: Cast, host: str, path: str) -> None:
    at_the_panel = browser().get(path, {"emailaddress": "info@example.com"}).content
    for question in ({}, {"emailaddress": "anybody@example.com"}):
        response = browser(host=host).get(path, question)
        assert response.status_code == 200
        assert response.content == at_the_panel
        assert not response.cookies


def test_domain_answers_for_itself_alone(cast: Cast) -> None:
    client = browser(host="autoconfig.example.com")
    assert client.get(AUTOCONFIG, {"emailaddress": "info@example.net"}).status_code == 404
    response = post(browser(host="autodiscover.example.com"), "info@example.net")
    assert response.status_code == 404


def test_panel_needs_an_address_to_answer(cast: Cast) -> None:
    assert browser().get(AUTOCONFIG).status_code == 400


def test_outlook_is_answered_and_redirected_at_the_domains_own_name(
    cast: Cast, settings: Settings
) -> None:
    settings.PANEL_URL = "https://panel.example.jp"
    client = browser(host="autodiscover.example.com")
    assert post(client, "info@example.com").status_code == 200
    response = client.get("/autodiscover/autodiscover.xml", {"x": "evil"})
    assert response.status_code == 302
    assert response.headers["Location"] == "https://panel.example.jp/autodiscover/autodiscover.xml"


@pytest.mark.parametrize(
    "host", ["autoconfig.evil.example", "autodiscover.evil.example", "autoconfig."]
)
def test_host_of_no_hosted_domain_gets_400(cast: Cast, host: str) -> None:
    for path in (AUTOCONFIG, AUTODISCOVER):
        client = browser(host=host)
        assert client.get(path, {"emailaddress": "info@example.com"}).status_code == 400


@pytest.mark.parametrize(
    "host", ["example.com", "autoconfig.example.com", "autodiscover.example.com"]
)
def test_no_other_page_opens_at_a_domains_own_name(cast: Cast, host: str) -> None:
    for path in ("/", "/login/", SETUP, PROFILE, "/domains/example.com/settings/", "/admin/"):
        response = browser(host=host).get(path, {"emailaddress": "info@example.com"})
        assert response.status_code == 404


def test_https_of_the_panel_says_nothing_about_the_customers_names(
    cast: Cast, settings: Settings
) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 31_536_000
    for secure in (False, True):
        response = browser(host="autoconfig.example.com").get(AUTOCONFIG, secure=secure)
        assert response.status_code == 200
        assert "Strict-Transport-Security" not in response.headers


def test_domain_called_as_such_a_name_is_asked_for_itself(cast: Cast) -> None:
    factories.make_domain(
        "autoconfig.example.com", customer=cast.wakaba, plan=cast.plan, server=cast.server
    )
    response = browser(host="autoconfig.example.com").get(AUTOCONFIG)
    root = fromstring(response.content)
    assert root.findtext("emailProvider/domain") == "autoconfig.example.com"


def test_ports_and_name_are_those_of_the_settings(cast: Cast, settings: Settings) -> None:
    settings.IMAPS_PORT_SHOWN = settings.IMAP_PORT_SHOWN = 0
    settings.POP3S_PORT_SHOWN = 2995
    response = browser().get(AUTOCONFIG, {"emailaddress": "info@example.com"})
    incoming = fromstring(response.content).findall("emailProvider/incomingServer")
    assert [(server.get("type"), server.findtext("port")) for server in incoming] == [
        ("pop3", "2995"),
        ("pop3", "110"),
    ]
    assert {server.findtext("hostname") for server in incoming} == {factories.SERVER}
