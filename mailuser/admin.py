"""The operator's view of what mailboxes' users may do; the owners of domains choose it."""

from django.contrib import admin

from accounts.admin import ReadOnly
from mailuser.models import AccountRights, DomainRights


@admin.register(DomainRights)
class DomainRightsAdmin(ReadOnly):
    """What counts for the mailboxes of a domain."""

    list_display = ["domain", "login", "password", "mail", "archives", "remove", "forward", "reply"]
    list_select_related = ["domain"]
    search_fields = ["domain__name"]


@admin.register(AccountRights)
class AccountRightsAdmin(ReadOnly):
    """What counts for one mailbox."""

    list_display = [
        *("account", "login", "password", "mail", "archives", "remove", "forward", "reply"),
    ]
    list_select_related = ["account__domain"]
    search_fields = ["account__name"]
