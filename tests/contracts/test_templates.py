"""Every template parses, names only pages there are, and asks for nothing inline."""

import re
from pathlib import Path

import pytest
from django.template.loader import get_template
from django.urls import URLPattern, URLResolver, get_resolver

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
NAMES = [str(path.relative_to(ROOT / "templates")) for path in TEMPLATES]


def url_names(patterns: list[URLPattern | URLResolver] | None = None, space: str = "") -> set[str]:
    """Return every name that `{% url %}` may be given."""
    found: set[str] = set()
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{pattern.namespace}:" if pattern.namespace else space
            found |= url_names(pattern.url_patterns, inner)
        elif pattern.name:
            found.add(f"{space}{pattern.name}")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_template_parses(name: str) -> None:
    get_template(name)


@pytest.mark.parametrize("path", TEMPLATES, ids=NAMES)
def test_template_names_only_pages_that_exist(path: Path) -> None:
    used = re.findall(r"{%\s*url\s+['\"]([^'\"]+)['\"]", path.read_text())
    assert set(used) <= url_names()


@pytest.mark.parametrize("path", TEMPLATES, ids=NAMES)
def test_template_includes_only_templates_that_exist(path: Path) -> None:
    text = path.read_text()
    for name in re.findall(r"{%\s*(?:include|extends)\s+['\"]([^'\"]+)['\"]", text):
        get_template(name)


@pytest.mark.parametrize("path", TEMPLATES, ids=NAMES)
def test_template_has_nothing_inline(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|javascript:", text)
    assert "|safe" not in text
    assert "autoescape off" not in text
    assert "mark_safe" not in text


def test_no_code_of_ours_marks_text_as_safe() -> None:
    for app in (
        "accounts",
        "clientsettings",
        "forwarding",
        "panel",
        "propagation",
        "plusmail",
        "quota",
        "remotemail",
        "tracing",
        "webmail",
        "mailuser",
    ):
        for path in (ROOT / app).rglob("*.py"):
            text = path.read_text()
            # The guide's text is ours, made HTML by a library that takes none from it.
            assert "mark_safe" not in text or path == ROOT / "panel/guide.py", path
            assert "csrf_exempt" not in text or path.name == "views.py", path


@pytest.mark.parametrize("path", TEMPLATES, ids=NAMES)
def test_translated_sentences_are_joined_as_their_language_does(path: Path) -> None:
    sentence = r'(?:endblocktranslate|translate "[^"]*\.") %}(?:</strong>)?'
    joined = re.findall(sentence + r" {% (?:translate|blocktranslate)\b", path.read_text())
    assert not joined, "write {% between %} for the space, which Japanese does not have"
