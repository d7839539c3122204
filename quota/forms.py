"""The form of "Check before sending"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.models import MEGABYTE, Domain
from quota.checking import Draft, addresses_in, as_sent

UNITS = {"MB": MEGABYTE, "KB": 1024}


class CheckForm(forms.Form):
    """Recipients, pasted or counted, and a size; what is left empty is not judged."""

    addresses = forms.CharField(max_length=200_000, required=False)
    count = forms.IntegerField(min_value=1, max_value=1_000_000, required=False)
    size = forms.DecimalField(min_value=0, max_value=100_000, required=False)
    unit = forms.ChoiceField(choices=[(unit, unit) for unit in UNITS], required=False)
    whole = forms.BooleanField(required=False)
    to_list = forms.BooleanField(required=False)

    def __init__(
        self, *args: Any, server_id: int, lists_among: Callable[[list[str]], Any], **kwargs: Any
    ) -> None:
        """Take the mail server, whose own domains' addresses have no case, and who knows lists."""
        super().__init__(*args, **kwargs)
        self._server_id = server_id
        self._lists_among = lists_among

    def clean(self) -> dict[str, Any]:
        """Count the recipients, and make the size that of the message as sent."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return data
        found = self._addresses(data["addresses"])
        if data["addresses"].strip() and not found:
            self.add_error("addresses", _("There is no e-mail address in this text."))
        elif not found and not data["count"] and not data["size"]:
            raise ValidationError(_("Enter recipients, a number of them, or a size."))
        size = int((data["size"] or 0) * UNITS[data["unit"] or "MB"])
        data["draft"] = Draft(
            # Pasted addresses are surer than a number typed.
            recipients=len(found) or data["count"] or 1,
            size=size if data["whole"] else as_sent(size),
            to_list=data["to_list"],
            lists=self._lists_among(found),
        )
        return data

    def _addresses(self, text: str) -> list[str]:
        domains = {address.rpartition("@")[2] for address in addresses_in(text)}
        hosted = Domain.objects.filter(server=self._server_id, name__in=list(domains)[:1000])
        return addresses_in(text, set(hosted.values_list("name", flat=True)) if domains else ())
