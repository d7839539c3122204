"""Every address of the panel: the one place that sees all apps, and hands one what it needs of
another."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.decorators.cache import never_cache

from accounts import languages, switching
from accounts import views as accounts
from bulk import views as bulk
from clientsettings import pages as client_pages
from clientsettings import views as clients
from forwarding import list_pages, list_views, pages
from forwarding import views as forwarding
from mailuser import choosing, replying, standing
from mailuser import forwarding as own_forwarding
from mailuser import views as mailuser
from orders import views as orders
from panel import guide
from panel import history as histories
from panel import views as panel
from panel.hosts import client_address
from quota import fill, mailboxes
from quota import views as quota
from quota.archiving import views as archiving
from remotemail import views as remote
from tracing import views as tracing
from webmail import views as webmail

from_others = {
    "reach": pages.reach,
    "offer": panel.offer_for,
    "fills": fill.fills,
    "more": orders.one_more,
}
from_lists = {"lists_among": list_pages.lists_among}
from_mailuser = {"silenced": standing.silenced}
from_panel = {"client_address": client_address}

of_a_domain: list[URLPattern | URLResolver] = [
    path("", panel.domain_home, name="domain_home"),
    path("users/", accounts.user_manager, from_others, name="user_manager"),
    path("users/assistant/", panel.use_assistant, from_others, name="assistant"),
    path("users/<uuid:account_id>/password/", accounts.change_password, name="change_password"),
    path("users/rights/", choosing.mailbox_rights, name="mailbox_rights"),
    path("users/<uuid:account_id>/rights/", choosing.account_rights, name="account_rights"),
    path("users/<uuid:account_id>/auto-reply/", replying.auto_reply, name="auto_reply"),
    path("users/<uuid:account_id>/ftp/", switching.account_ftp, name="account_ftp"),
    path("users/<uuid:account_id>/ssh/", switching.account_ssh, name="account_ssh"),
    path("users/<uuid:account_id>/delete/", panel.delete_account, name="delete_account"),
    path("users/<uuid:account_id>/mail/", remote.remote_mail, from_panel, name="remote_mail"),
    path(
        "users/<uuid:account_id>/mail/delete/",
        remote.remote_delete,
        from_panel,
        name="remote_delete",
    ),
    path(
        "users/<uuid:account_id>/mail/trail/",
        remote.remote_trail,
        from_panel,
        name="remote_trail",
    ),
    path(
        "users/<uuid:account_id>/mail/<int:validity>/<int:uid>/",
        remote.remote_message,
        from_panel,
        name="remote_message",
    ),
    path(
        "users/<uuid:account_id>/mail/<int:validity>/<int:uid>/download/",
        remote.remote_download,
        from_panel,
        name="remote_download",
    ),
    path("forwarding/", forwarding.email_forwarding, from_mailuser, name="email_forwarding"),
    path("forwarding/catch-all/", forwarding.catch_all, name="catch_all"),
    path(
        "forwarding/<int:forwarding_id>/",
        forwarding.change_forwarding,
        from_mailuser,
        name="change_forwarding",
    ),
    path(
        "forwarding/<int:forwarding_id>/delete/",
        forwarding.delete_forwarding,
        name="delete_forwarding",
    ),
    path("forwarding/lists/", list_views.mailing_lists, name="mailing_lists"),
    path("forwarding/lists/<int:list_id>/", list_views.mailing_list, name="mailing_list"),
    path("forwarding/lists/<int:list_id>/settings/", list_views.change_list, name="change_list"),
    path("forwarding/lists/<int:list_id>/delete/", list_views.delete_list, name="delete_list"),
    path("mailboxes/", mailboxes.mailboxes, name="mailboxes"),
    path("sending/", quota.sending, from_panel, name="sending"),
    path("sending/<uuid:account_id>/", quota.account_sending, from_panel, name="account_sending"),
    path("sending/<uuid:account_id>/check/", quota.check_sending, from_lists, name="check_sending"),
    path("mailboxes/<uuid:account_id>/archive/", archiving.archive_now, name="archive_now"),
    path("why/", tracing.why, name="why"),
    path("map/", tracing.address_map, name="address_map"),
    path("webmail/", webmail.webmail, name="webmail"),
    path("webmail/remove/", webmail.remove_webmail, name="remove_webmail"),
    path("archives/", archiving.archives, name="archives"),
    path("archives/<int:archive_id>/", archiving.archive, name="archive"),
    path(
        "archives/<int:archive_id>/messages/<int:number>/",
        archiving.archive_message,
        name="archive_message",
    ),
    path(
        "archives/<int:archive_id>/download/", archiving.archive_download, name="archive_download"
    ),
    path(
        "archives/<int:archive_id>/put-back/", archiving.archive_put_back, name="archive_put_back"
    ),
    path("archives/<int:archive_id>/delete/", archiving.archive_delete, name="archive_delete"),
    path("archives/jobs/<int:job_id>/", archiving.archive_job, name="archive_job"),
    path("settings/", client_pages.domain_settings, name="domain_settings"),
    path("settings/<str:local_part>/", client_pages.client_settings, name="client_settings"),
    path(
        "settings/<str:local_part>/print/",
        client_pages.client_settings_sheet,
        name="client_settings_sheet",
    ),
    path(
        "settings/<str:local_part>/qr.svg",
        client_pages.client_settings_qr,
        name="client_settings_qr",
    ),
    path("history/", histories.history, name="history"),
    path("csv/", bulk.csv_home, name="csv_home"),
    path("csv/accounts.csv", bulk.csv_export, {"kind": "accounts"}, name="csv_accounts"),
    path("csv/forwards.csv", bulk.csv_export, {"kind": "forwards"}, name="csv_forwards"),
    path("csv/imports/<int:import_id>/", bulk.csv_import, name="csv_import"),
    path("options/", orders.options, name="orders_options"),
    path("options/order/", orders.order, name="orders_order"),
    path("options/orders/<int:order_id>/take-back/", orders.take_back, name="orders_take_back"),
    path("contact/", orders.contact_us, name="contact"),
    path("changes/<int:change_id>/cancel/", panel.cancel_change, name="cancel_change"),
]
# What the user of one mailbox has. No address names an account: it is the one that he logged in to.
of_a_mailbox: list[URLPattern | URLResolver] = [
    path("", mailuser.mailbox_home, from_panel, name="mailbox_home"),
    path("password/", accounts.change_password, name="mailbox_change_password"),
    path("auto-reply/", replying.auto_reply, name="mailbox_auto_reply"),
    path("forwarding/", own_forwarding.own_forwarding, name="mailbox_forwarding"),
    path("mail/", remote.remote_mail, from_panel, name="mailbox_remote_mail"),
    path("mail/delete/", remote.remote_delete, from_panel, name="mailbox_remote_delete"),
    path("mail/trail/", remote.remote_trail, from_panel, name="mailbox_remote_trail"),
    path(
        "mail/<int:validity>/<int:uid>/",
        remote.remote_message,
        from_panel,
        name="mailbox_remote_message",
    ),
    path(
        "mail/<int:validity>/<int:uid>/download/",
        remote.remote_download,
        from_panel,
        name="mailbox_remote_download",
    ),
    path("sending/", quota.account_sending, from_panel, name="mailbox_account_sending"),
    path("sending/check/", quota.check_sending, from_lists, name="mailbox_check_sending"),
    path("archives/", archiving.archives, name="mailbox_archives"),
    path("archives/new/", archiving.archive_now, name="mailbox_archive_now"),
    path("archives/<int:archive_id>/", archiving.archive, name="mailbox_archive"),
    path(
        "archives/<int:archive_id>/messages/<int:number>/",
        archiving.archive_message,
        name="mailbox_archive_message",
    ),
    path(
        "archives/<int:archive_id>/download/",
        archiving.archive_download,
        name="mailbox_archive_download",
    ),
    path(
        "archives/<int:archive_id>/put-back/",
        archiving.archive_put_back,
        name="mailbox_archive_put_back",
    ),
    path(
        "archives/<int:archive_id>/delete/",
        archiving.archive_delete,
        name="mailbox_archive_delete",
    ),
    path("archives/jobs/<int:job_id>/", archiving.archive_job, name="mailbox_archive_job"),
]
urlpatterns: list[URLPattern | URLResolver] = [
    path("", panel.home, name="home"),
    path("healthz", panel.healthz, name="healthz"),
    path("cgi-bin/plusmail", panel.to_the_panel, name="old_address"),
    path("help/", guide.help_guide, name="help"),
    path("help/sending", quota.help_sending, name="help_sending"),
    path("help/mailbox", mailboxes.help_mailbox, name="help_mailbox"),
    path("help/remote-mail", remote.help_remote_mail, name="help_remote_mail"),
    path("help/mail-program", clients.help_mail_program, name="help_mail_program"),
    path("mail/setup", clients.setup, name="setup"),
    path("mail/profile.mobileconfig", clients.apple_profile, name="apple_profile"),
    # Where Thunderbird and its kind look.
    path("mail/config-v1.1.xml", clients.autoconfig, name="autoconfig"),
    path(
        ".well-known/autoconfig/mail/config-v1.1.xml",
        clients.autoconfig,
        name="autoconfig_well_known",
    ),
    # Where Outlook looks, in the cases it has been seen to write.
    re_path(
        r"^[aA]uto[dD]iscover/[aA]uto[dD]iscover\.xml$", clients.autodiscover, name="autodiscover"
    ),
    path("help/webmail", webmail.help_webmail, name="help_webmail"),
    path("leave/<int:list_id>/<str:token>", forwarding.leave_list, name="leave_list"),
    path("login/", mailuser.LoginView.as_view(), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("language/", languages.choose_language, name="choose_language"),
    path(
        "login/password/",
        never_cache(
            auth.PasswordChangeView.as_view(
                template_name="accounts/own_password.html", success_url="/"
            )
        ),
        name="own_password",
    ),
    path("login/history/", histories.own_history, name="own_history"),
    path("mailbox/", include(of_a_mailbox)),
    path("domains/", panel.domains, name="domains"),
    path("domains/<str:domain>/", include(of_a_domain)),
    path("admin/", admin.site.urls),
]
