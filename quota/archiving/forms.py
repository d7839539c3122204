"""What customers send about archives; anything odd in a list's address is the default."""

from __future__ import annotations

from django import forms

from quota.archiving.pages import ORDERS

ALL, OLDEST = "all", "oldest"


class SearchForm(forms.Form):
    """Search and order of the list, from the query string."""

    q = forms.CharField(required=False, max_length=64)
    sort = forms.ChoiceField(required=False, choices=[(order, order) for order in ORDERS])

    def text(self) -> str:
        """Return what to look for, "" for all."""
        self.is_valid()
        return str(self.cleaned_data.get("q", "")).strip().lower().replace("\0", "")

    def order(self) -> str:
        """Return the order by its word."""
        self.is_valid()
        return self.cleaned_data.get("sort") or "new"


class WhichForm(forms.Form):
    """All mail, or only the oldest until half of the mailbox is free."""

    which = forms.ChoiceField(choices=[(ALL, ALL), (OLDEST, OLDEST)])

    @property
    def oldest(self) -> bool:
        """Whether only the oldest was chosen; to be asked of a valid form."""
        return bool(self.cleaned_data["which"] == OLDEST)


class PutBackForm(forms.Form):
    """Which messages to put back, by their places in the archive; none chosen: all."""

    def __init__(self, *args: object, messages: int) -> None:
        """Take how many messages the archive has."""
        super().__init__(*args)  # type: ignore[arg-type]
        self._messages = messages

    def numbers(self) -> list[int]:
        """Return the places that were sent and that there are, in their order."""
        getlist = getattr(self.data, "getlist", None)
        sent = getlist("number") if getlist else []
        digits = [text for text in sent if text.isascii() and text.isdigit() and len(text) < 10]
        return sorted({int(text) for text in digits if 1 <= int(text) <= self._messages})
