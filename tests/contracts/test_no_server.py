"""While no mail server answers, every page that somebody works with says so, in his language."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Cast, browser, logged_in
from tests.contracts.test_urls import PAGES, WITHOUT_A_LOGIN, path_of, sakuras

pytestmark = pytest.mark.long

WORDS = {
    "ja": "メールサーバーに接続されていません。",
    "en": "No mail server is connected.",
}


@pytest.mark.parametrize("language", WORDS)
def test_every_page_says_that_no_mail_server_is_connected(
    cast: Cast, tmp_path: Path, language: str
) -> None:
    objects = sakuras(cast, tmp_path)
    sakura, operator = (logged_in(one, language) for one in (cast.sakura.user, cast.operator))
    silent: set[str] = set()
    said: set[str] = set()
    for address in PAGES:
        client = browser(language) if address.name in WITHOUT_A_LOGIN else sakura
        response = client.get(path_of(address, objects))
        if response.streaming:
            # The file is closed at its end.
            list(response)
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if response.status_code == 200 and is_page:
            (said if WORDS[language] in response.text else silent).add(address.name)
    for path in ("/admin/", "/admin/accounts/account/", "/domains/"):
        assert WORDS[language] in operator.get(path).text, path
    assert not silent
    assert {"login", "user_manager", "email_forwarding", "domain_home"} <= said
