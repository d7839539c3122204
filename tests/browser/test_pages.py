"""Every page as people see it: wide, on a telephone and at 320 pixels, light and dark, ja and en.

In Japanese with axe-core, which knows what gets in the way of those who see, hear or move
otherwise (of Django's own pages of the admin, which are alike, at some; `make soak` at all); in
English without scripts. With PICTURES=DIRECTORY in the environment the pages are
also photographed into it; PICTURES_OF names some, of which `make screenshots` takes those of docs/.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from tests.browser.looking import WIDE, chosen, seen
from tests.browser.pages import pages, sessions
from tests.browser.scene import Scene, set_scene
from tests.browser.visitor import Visitor, chromium
from tests.conftest import SOAK, Cast
from tests.remotemail.conftest import running
from tests.servers import MailServer

__all__ = ["running"]
pytestmark = [
    *(pytest.mark.servers, pytest.mark.browser, pytest.mark.soak),
    pytest.mark.timeout(900),
]
#: One in so many of them is judged by axe-core.
SOME_OF_THE_ADMIN = 4


@pytest.fixture
def scene(
    live_server: LiveServer, cast: Cast, running: MailServer, settings: Settings, tmp_path: Path
) -> Scene:
    """The panel with everything in it."""
    settings.MAILHOST_ROOT = str(running.root.parent)
    return set_scene(cast, running, tmp_path)


@pytest.mark.parametrize(("language", "scripts"), [("ja", True), ("en", False)])
def test_page_is_right_in_every_size_and_light(
    scene: Scene, live_server: LiveServer, language: str, scripts: bool
) -> None:
    ways = pages(scene)
    held = {
        login: client.cookies["sessionid"].value
        for login, client in sessions(scene).items()
        if login
    }
    faults: dict[str, list[str]] = {}
    with chromium() as browser:
        for login, its in ways.items():
            visitor = Visitor(
                browser,
                live_server.url,
                language,
                java_script_enabled=scripts,
                viewport={"width": WIDE[0], "height": WIDE[1]},
                color_scheme="light",
                reduced_motion="reduce",
            )
            if login:
                visitor.have_session(held[login])
            for number, name in enumerate(chosen(its)):
                its[name](visitor, scene)
                axe = SOAK or not name.startswith("admin") or number % SOME_OF_THE_ADMIN == 0
                for fault in [*seen(visitor, name, language, axe=axe), *visitor.trouble()]:
                    faults.setdefault(fault, []).append(name)
            visitor.close()
    assert not faults, "\n".join(f"{fault}: {', '.join(names)}" for fault, names in faults.items())
