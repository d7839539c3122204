"""What may be typed as a forwarding address or as its destination, in words for the typist.

Destinations are judged by the email-validator library (RFC 5321 and 5322), and by
mailhost's narrower grammar, which checks them again where they reach a map.
"""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from email_validator import EmailNotValidError, validate_email

from accounts.names import clean_domain_name, lowered_local_part
from mailhost import grammar


def clean_local_part(text: str) -> str:
    """Return the part before the @ as stored; ValidationError says what to change."""
    local_part = lowered_local_part(text)
    if not grammar.LOCAL_PART.match(local_part):
        raise ValidationError(
            _(
                "Use lower-case letters a-z, digits and . _ - + only (up to 64), with no dot at "
                "the beginning or end and no two dots in a row."
            ),
            code="form",
        )
    return local_part


def clean_destination(text: str) -> str:
    """Return one destination as stored: its domain in lower case and ASCII."""
    typed = text.strip()
    local_part, at, domain = typed.rpartition("@")
    if not at and "＠" not in typed:
        raise ValidationError(
            _("“%(typed)s” is not an address: enter the part before and after the @."),
            code="no_at",
            params={"typed": typed},
        )
    if not at or not local_part.isascii():
        raise ValidationError(
            _("“%(typed)s”: use half-width letters and digits only (a-z, 0-9)."),
            code="full_width",
            params={"typed": typed},
        )
    try:
        address = f"{local_part}@{clean_domain_name(domain)}"
        validate_email(
            address, check_deliverability=False, allow_smtputf8=False, test_environment=True
        )
    except (EmailNotValidError, ValidationError) as error:
        raise _not_an_address(typed) from error
    if not grammar.DESTINATION.match(address):
        raise _not_an_address(typed)
    return address


def clean_destinations(lines: list[str]) -> list[str]:
    """Return the destinations in their order, each once; blank lines do not count."""
    lines = [line for line in lines if line.strip()]
    # Before each is judged, which takes its time.
    if len({line.strip().lower() for line in lines}) > settings.DESTINATIONS_PER_ADDRESS:
        raise _too_many()
    found: dict[str, str] = {}
    errors = []
    for line in lines:
        try:
            address = clean_destination(line)
        except ValidationError as error:
            errors.append(error)
        else:
            found.setdefault(address.lower(), address)
    if errors:
        raise ValidationError(errors)
    if not found:
        raise ValidationError(_("Enter at least one address to forward to."), code="none")
    return list(found.values())


def _too_many() -> ValidationError:
    return ValidationError(
        _("Enter at most %(most)d addresses. For more, use a mailing list.")
        % {"most": settings.DESTINATIONS_PER_ADDRESS},
        code="many",
    )


def _not_an_address(typed: str) -> ValidationError:
    return ValidationError(
        _("“%(typed)s” is not an address that mail can be sent to."),
        code="form",
        params={"typed": typed},
    )
