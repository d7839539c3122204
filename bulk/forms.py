"""The form by which a file comes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.forms import PageForm
from accounts.models import Domain
from bulk import jobs
from bulk.models import Import, ImportKind


class UploadForm(PageForm):
    """A file, and what it holds."""

    kind = forms.ChoiceField(choices=ImportKind.choices)
    file = forms.FileField(
        label=_("CSV file"), error_messages={"required": _("Choose a file first.")}
    )

    def clean_file(self) -> Any:
        """Refuse a file that is too large before it is read."""
        file = self.cleaned_data["file"]
        if (file.size or 0) > jobs.MOST_BYTES:
            raise ValidationError(
                _("The file is larger than %(most)d MB. Import it in parts."),
                code="large",
                params={"most": jobs.MOST_BYTES // 1024**2},
            )
        return file

    def check(self, domain: Domain, *, by: Any) -> Import | None:
        """Do the dry run, or put the reason why not on the form."""
        file, kind = self.cleaned_data["file"], ImportKind(self.cleaned_data["kind"])
        try:
            return jobs.check(domain, kind, file.read(), file_name=file.name or "", by=by)
        except ValidationError as error:
            self.add_error("file", error)
            return None
