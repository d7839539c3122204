"""Thunderbird's autoconfig (config-v1.1.xml), which other mail programs read as well.

Format: Mozilla's "Autoconfig file format", version 1.1. The program itself puts the address in
where %EMAILADDRESS% stands, so the answer is one and the same for every address of a domain.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from clientsettings.server import Protocol, ServerSettings, Service

# Days after which a program that receives by POP3 deletes on the server what it has received.
DAYS_ON_SERVER = 7


def document(settings: ServerSettings, *, title: str, help_url: str) -> bytes:
    """Return the XML for a domain, called `title` by people; `help_url` is its page for them."""
    root = ET.Element("clientConfig", version="1.1")
    provider = ET.SubElement(root, "emailProvider", id=settings.domain)
    _add(provider, "domain", settings.domain)
    _add(provider, "displayName", title)
    _add(provider, "displayShortName", title)
    for protocol in Protocol:
        for service in settings.of(protocol):
            provider.append(_server(settings, service))
    page = ET.SubElement(provider, "documentation", url=help_url)
    _add(page, "descr", "メールソフトの設定", lang="ja")
    _add(page, "descr", "Setting up a mail program", lang="en")
    ET.indent(root)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _server(settings: ServerSettings, service: Service) -> ET.Element:
    kind = "incomingServer" if service.protocol.receives else "outgoingServer"
    server = ET.Element(kind, type=str(service.protocol))
    _add(server, "hostname", settings.host)
    _add(server, "port", str(service.port))
    _add(server, "socketType", "SSL" if service.implicit else "STARTTLS")
    _add(server, "username", _login(settings.domain))
    _add(server, "authentication", "password-cleartext")
    if service.protocol == Protocol.POP3:
        pop3 = ET.SubElement(server, "pop3")
        _add(pop3, "leaveMessagesOnServer", "true")
        _add(pop3, "daysToLeaveMessagesOnServer", str(DAYS_ON_SERVER))
    return server


def _login(domain: str) -> str:
    """Return what the program fills in as login: the address, as the mail server knows it."""
    # An international domain may have been typed in its own script; the server has its xn-- form.
    return f"%EMAILLOCALPART%@{domain}" if "xn--" in domain else "%EMAILADDRESS%"


def _add(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = text
