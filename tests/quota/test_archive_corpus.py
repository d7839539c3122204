"""Messages that break mail programs, in an archive: each is listed and shown as text, no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client

from accounts.models import Account
from quota.archiving.pages import MESSAGES
from quota.models import Archive, ArchiveJob
from tests.hostile import corpus, marker
from tests.quota.files import keep, written

pytestmark = pytest.mark.long

CORPUS = dict(corpus())
# What no page of an archive has in its own markup.
TAGS = re.compile(
    r"<(script|img|svg|style|base|meta|iframe|object|embed|link|body|html)\b", re.IGNORECASE
)


@pytest.fixture
def archive(tmp_path: Path, alice: Account) -> Archive:
    """All of the corpus in one archive."""
    return keep(tmp_path, alice, written(list(CORPUS.values())), messages=len(CORPUS))


def main_of(client: Client, path: str, **form: object) -> str:
    """Return the content of a page, whose markup is ours alone."""
    response = client.post(path, form) if form else client.get(path)
    assert response.status_code == 200, path
    assert "'none'" in response.headers["Content-Security-Policy"]
    main = response.text[response.text.index('id="main"') :]
    assert not TAGS.search(main.removesuffix("</body>\n</html>\n")), path
    tags = " ".join(re.findall(r"<[^>]*>", main)).lower()
    for word in ("window.hit", "evil.invalid", "javascript:", "onerror"):
        # Words of a subject stand in a title's or label's quotes, and are no attributes there.
        assert word not in re.sub(r'"[^"]*"', "", tags), (path, word)
    return main


def test_corpus_is_listed_and_shown_and_nothing_changes(
    archive: Archive, tmp_path: Path, sakura: Client
) -> None:
    file = tmp_path / "example.com" / archive.file_name
    before = (file.read_bytes(), file.stat().st_mtime_ns, Archive.objects.values().get())
    home = f"/domains/example.com/archives/{archive.pk}/"
    pages = range(1, -(-len(CORPUS) // MESSAGES) + 1)
    listed = "".join(main_of(sakura, f"{home}?page={page}") for page in pages)
    numbers = range(1, len(CORPUS) + 1)
    assert {int(n) for n in re.findall(r'/messages/(\d+)/"', listed)} >= set(numbers)
    for number, (name, content) in zip(numbers, CORPUS.items(), strict=True):
        shown = main_of(sakura, f"{home}messages/{number}/")
        assert "cannot be shown" not in shown, name
        if b"Subject: " + marker(name).encode() in content[:1000]:
            assert marker(name) in shown, name
            assert marker(name) in listed, name
    chosen = main_of(sakura, f"{home}put-back/", chosen="1", number=list(numbers))
    assert len(re.findall(r'name="number"', chosen)) == len(CORPUS)
    after = (file.read_bytes(), file.stat().st_mtime_ns, Archive.objects.values().get())
    assert after == before
    assert not ArchiveJob.objects.exists()
