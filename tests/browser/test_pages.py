"""Every page in Japanese, by axe-core too (all_pages.py)."""

from __future__ import annotations

import pytest
from pytest_django.live_server_helper import LiveServer

from tests.browser.all_pages import look_at_all, scene
from tests.browser.scene import Scene
from tests.remotemail.conftest import running

__all__ = ["running", "scene"]
pytestmark = [
    *(pytest.mark.servers, pytest.mark.browser, pytest.mark.soak),
    pytest.mark.timeout(900),
]


def test_every_page_is_right_in_every_size_and_light(scene: Scene, live_server: LiveServer) -> None:
    look_at_all(scene, live_server.url, "ja", scripts=True)
