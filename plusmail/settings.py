"""Every setting, read from the environment (or a .env file) by django-environ.

`.env.example` explains each variable. Nothing here has a default that would be
unsafe outside the demo: without DEMO=1 a missing SECRET_KEY stops the start.
"""

from pathlib import Path
from typing import Any

import environ
from celery.schedules import crontab
from django.utils.translation import gettext_lazy as _

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
if not env.bool("IGNORE_DOTENV", default=False):
    environ.Env.read_env(BASE_DIR / ".env")

DEMO = env.bool("DEMO", default=False)
DEBUG = env.bool("DEBUG", default=False)
VAR = Path(env.str("PLUSMAIL_VAR", default=str(BASE_DIR / "var")))
SECRET_KEY = env.str("SECRET_KEY")

# --- Who may be spoken to -------------------------------------------------
# The panel answers at one address. Hosted domains reach only what HostedDomainMiddleware
# lets through, so Django's own list stays open and that middleware judges the Host header.
PANEL_URL = env.str("PANEL_URL", default="http://127.0.0.1:8000").rstrip("/")
PANEL_HOSTS = env.list("ALLOWED_HOSTS", default=[])
ALLOWED_HOSTS = ["*"]
CSRF_TRUSTED_ORIGINS = [PANEL_URL]
CSRF_FAILURE_VIEW = "panel.views.csrf_failure"
OVER_HTTPS = PANEL_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = OVER_HTTPS
SECURE_SSL_REDIRECT = OVER_HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if OVER_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = OVER_HTTPS
SECURE_REFERRER_POLICY = "same-origin"
BEHIND_PROXY = env.bool("BEHIND_PROXY", default=False)
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = LANGUAGE_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 12 * 60 * 60
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "connect-src": ["'self'"],
        "font-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- What customers are told ----------------------------------------------
# The mail servers' ports for mail programs; 0: none. clientsettings/server.py makes of them what
# pages and mail programs are told.
POP3_PORT_SHOWN = env.int("POP3_PORT_SHOWN", default=110)
POP3S_PORT_SHOWN = env.int("POP3S_PORT_SHOWN", default=995)
IMAP_PORT_SHOWN = env.int("IMAP_PORT_SHOWN", default=143)
IMAPS_PORT_SHOWN = env.int("IMAPS_PORT_SHOWN", default=993)
SUBMISSION_PORT_SHOWN = env.int("SUBMISSION_PORT_SHOWN", default=587)
SUBMISSIONS_PORT_SHOWN = env.int("SUBMISSIONS_PORT_SHOWN", default=465)
# What signs Apple profiles: files with a certificate and its chain, and its key; empty: unsigned.
PROFILE_CERTIFICATE = env.str("PROFILE_CERTIFICATE", default="")
PROFILE_KEY = env.str("PROFILE_KEY", default="")
# The mail servers' ports for FTP and SFTP; 0: none.
FTP_PORT_SHOWN = env.int("FTP_PORT_SHOWN", default=21)
SFTP_PORT_SHOWN = env.int("SFTP_PORT_SHOWN", default=2222)
# The port for reading mail by SSH; 0: none.
SSH_PORT_SHOWN = env.int("SSH_PORT_SHOWN", default=2022)

# Where a domain's webmail is: {domain} is filled in. Empty: none is offered.
WEBMAIL_URL = env.str("WEBMAIL_URL", default="")

# --- Applications ---------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_htmx",
    "history",
    "propagation",
    "accounts",
    "forwarding",
    "quota",
    "remotemail",
    "clientsettings",
    "webmail",
    "bulk",
    "orders",
    "tracing",
    "mailuser",
    "panel",
]
# What also answers at a hosted domain's own name, without session or cookie, besides the
# manual's old address; see panel.hosts.
AT_HOSTED_DOMAINS = ["autoconfig", "autoconfig_well_known", "autodiscover"]
MIDDLEWARE = [
    # Before the redirect to https: a hosted domain's old address leads straight to the panel's.
    "panel.hosts.HostedDomainMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "history.acting.ActorMiddleware",
    "mailuser.sessions.MailboxUserMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "plusmail.urls"
WSGI_APPLICATION = "plusmail.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
                "panel.context.every_page",
            ],
        },
    }
]

# --- Data -----------------------------------------------------------------
DATABASES: dict[str, Any] = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{VAR / 'panel.sqlite3'}")
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # IMMEDIATE: a transaction that reads first and writes later must not fail with "locked".
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"]["CONN_MAX_AGE"] = 60  # seconds
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = env.str("REDIS_URL", default=f"unix://{VAR / 'redis' / 'redis.sock'}")

# --- People ---------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
    "mailuser.backends.MailboxBackend",
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
PASSWORD_MINIMUM = 10
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "accounts.passwords.MinimumLength",
        "OPTIONS": {"min_length": PASSWORD_MINIMUM},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# Guessing is slowed per (login, address), so that a stranger cannot lock a customer out everywhere;
# beyond that by higher limits for each place and for each login (mailuser/throttle.py).
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "accounts/locked_out.html"
AXES_SENSITIVE_PARAMETERS: list[str] = []
AXES_VERBOSE = False
# One account has several names to log in by, which count together.
AXES_USERNAME_CALLABLE = "mailuser.backends.throttled_name"
AXES_CLIENT_IP_CALLABLE = "panel.hosts.client_place"
AXES_HANDLER = "mailuser.throttle.LoginThrottle"
# A mailbox's password: a scheme that both Dovecot and crypt(3) verify. docs/performance.md
# has the measurement behind the default; a hash made otherwise is renewed at the next change.
MAILBOX_PASSWORD_SCHEME = env.str("MAILBOX_PASSWORD_SCHEME", default="SHA512-CRYPT")
MAILBOX_PASSWORD_ROUNDS = env.int("MAILBOX_PASSWORD_ROUNDS", default=0)  # 0: the usual cost

