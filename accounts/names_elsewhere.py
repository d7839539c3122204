"""Names that something else than an account has, as the apps above know them.

`accounts` never knows those apps. Each names a function in settings.NAME_RULES (dotted paths)
that takes a domain and a name, and raises ValidationError where no account may have it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from accounts.models import Domain

Rule = Callable[["Domain", str], None]


@cache
def _rules() -> list[Rule]:
    return [import_string(path) for path in settings.NAME_RULES]


def refuse_taken(domain: Domain, name: str) -> None:
    """Raise ValidationError of the field `name` where something else has the address."""
    for rule in _rules():
        try:
            rule(domain, name)
        except ValidationError as error:
            raise ValidationError({"name": error}) from error
