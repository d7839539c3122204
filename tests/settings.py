"""The panel's settings as every test finds them, whatever stands in the caller's environment.

The environment is put back afterwards: a test that starts a process gives it what it needs.
`PLUSMAIL_TEST_DATABASE_URL` runs the tests on another database; see tests/postgres.py.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "plusmail-tests-"


def _own_directory() -> str:
    """Make a directory for this process, and remove those of processes that were killed.

    mypy and the workers of a parallel run end without a chance to tidy up.
    """
    for left in Path("/tmp").glob(f"{_PREFIX}*"):
        if not Path("/proc", left.name.split("-")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)
    made = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir="/tmp")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


_VAR = _own_directory()
Path(_VAR, "static").mkdir()
_given = dict(os.environ)
_database = os.environ.get("PLUSMAIL_TEST_DATABASE_URL", f"sqlite:///{_VAR}/panel.sqlite3")
_wanted = {
    "SECRET_KEY": "for tests only, never for a server",
    "IGNORE_DOTENV": "1",
    "PLUSMAIL_VAR": _VAR,
    "DATABASE_URL": _database,
    "REDIS_URL": f"unix://{_VAR}/redis.sock",
    "PANEL_URL": "http://panel.plusmail.test",
    "ALLOWED_HOSTS": "testserver,127.0.0.1,localhost",
    "MAILBOX_PASSWORD_SCHEME": "SHA512-CRYPT",
    "MAILBOX_PASSWORD_ROUNDS": "1000",
    "PROPAGATION_DELAY": "900",
    "SWEEP_SECONDS": "60",
    "MAILHOST_ROOT": "",
    "REMOTE_MAIL_DOORS": "",
    "PROFILE_CERTIFICATE": "",
    "PROFILE_KEY": "",
    "MAIL_ACCESS_DAYS": "365",
    "HISTORY_DAYS": "365",
    "TRASH_DAYS": "14",
    "WEBMAIL_URL": "http://{domain}/webmail/",
    "WEBMAIL_KEPT_DAYS": "14",
    "DESTINATIONS_PER_ADDRESS": "20",
    "TIME_ZONE": "Asia/Tokyo",
    "EMAIL_URL": "",
    "DEFAULT_FROM_EMAIL": "",
    "CONTACT_ADDRESS": "",
    "CONTACTS_PER_HOUR": "5",
    "DEBUG": "0",
    "DEMO": "0",
    "BEHIND_PROXY": "0",
}
os.environ.update(_wanted)
try:
    from plusmail.settings import *  # noqa: F403
    from plusmail.settings import DATABASES, STORAGES
finally:
    os.environ.clear()
    os.environ.update(_given)

if "sqlite3" in DATABASES["default"]["ENGINE"]:
    # A file, as in production: threads that meet in it lock each other out as they would there.
    DATABASES["default"]["TEST"] = {"NAME": f"{_VAR}/test.sqlite3"}
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
# Logins of the panel: the hash is Django's business and would be most of the tests' time.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
