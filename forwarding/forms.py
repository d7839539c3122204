"""Forms of Email Forwarding: text in, reasons next to fields; the rules are the models'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.forms import PageForm
from accounts.models import Domain, accounts_by_address
from forwarding.addresses import clean_destination, clean_destinations, clean_local_part
from forwarding.models import ForwardingAddress

# Without scripts each press is a page: one that brings several boxes spares presses.
MORE_BOXES = 3


@dataclass(frozen=True, slots=True)
class Box:
    """One box for a destination, as the page draws it."""

    text: str
    wrong: bool
    focus: bool


class DestinationsWidget(forms.Widget):
    """One box per destination, all of the same name; a template of ours draws them."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        """Return what stands in the boxes."""
        values: list[str] = data.getlist(name) if hasattr(data, "getlist") else data.get(name, [])
        return values[: settings.DESTINATIONS_PER_ADDRESS + 1]


class DestinationsField(forms.Field):
    """The addresses to forward to, in their order."""

    widget = DestinationsWidget

    def clean(self, value: Any) -> list[str]:
        """Return the destinations as stored."""
        return clean_destinations(value)


class DestinationsForm(PageForm):
    """Where an existing address leads, or the domain's catch-all."""

    destination = DestinationsField(label=_("Forward it to this address"))
    keep_copy = forms.BooleanField(
        label=_("Also keep it in the mailbox of the same address"), required=False
    )

    def __init__(self, *args: Any, domain: Domain, by: Any, **kwargs: Any) -> None:
        """Take the domain to which the address belongs, and who asks for it."""
        super().__init__(*args, **kwargs)
        self.domain = domain
        self.by = by
        self.first_new: int | None = None  # which box was asked for just now

    def boxes(self) -> list[Box]:
        """Return the boxes for destinations; one of them at most has the focus."""
        texts = self._texts()
        wrong = self._wrong_among(texts) if self.has_error("destination") else []
        focus = wrong[0] if self.focus == "destination" else self.first_new
        return [Box(text, place in wrong, place == focus) for place, text in enumerate(texts)]

    def _wrong_among(self, texts: list[str]) -> list[int]:
        """Return the places of what is no address, or all where they are wrong together."""
        found = [place for place, text in enumerate(texts) if not _is_address_or_blank(text)]
        return found or list(range(len(texts)))

    def takes_more_boxes(self) -> bool:
        """Whether another destination would be accepted."""
        most: int = settings.DESTINATIONS_PER_ADDRESS
        return len(self._texts()) < most

    def _texts(self) -> list[str]:
        texts: list[str] = self["destination"].value() or [""]
        return texts

    def with_more_boxes(self) -> Self:
        """Return the form with what was typed and more empty boxes, nothing judged yet."""
        typed = {
            name: field.widget.value_from_datadict(self.data, self.files, name)
            for name, field in self.fields.items()
        }
        filled = typed["destination"] or [""]
        room = settings.DESTINATIONS_PER_ADDRESS - len(filled)
        typed["destination"] = [*filled, *[""] * min(MORE_BOXES, room)]
        form = type(self)(initial=typed, domain=self.domain, by=self.by)
        form.first_new = len(filled)
        return form

    def save(self, address: ForwardingAddress) -> bool:
        """Lead the address to the destinations, or put the reason why not on the form."""
        return self._try(address.lead, self._destinations(address.address))

    def save_catch_all(self) -> bool:
        """Make the domain's catch-all, or put the reason why not on the form."""
        return self._open("")

    def save_at(self, local_part: str) -> bool:
        """Forward the address of this local part anew, or put the reason why not on the form."""
        return self._open(local_part)

    def _open(self, local_part: str) -> bool:
        destinations = self._destinations(f"{local_part}@{self.domain.name}")
        return self._try(
            ForwardingAddress.objects.open,
            destinations,
            domain=self.domain,
            local_part=local_part,
        )

    def _destinations(self, address: str) -> list[str]:
        """Return the destinations, with the address's own mailbox where a copy is to stay."""
        typed: list[str] = self.cleaned_data["destination"]
        if not self.cleaned_data.get("keep_copy") or address in typed:
            return typed
        return [address, *typed] if accounts_by_address([address]) else typed

    def _try(self, action: Any, destinations: list[str], **kwargs: Any) -> bool:
        try:
            action(destinations=destinations, by=self.by, **kwargs)
        except ValidationError as error:
            self._put(error)
            return False
        return True

    def _put(self, error: ValidationError) -> None:
        """Put an error where it can be mended."""
        of_name = getattr(error, "code", None) in {"exists", "fixed"}
        field = "local_part" if of_name and "local_part" in self.fields else "destination"
        self.add_error(None if hasattr(error, "error_dict") else field, error)


class OpenForwardForm(DestinationsForm):
    """Add a forwarding address."""

    local_part = forms.CharField(
        label=_("Mail for this address"),
        max_length=200,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )
    field_order = ["local_part", "destination", "keep_copy"]

    def clean_local_part(self) -> str:
        """Return the local part as stored."""
        return clean_local_part(self.cleaned_data["local_part"])

    def save_new(self) -> bool:
        """Open the address, or put the reason why not on the form."""
        return self._open(self.cleaned_data["local_part"])

    def existing(self) -> ForwardingAddress | None:
        """Return the address if the reason why not is that it is forwarded already."""
        if not self.has_error("local_part", "exists"):
            return None
        # Not from cleaned_data, where a field with an error is no longer found.
        local_part = clean_local_part(self.data["local_part"])
        return self.domain.forwarding_addresses.filter(local_part=local_part).first()


def _is_address_or_blank(text: str) -> bool:
    try:
        return not text.strip() or bool(clean_destination(text))
    except ValidationError:
        return False
