"""Forms of orders and of “Contact us”: text in, reasons out; the rules are the models'."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.forms import PageForm
from accounts.models import Account, Domain
from mailhost import grammar
from orders import contact
from orders.models import Inquiry, Option, Order
from orders.models.inquiries import LONGEST_SUBJECT, LONGEST_TEXT
from orders.models.orders import MOST_AT_ONCE, ordered_account


class OrderForm(PageForm):
    """Order an option: how many accounts, or for which account."""

    quantity = forms.IntegerField(label=_("Quantity"), min_value=1, max_value=MOST_AT_ONCE)
    account = forms.CharField(label=_("POP account"), max_length=320)
    seen = forms.IntegerField(min_value=0)

    def __init__(self, *args: Any, domain: Domain, option: Option, **kwargs: Any) -> None:
        """Ask for what this option needs."""
        super().__init__(*args, **kwargs)
        self.domain = domain
        self.option = option
        del self.fields["quantity" if option.of_an_account else "account"]

    def clean_account(self) -> Account:
        """Return the account of this domain."""
        return ordered_account(self.domain, self.cleaned_data["account"])

    def save(self, *, by: Any) -> Order | None:
        """Order it, or put the reason why not on the form."""
        data = self.cleaned_data
        try:
            return Order.objects.ask(
                domain=self.domain,
                option=self.option,
                account=data.get("account"),
                quantity=data.get("quantity", 1),
                seen_yen=data["seen"],
                by=by,
            )
        except ValidationError as error:
            self.add_error(None, error.messages)
            return None


class ContactForm(PageForm):
    """Write to the operator."""

    sender = forms.CharField(label=_("Your address"), max_length=254)
    subject = forms.CharField(label=_("Subject"), max_length=LONGEST_SUBJECT)
    text = forms.CharField(label=_("Your message"), max_length=LONGEST_TEXT)

    often = False  # whether it was refused because of its number

    def __init__(self, *args: Any, domain: Domain, **kwargs: Any) -> None:
        """Take the domain whose owner writes."""
        super().__init__(*args, **kwargs)
        self.domain = domain

    def clean_sender(self) -> str:
        """Return one of the customer's addresses."""
        return contact.clean_sender(self.domain, self.cleaned_data["sender"])

    def clean_subject(self) -> str:
        """Return one line of visible characters: it becomes a header."""
        subject: str = self.cleaned_data["subject"]
        if not grammar.TITLE.match(subject):
            words = _("Use one line without control characters.")
            raise ValidationError(words, code="line")
        return subject

    def clean_text(self) -> str:
        """Return the text with line ends as Python has them."""
        return "\n".join(str(self.cleaned_data["text"]).splitlines())

    def save(self, *, by: Any) -> Inquiry | None:
        """Keep the message, or put the reason why not on the form."""
        try:
            return contact.write(self.domain, by=by, **self.cleaned_data)
        except contact.TooOften as error:
            self.often = True
            self.add_error(None, error.messages)
            return None
