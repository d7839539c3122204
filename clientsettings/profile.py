"""A configuration profile for Apple's Mail on iPhone, iPad and Mac (.mobileconfig).

Source: Apple, "Configuration Profile Reference", payload com.apple.mail.managed. It holds no
password: the device asks for it. Signed (CMS, RFC 5652) where the operator has configured a
certificate, so that the device shows who made it; an unsigned one works as well and is shown
as "not signed".

It sets up IMAP where there is any: a telephone then shows what lies on the server, and takes
nothing away from the computer that receives it by POP3.
"""

from __future__ import annotations

import logging
import plistlib
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs7
from django.conf import settings

from clientsettings.server import Protocol, ServerSettings
from clientsettings.stated import Stated

CONTENT_TYPE = "application/x-apple-aspen-config"
logger = logging.getLogger(__name__)


class CannotSign(Exception):
    """The files of PROFILE_CERTIFICATE and PROFILE_KEY cannot be used; the text says why."""


def profile(server: ServerSettings, address: Stated, *, name: str, text: str) -> bytes:
    """Return the profile for an address, signed if that is configured.

    `name` and `text` are what the device shows of it. Setting it up again takes the place of
    what an earlier one of the same address set up.
    """
    plain = plistlib.dumps(_payload(server, address, name, text))
    try:
        return signed(plain) if is_signed() else plain
    except CannotSign:
        # Mail can be set up by an unsigned one, too; `check --deploy` tells the operator.
        logger.exception("An Apple profile could not be signed.")
        return plain


def is_signed() -> bool:
    """Whether the operator has said what signs profiles."""
    return bool(settings.PROFILE_CERTIFICATE and settings.PROFILE_KEY)


def signed(content: bytes) -> bytes:
    """Return `content` within a CMS signature; CannotSign where the files do not serve."""
    paths = Path(settings.PROFILE_CERTIFICATE), Path(settings.PROFILE_KEY)
    try:
        # A renewed certificate is read anew.
        changed = tuple(path.stat().st_mtime_ns for path in paths)
        [certificate, *chain], key = _read(*paths, changed)
        builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
        builder = builder.add_signer(certificate, key, SHA256())
        for authority in chain:
            builder = builder.add_certificate(authority)
        return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])
    except (OSError, ValueError, TypeError) as error:
        raise CannotSign(str(error)) from error


@lru_cache(maxsize=1)
def _read(
    certificate: Path, key: Path, _changed: tuple[int, ...]
) -> tuple[list[x509.Certificate], RSAPrivateKey | EllipticCurvePrivateKey]:
    """Read certificate, chain and key; ValueError says what is wrong with them."""
    chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    private = load_pem_private_key(key.read_bytes(), password=None)
    if not isinstance(private, RSAPrivateKey | EllipticCurvePrivateKey):
        raise TypeError("the key is neither RSA nor of an elliptic curve")
    if private.public_key() != chain[0].public_key():
        raise ValueError("the key is not this certificate's")
    return chain, private


def _payload(server: ServerSettings, address: Stated, name: str, text: str) -> dict[str, Any]:
    whose = f"{server.domain}.{uuid.uuid5(uuid.NAMESPACE_URL, f'mailto:{address}')}"
    common = {"PayloadVersion": 1, "PayloadOrganization": server.domain}
    return {
        **common,
        "PayloadType": "Configuration",
        "PayloadIdentifier": f"plusmail.{whose}",
        "PayloadUUID": _uuid("profile", address),
        "PayloadDisplayName": name,
        "PayloadDescription": text,
        "PayloadRemovalDisallowed": False,
        "PayloadContent": [
            {
                **common,
                "PayloadType": "com.apple.mail.managed",
                "PayloadIdentifier": f"plusmail.{whose}.mail",
                "PayloadUUID": _uuid("mail", address),
                "PayloadDisplayName": str(address),
                **_mail(server, address),
            }
        ],
    }


def _mail(server: ServerSettings, address: Stated) -> dict[str, Any]:
    """Return the account's own keys."""
    receiving = server.best(Protocol.IMAP) or server.best(Protocol.POP3)
    sending = server.best(Protocol.SMTP)
    kind = "EmailTypeIMAP" if server.best(Protocol.IMAP) else "EmailTypePOP"
    account: dict[str, Any] = {
        "EmailAccountDescription": str(address),
        "EmailAccountType": kind,
        "EmailAddress": str(address),
        "OutgoingPasswordSameAsIncomingPassword": True,
    }
    for way, service in (("Incoming", receiving), ("Outgoing", sending)):
        if service:
            account[f"{way}MailServerAuthentication"] = "EmailAuthPassword"
            account[f"{way}MailServerHostName"] = server.host
            account[f"{way}MailServerPortNumber"] = service.port
            # By the port the device knows whether TLS comes at once or after STARTTLS.
            account[f"{way}MailServerUseSSL"] = True
            account[f"{way}MailServerUsername"] = str(address)
    return account


def _uuid(what: str, address: Stated) -> str:
    """Return the same id each time, so that what is set up again replaces what was."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"mailto:{address}#{what}")).upper()
