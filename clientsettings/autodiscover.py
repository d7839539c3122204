"""Outlook's autodiscover with plain XML ("POX"): a question read with care, and its answer.

Source: Microsoft [MS-OXDSCLI]; the schemas are named outlook/requestschema/2006 and
outlook/responseschema/2006a. What was stated comes back only after its form was judged.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from clientsettings.server import Protocol, ServerSettings, Service
from clientsettings.stated import Stated

# Bytes. Outlook's question has some 350.
LONGEST_QUESTION = 8 * 1024
_SCHEMAS = "http://schemas.microsoft.com/exchange/autodiscover"
QUESTION = f"{_SCHEMAS}/outlook/requestschema/2006"
_ENVELOPE = f"{_SCHEMAS}/responseschema/2006"
ANSWER = f"{_SCHEMAS}/outlook/responseschema/2006a"
# What Outlook is told where it cannot be helped ([MS-OXDSCLI], ErrorCode).
INVALID, NO_PROVIDER = "600", "601"


class Malformed(ValueError):
    """What was posted is no question of Outlook's."""


def address_in(question: bytes) -> str:
    """Return what a posted question states as the address, its form not judged yet.

    Malformed for what is no such question: other XML, a DOCTYPE or entities (no bomb is ever
    unfolded), another encoding than UTF-8, more than LONGEST_QUESTION bytes.
    """
    if len(question) > LONGEST_QUESTION:
        raise Malformed
    try:
        question.decode()
        root = fromstring(question, forbid_dtd=True)
    except (ET.ParseError, DefusedXmlException, ValueError, LookupError) as error:
        # ValueError: not UTF-8, or an encoding of several bytes that expat does not know.
        raise Malformed from error
    if root.tag != f"{{{QUESTION}}}Autodiscover":
        raise Malformed
    schema = root.findtext(f"{{{QUESTION}}}Request/{{{QUESTION}}}AcceptableResponseSchema")
    address = root.findtext(f"{{{QUESTION}}}Request/{{{QUESTION}}}EMailAddress")
    if schema not in (None, ANSWER) or not address:
        raise Malformed
    return str(address).strip()


def answer(settings: ServerSettings, address: Stated) -> bytes:
    """Return the XML that tells Outlook the domain's servers, with the address as the login."""
    root, response = _root(ANSWER)
    _add(_in(response, "User"), "DisplayName", str(address))
    account = _in(response, "Account")
    _add(account, "AccountType", "email")
    _add(account, "Action", "settings")
    for service in settings.best_of_each():
        _protocol(_in(account, "Protocol"), settings.host, service, address)
    return _written(root)


def error(code: str) -> bytes:
    """Return the XML that says why there is no answer, and nothing of what was asked."""
    words = {INVALID: "Invalid Request", NO_PROVIDER: "No settings for this address"}[code]
    root, response = _root(_ENVELOPE)
    told = _in(response, "Error")
    _add(told, "ErrorCode", code)
    _add(told, "Message", words)
    return _written(root)


def _protocol(parent: ET.Element, host: str, service: Service, address: Stated) -> None:
    _add(parent, "Type", service.protocol.upper())
    _add(parent, "Server", host)
    _add(parent, "Port", str(service.port))
    _add(parent, "DomainRequired", "off")
    _add(parent, "LoginName", str(address))
    _add(parent, "SPA", "off")
    _add(parent, "SSL", "on" if service.implicit else "off")
    _add(parent, "Encryption", "SSL" if service.implicit else "TLS")
    _add(parent, "AuthRequired", "on")
    if service.protocol == Protocol.SMTP:
        _add(parent, "UsePOPAuth", "on")
        _add(parent, "SMTPLast", "off")


def _root(schema: str) -> tuple[ET.Element, ET.Element]:
    root = ET.Element("Autodiscover", xmlns=_ENVELOPE)
    return root, ET.SubElement(root, "Response", xmlns=schema)


def _in(parent: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(parent, name)


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _written(root: ET.Element) -> bytes:
    ET.indent(root)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written
