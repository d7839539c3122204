"""The operator's view of who looked at whose mail. Nothing there can be changed."""

from django.contrib import admin

from accounts.admin import ReadOnly
from remotemail.models import MailAccess


@admin.register(MailAccess)
class MailAccessAdmin(ReadOnly):
    """The trail, the latest first."""

    list_display = ["at", "user_name", "address", "account_name", "action", "folder", "messages"]
    list_filter = ["action"]
    search_fields = ["account_name", "user_name"]
    date_hierarchy = "at"
