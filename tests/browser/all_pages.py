"""Every page as people see it: wide, on a telephone and at 320 pixels, light and dark, ja and en.

In Japanese with axe-core, which knows what gets in the way of those who see, hear or move
otherwise; in English without scripts. Of pages that are alike (Django's own of the admin; what a
mailbox's user sees as the owner does) axe-core looks at some, in `make soak` at all. With
PICTURES=DIRECTORY in the environment the pages are also photographed into it; PICTURES_OF names
some, of which `make screenshots` takes those of docs/.
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
from tests.servers import MailServer

#: One in so many of those whose names begin so is judged by axe-core.
_ALIKE = {"admin": 4, "mailbox": 3}


@pytest.fixture
def scene(
    live_server: LiveServer, cast: Cast, running: MailServer, settings: Settings, tmp_path: Path
) -> Scene:
    """The panel with everything in it."""
    settings.MAILHOST_ROOT = str(running.root.parent)
    return set_scene(cast, running, tmp_path)


def look_at_all(scene: Scene, url: str, language: str, *, scripts: bool) -> None:
    """Look at each page there is; fail with all that is wrong with any of them."""
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
                url,
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
                axe = SOAK or number % _one_in(name) == 0
                for fault in [*seen(visitor, name, language, axe=axe), *visitor.trouble()]:
                    faults.setdefault(fault, []).append(name)
            visitor.close()
    assert not faults, "\n".join(f"{fault}: {', '.join(names)}" for fault, names in faults.items())


def _one_in(name: str) -> int:
    return next((count for begin, count in _ALIKE.items() if name.startswith(begin)), 1)
