"""Where mail goes, by real SMTP in and real POP3 out."""

from __future__ import annotations

import pytest

from mailhost.instance import missing_programs
from tests.mail.conftest import Site, applied
from tests.servers import mail_server, message, wait_for

pytestmark = pytest.mark.servers


def test_mail_for_a_mailbox_is_read_by_pop3(site: Site) -> None:
    box = site.mailbox("box")
    assert applied(site.put(box))
    site.server.deliver(box.address, text="to a mailbox")
    assert site.server.got(box.name, "to a mailbox")


def test_mail_is_read_by_imap_too(site: Site) -> None:
    site.server.deliver(site.fixed.address, text="by imap")
    assert site.server.got(site.fixed.name, "by imap")
    client = site.server.imap(site.fixed.name)
    assert client.select()[1] == [b"1"]
    client.logout()


def test_forward_leads_to_a_mailbox(site: Site) -> None:
    box = site.mailbox("my")
    assert applied(site.put(box, site.address("info", box.address)))
    site.server.deliver(site.at("info"), text="by a forward")
    assert site.server.got(box.name, "by a forward")


def test_several_destinations_get_a_copy_each(site: Site) -> None:
    box = site.mailbox("one")
    forward = site.address("all", box.address, site.fixed.address, "Other.Person@outside.test")
    assert applied(site.put(box, forward))
    site.server.deliver(site.at("all"), text=f"to all of {site.domain}")
    assert site.server.got(box.name, "to all of")
    assert site.server.got(site.fixed.name, "to all of")
    assert site.server.outside.got("Other.Person@outside.test", f"to all of {site.domain}")


def test_forward_that_names_itself_keeps_a_copy(site: Site) -> None:
    box = site.mailbox("copy")
    assert applied(site.put(box, site.address(box.name, box.address, "away@outside.test")))
    site.server.deliver(box.address, text=f"kept {site.domain}")
    assert site.server.got(box.name, "kept")
    assert site.server.outside.got("away@outside.test", f"kept {site.domain}")


def test_chain_of_forwards_arrives(site: Site) -> None:
    chain = [site.address(f"step{n}", site.at(f"step{n + 1}")) for n in range(9)]
    assert applied(site.put(*chain, site.address("step9", site.fixed.address)))
    site.server.deliver(site.at("step0"), text="down the chain")
    assert site.server.got(site.fixed.name, "down the chain")


def test_catch_all_takes_only_what_nothing_else_takes(site: Site) -> None:
    rest, box, gone = site.mailbox("rest"), site.mailbox("box"), site.mailbox("gone")
    site.put(rest, box, gone, site.address("info", box.address), site.address("", rest.address))
    site.delete(gone)
    for name in (box.name, "info", "postmaster", "abuse", site.fixed.name):
        site.server.deliver(site.at(name), text=f"not for the rest: {name}")
    site.server.deliver(site.at("whatever"), text="for the rest")
    assert site.server.got(rest.name, "for the rest")
    assert site.server.got(box.name, f"not for the rest: {box.name}")
    assert site.server.got(box.name, "not for the rest: info")
    assert site.server.got(site.fixed.name, "not for the rest: abuse")
    assert site.server.rcpt(gone.address)[0] == 550
    assert len(site.server.messages(rest.name)) == 1


def test_postmaster_may_be_led_elsewhere_and_comes_back(site: Site) -> None:
    box = site.mailbox("duty")
    duty = site.address("postmaster", box.address)
    assert applied(site.put(box, duty))
    site.server.deliver(site.at("postmaster"), text="elsewhere")
    assert site.server.got(box.name, "elsewhere")
    assert applied(site.delete(duty))
    site.server.deliver(site.at("postmaster"), text="back again")
    assert site.server.got(site.fixed.name, "back again")


def test_postmaster_of_the_server_itself_is_reached(site: Site) -> None:
    site.server.deliver("postmaster@mail1.plusmail.test", text=f"operator {site.domain}")
    assert site.server.outside.got("operator@outside.test", f"operator {site.domain}")


@pytest.mark.parametrize("form", ["<postmaster>", "Postmaster", "<POSTMASTER>  "])
def test_bare_postmaster_is_the_servers_own(site: Site, form: str) -> None:
    text = f"bare {form} {site.domain}"
    with site.server.smtp() as client:
        client.mail("friend@outside.test")
        assert client.docmd(f"RCPT TO:{form}")[0] == 250
        client.data(message(text=text))
    assert site.server.outside.got("operator@outside.test", text)


def test_postmaster_of_a_server_that_names_none_is_refused_at_once() -> None:
    if problem := missing_programs():
        pytest.skip(problem)
    own = "mail1.plusmail.test"
    with mail_server(postmaster="") as server:
        for form in (
            "<postmaster>",
            "<POSTMASTER>",
            "postmaster",
            " postmaster ",
            '<"postmaster">',
            r"<post\master>",
            "<(a@b)postmaster>",
            "foo<postmaster>",
            "<>postmaster",
            "<x:postmaster;>",
            f"<@{own}:postmaster>",
            f"<Postmaster@{own}>",
            f"<abuse@{own}>",
            f"<double-bounce@{own}>",
            "<double-bounce>",
            "<postmaster@[127.0.0.1]>",
        ):
            with server.smtp() as client:
                client.mail("friend@outside.test")
                assert client.docmd(f"RCPT TO:{form}")[0] == 550, form


def test_quoted_recipient_and_postmaster_of_a_domain_are_left_alone(site: Site) -> None:
    for local_part in ("postmaster", '"postmaster"', f'"{site.fixed.name}"'):
        assert site.server.rcpt(site.at(local_part))[0] == 250


def test_unknown_recipient_is_refused_with_550(site: Site) -> None:
    code, text = site.server.rcpt(site.at("nobody"))
    assert (code, text.split()[0]) == (550, "5.1.1")


def test_subaddress_is_an_unknown_recipient(site: Site) -> None:
    assert site.server.rcpt(site.at(f"{site.fixed.name}+tag"))[0] == 550


@pytest.mark.parametrize(
    "recipient",
    ["someone@outside.test", "@outside.test:someone@outside.test", "someone%outside.test@{domain}"],
)
def test_relaying_is_refused_with_550(site: Site, recipient: str) -> None:
    assert site.server.rcpt(recipient.format(domain=site.domain))[0] == 550


def test_upper_case_recipient_arrives(site: Site) -> None:
    site.server.deliver(site.fixed.address.upper(), text="LOUD")
    assert site.server.got(site.fixed.name, "LOUD")


def test_domain_that_leaves_takes_all_its_addresses_along(site: Site) -> None:
    record = site.server.host.records()
    hosted = next(e.record for e in record if e.key == f"domain:{site.domain}")
    assert hosted
    assert applied(site.put(site.address("info", site.fixed.address)))
    assert applied(site.delete(hosted))
    assert wait_for(lambda: site.server.rcpt(site.at("info"))[0] == 550)
    assert site.server.rcpt(site.fixed.address)[0] == 550
    assert applied(site.put(hosted))
    # Postfix must not go on remembering that the domain was not hosted.
    assert wait_for(lambda: site.server.rcpt(site.at("info"))[0] == 250)
