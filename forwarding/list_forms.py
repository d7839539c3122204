"""Forms of mailing lists: text in, reasons next to fields; the rules are the models'."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.forms import PageForm
from accounts.models import Domain
from forwarding.addresses import clean_destination
from forwarding.models import MAX_MEMBERS, MailingList, Posters, clean_list_name, clean_title
from forwarding.pasted import Pasted, Wrong, parse

#: A thousand of the longest addresses with their names are no longer.
MOST_PASTED = 400_000
#: Wrong lines that are shown at once.
MOST_SHOWN = 20

_plain = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


class ListSettingsForm(PageForm):
    """What a list is called, whose it is, and who may write to it.

    Each field is judged here already, by the models' own rules: so all that is wrong is shown
    at once. The models judge it again, under the lock of every edit.
    """

    title = forms.CharField(label=_("Name of the list"), max_length=200)
    owner_address = forms.CharField(label=_("Owner's address"), max_length=320)
    posters = forms.ChoiceField(label=_("Who may write to it"), choices=Posters.choices)

    def __init__(self, *args: Any, by: Any, **kwargs: Any) -> None:
        """Take who asks for it."""
        super().__init__(*args, **kwargs)
        self.by = by

    def clean_title(self) -> str:
        """Return the title as stored."""
        return clean_title(self.cleaned_data["title"])

    def clean_owner_address(self) -> str:
        """Return the owner's address as stored."""
        return clean_destination(self.cleaned_data["owner_address"])

    def save(self, mailing_list: MailingList) -> bool:
        """Change the list, or put the reason why not on the form."""
        try:
            mailing_list.change(**self.cleaned_data, by=self.by)
        except ValidationError as error:
            self.put(error)
            return False
        return True

    def put(self, error: ValidationError) -> None:
        """Put a model's reasons next to their fields; those of a name next to the name."""
        if not hasattr(error, "error_dict"):
            self.add_error("local_part" if "local_part" in self.fields else None, error)
            return
        for field, errors in error.error_dict.items():
            self.add_error(field if field in self.fields else None, errors)


class OpenListForm(ListSettingsForm):
    """Make a mailing list."""

    local_part = forms.CharField(
        label=_("Address of the list"), max_length=200, widget=forms.TextInput(attrs=_plain)
    )
    field_order = ["local_part", "title", "owner_address", "posters"]

    def __init__(self, *args: Any, domain: Domain, **kwargs: Any) -> None:
        """Take the domain to which the list is to belong."""
        super().__init__(*args, **kwargs)
        self.domain = domain

    def clean_local_part(self) -> str:
        """Return the name as stored; it is looked up here, whatever else is wrong."""
        name = clean_list_name(self.cleaned_data["local_part"])
        MailingList.objects.to_open(self.domain, name)
        return name

    def save_new(self) -> MailingList | None:
        """Open the list, or put the reason why not on the form."""
        try:
            return MailingList.objects.open(domain=self.domain, by=self.by, **self.cleaned_data)
        except ValidationError as error:
            self.put(error)
            return None


class AddMembersForm(PageForm):
    """Add members: one, or as many as are pasted."""

    members = forms.CharField(
        label=_("Addresses"), max_length=MOST_PASTED, widget=forms.Textarea(attrs=_plain)
    )

    pasted = Pasted()

    def clean_members(self) -> list[str]:
        """Return the addresses as stored; those that are none stand in `pasted.wrong`."""
        self.pasted = parse(self.cleaned_data["members"])
        if self.pasted.wrong and "right_only" not in self.data:
            raise ValidationError(
                _("Nobody was added yet: some of it is not an address."), code="wrong"
            )
        if len(self.pasted.addresses) > MAX_MEMBERS:
            raise ValidationError(
                _("These are %(count)d addresses; a list has at most %(most)d members."),
                params={"count": len(self.pasted.addresses), "most": MAX_MEMBERS},
                code="many",
            )
        return self.pasted.addresses

    def save(self, mailing_list: MailingList, *, by: Any) -> int | None:
        """Add them and return how many are new; None where the reason is put on the form."""
        try:
            return mailing_list.add(self.cleaned_data["members"], by=by)
        except ValidationError as error:
            self.add_error("members", error)
            return None

    def with_the_rest(self) -> AddMembersForm:
        """Return the form with what is not an address yet, once all else was added."""
        form = AddMembersForm(initial={"members": "\n".join(one.text for one in self.pasted.wrong)})
        # By their lines in the box as it is now.
        rest = [
            Wrong(line, one.text, one.reason) for line, one in enumerate(self.pasted.wrong, start=1)
        ]
        form.pasted = Pasted([], rest)
        return form

    @property
    def wrong(self) -> list[Wrong]:
        """What is no address, as much of it as a page shows."""
        return self.pasted.wrong[:MOST_SHOWN]

    @property
    def more_wrong(self) -> int:
        """How much more is no address."""
        return max(0, len(self.pasted.wrong) - MOST_SHOWN)
