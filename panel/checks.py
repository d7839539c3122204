"""Checks of what the pages need, for `manage.py check --deploy`."""

from collections.abc import Iterator
from typing import Any

from django.contrib.staticfiles.finders import get_finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.checks import CheckMessage, Error, Tags, register


@register(Tags.staticfiles, deploy=True)
def static_files(**_options: Any) -> Iterator[CheckMessage]:
    """Say that `collectstatic` was forgotten: every page that shows such a file would fail."""
    # Of a storage with a manifest; others find each file by its own name.
    known: dict[str, str] | None = getattr(staticfiles_storage, "hashed_files", None)
    if known is None:
        return
    wanted = {path for finder in get_finders() for path, _storage in finder.list([])}
    if missing := sorted(wanted - known.keys()):
        yield Error(
            f"{len(missing)} of {len(wanted)} static files were not collected ({missing[0]} ...).",
            hint="Run manage.py collectstatic --noinput, and start the panel anew.",
            id="panel.E001",
        )
