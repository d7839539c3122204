"""With production's environment the panel passes Django's own deployment checks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
KEY = "k8Vq2-pL0zXw9RtYb3NmJh7GfDs5Aq1We4Zc6Vu8Io"
PRODUCTION = {
    "IGNORE_DOTENV": "1",
    "SECRET_KEY": f"{KEY}-and-some-more",
    "PANEL_URL": "https://panel.example.jp",
    "BEHIND_PROXY": "on",
}


def manage(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run manage.py with this environment and nothing else of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**kept, **environ}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Production's environment, with its data in a directory of this test's."""
    (tmp_path / "static").mkdir()
    return {**PRODUCTION, "PLUSMAIL_VAR": str(tmp_path)}


def test_deployment_checks_pass(environ: dict[str, str]) -> None:
    forgotten = manage("check", "--deploy", **environ)
    assert forgotten.returncode != 0
    assert "collectstatic" in forgotten.stderr
    assert manage("collectstatic", "--noinput", "-v0", **environ).returncode == 0
    done = manage("check", "--deploy", "--fail-level", "WARNING", **environ)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_panel_does_not_start_without_a_secret_key(environ: dict[str, str]) -> None:
    del environ["SECRET_KEY"]
    done = manage("check", **environ)
    assert done.returncode != 0
    assert "SECRET_KEY" in done.stderr


def test_demo_data_is_not_loaded_in_production(environ: dict[str, str]) -> None:
    assert manage("migrate", "-v0", **environ).returncode == 0
    done = manage("load_demo", **environ)
    assert done.returncode != 0
    assert "DEMO=1" in done.stderr


def test_cookies_are_secure_where_the_panel_is(environ: dict[str, str]) -> None:
    code = (
        "from django.conf import settings as s;"
        "print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SECURE_SSL_REDIRECT, s.DEBUG)"
    )
    done = manage("shell", "-v0", "-c", code, **environ)
    assert done.stdout.split() == ["True", "True", "True", "False"], done.stderr


def test_models_and_migrations_agree(environ: dict[str, str]) -> None:
    done = manage("makemigrations", "--check", "--dry-run", **environ)
    assert done.returncode == 0, done.stdout


def test_failing_page_shows_its_words_without_static_files(environ: dict[str, str]) -> None:
    code = (
        "from django.test import RequestFactory;"
        "from django.views.defaults import server_error;"
        "print(server_error(RequestFactory().get('/')).content.decode())"
    )
    done = manage("shell", "-v0", "-c", code, **environ)
    assert "/static/css/plusmail.css" in done.stdout, done.stderr


def test_beat_makes_its_own_directory(environ: dict[str, str], tmp_path: Path) -> None:
    var = tmp_path / "new"
    code = (
        "from celery.beat import Service; from celery.signals import beat_init;"
        "from plusmail.celery import app; beat_init.send(sender=Service(app))"
    )
    done = manage("shell", "-v0", "-c", code, **environ | {"PLUSMAIL_VAR": str(var)})
    assert (var / "beat").stat().st_mode & 0o777 == 0o700, done.stderr
