"""Names that something else than an account has, as the apps above know them.

`accounts` never knows those apps. Each names a Rule in settings.NAME_RULES (dotted paths).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING, Protocol

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from accounts.models import Domain


class Rule(Protocol):
    """What an app knows of names."""

    def refuse(self, domain: Domain, name: str) -> None:
        """Raise ValidationError where no account may have this name of the domain."""

    def among(self, domain: Domain, names: Collection[str]) -> set[str]:
        """Return which of these refuse() may refuse: the others need not be asked about."""


@cache
def _rules() -> list[Rule]:
    return [import_string(path) for path in settings.NAME_RULES]


def among(domain: Domain, names: Collection[str]) -> set[str]:
    """Return which of these names refuse_taken() may refuse; all others it does not."""
    return {name for rule in _rules() for name in rule.among(domain, names)}


def refuse_taken(domain: Domain, name: str) -> None:
    """Raise ValidationError of the field `name` where something else has the address."""
    for rule in _rules():
        try:
            rule.refuse(domain, name)
        except ValidationError as error:
            raise ValidationError({"name": error}) from error