# --- Propagation ----------------------------------------------------------
PROPAGATION_DELAY = env.int("PROPAGATION_DELAY", default=15 * 60)  # seconds
SWEEP_SECONDS = env.int("SWEEP_SECONDS", default=60)
# One directory per mail server that runs on this machine, named after it; empty: none does.
MAILHOST_ROOT = env.str("MAILHOST_ROOT", default="")
# How the panel reaches the servers' mail: a directory of NAME.json, copies of what each one's
# `init` writes. Empty: the files themselves, below MAILHOST_ROOT (for a web server that is root).
REMOTE_MAIL_DOORS = env.str("REMOTE_MAIL_DOORS", default="")
MAIL_ACCESS_DAYS = env.int("MAIL_ACCESS_DAYS", default=365)
HISTORY_DAYS = env.int("HISTORY_DAYS", default=365)
TRASH_DAYS = env.int("TRASH_DAYS", default=14)
WEBMAIL_KEPT_DAYS = env.int("WEBMAIL_KEPT_DAYS", default=14)
DESTINATIONS_PER_ADDRESS = env.int("DESTINATIONS_PER_ADDRESS", default=20)
# Who can list the records that a server should hold, and hears of their fate; see
# propagation.sources. Order is the order in which a server is rebuilt.
RECORD_SOURCES = [
    "accounts.sources.plans",
    "accounts.sources.domains",
    "accounts.sources.mailboxes",
    "forwarding.sources.addresses",
    "forwarding.sources.lists",
    "webmail.sources.webmails",
    "mailuser.sources.replies",
]
# Each is asked whether an account may have a name of a domain; see accounts.names_elsewhere.
NAME_RULES = ["forwarding.taken.lists_names"]

# --- Celery ---------------------------------------------------------------
# The same Redis by the names that each library gives to a Unix socket.
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = env.str("TIME_ZONE", default="Asia/Tokyo")
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR / "beat" / "schedule")
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "send due changes to their servers": {
        "task": "propagation.tasks.sweep",
        "schedule": SWEEP_SECONDS,
        # A sweep that waited longer than this is replaced by the next one.
        "options": {"expires": SWEEP_SECONDS},
    },
    "ask every server how it is": {
        "task": "propagation.tasks.ask_servers",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "take over what was sent, refused and stored": {
        "task": "quota.tasks.collect_figures",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "archive full mailboxes on Wednesday": {
        "task": "quota.tasks.archive_overquota",
        # quota.wednesday has the same, for who makes up a run that was missed.
        "schedule": crontab(day_of_week="wed", hour=4, minute=0),
        "options": {"expires": 3600},
    },
    "do what waits with archives": {
        "task": "quota.tasks.look_after_archives",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "take over which members' copies came back": {
        "task": "forwarding.tasks.collect_returned",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "take over what became of mail": {
        "task": "tracing.tasks.collect_events",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "empty the trash of deleted mailboxes": {
        "task": "accounts.tasks.purge_trash",
        "schedule": 60.0 * 60,
    },
    "delete the settings of webmails removed long ago": {
        "task": "webmail.tasks.forget_settings",
        "schedule": 24 * 60.0 * 60,
    },
    "send what customers wrote to us": {
        "task": "orders.tasks.send_inquiries",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "forget accesses to mail of long ago": {
        "task": "remotemail.tasks.prune_mail_accesses",
        "schedule": 24 * 60.0 * 60,
    },
    "forget what was done long ago": {
        "task": "history.tasks.prune_history",
        "schedule": 24 * 60.0 * 60,
    },
    "go on with imports": {
        "task": "bulk.tasks.look_after_imports",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "forget imports of long ago": {
        "task": "bulk.tasks.forget_imports",
        "schedule": 60.0 * 60,
    },
    "put new certificates in place": {
        "task": "accounts.tasks.install_certificates",
        "schedule": 10.0 * 60,
    },
}

# --- Mail to customers ----------------------------------------------------
# How the panel's own notices reach the customers' own addresses; empty: they do not.
EMAIL_URL = env.str("EMAIL_URL", default="")
MAIL_TO_CUSTOMERS = bool(EMAIL_URL)
vars().update(env.email_url_config(EMAIL_URL or "dummymail://"))
EMAIL_TIMEOUT = 20  # seconds
EMAIL_USE_LOCALTIME = True
# Who they come from; empty: to accounts, the mail server's postmaster.
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="")

# --- Mail from customers --------------------------------------------------
# Where "Contact us" sends to; empty: what customers write is in the admin alone.
CONTACT_ADDRESS = env.str("CONTACT_ADDRESS", default="")
CONTACTS_PER_HOUR = env.int("CONTACTS_PER_HOUR", default=5)  # of one customer

# --- Language and time ----------------------------------------------------
LANGUAGE_CODE = "ja"
LANGUAGES = [("ja", _("Japanese")), ("en", _("English"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.str("TIME_ZONE", default="Asia/Tokyo")
USE_I18N = USE_TZ = True
FORMAT_MODULE_PATH = ["plusmail.formats"]

# --- Static files ---------------------------------------------------------
STATIC_URL = "static/"
STATIC_ROOT = VAR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    # It would remark on each connection that it closes.
    "loggers": {"imapclient": {"level": "WARNING"}},
}
