"""Looking at a page as it stands, wide and narrow, light and dark, and by axe-core's rules."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from tests.browser.visitor import Visitor

CHECKS = (Path(__file__).parent / "checks.js").read_text()
WIDE, SMALL = (1280, 900), (320, 640)
# What of a page depends on the light.
_OF_LIGHT = ["color-contrast", "link-in-text-block"]
_AXE = """async ([rules, impacts]) => {
  for (const moving of document.getAnimations()) moving.finish();
  const only = rules && { runOnly: { type: "rule", values: rules } };
  const options = { resultTypes: ["violations"], preload: false, ...only };
  const { violations } = await axe.run(document, options);
  return violations
    .filter(({ impact }) => impacts.includes(impact))
    .map(({ id, impact, help, nodes }) => `${id} (${impact}): ${help}: ${nodes.length} times: `
      + nodes.slice(0, 3).map(({ target, any, all }) =>
        `${target} ${[...any, ...all].map((one) => one.message).slice(0, 2)}`).join("; "));
}"""
IMPACTS = ("moderate", "serious", "critical")


def seen(visitor: Visitor, name: str, language: str, *, axe: bool) -> Iterator[str]:
    """Yield what is wrong with the page; also photograph it where PICTURES names a directory.

    What does not fit does not fit in any light, and without scripts colours are the same, so
    that `axe`, whether axe-core looks as well, counts only with them.
    """
    page = visitor.page
    for fault in page.evaluate(CHECKS, [language, not visitor.scripts]):
        yield f"{WIDE[0]}: {fault}"
    if visitor.scripts:
        if axe:
            page.evaluate(AXE_SCRIPT)
            yield from _axe(page, None)
        page.emulate_media(color_scheme="dark")
        for fault in page.evaluate(CHECKS, [language, False]):
            yield f"in the dark: {fault}"
        if axe:
            yield from _axe(page, _OF_LIGHT)
        page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": SMALL[0], "height": SMALL[1]})
    for fault in page.evaluate(CHECKS, [language, not visitor.scripts]):
        yield f"{SMALL[0]}: {fault}"
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    if os.environ.get("PICTURES"):
        _photograph(page, f"{os.environ['PICTURES']}/{name}-{language}")


def _axe(page: Page, rules: list[str] | None) -> Iterator[str]:
    """Yield what axe-core finds, by these of its rules or by all."""
    for fault in page.evaluate(_AXE, [rules, IMPACTS]):
        yield f"{'axe in the dark' if rules else 'axe'}: {fault}"


def chosen(names: Collection[str]) -> list[str]:
    """Return which of these pages to look at: all, or the words of PICTURES_OF."""
    only = os.environ.get("PICTURES_OF", "").split()
    return [name for name in names if not only or name in only]


def _photograph(page: Page, path: str) -> None:
    """Keep pictures of the page in both lights, wide and as on a telephone; for docs/ only one."""
    if os.environ.get("PICTURES_OF"):
        page.screenshot(path=f"{path}.png", full_page=True)
        return
    for light in ("light", "dark"):
        page.emulate_media(color_scheme=light)
        for width, height in (WIDE, (375, 812)):
            page.set_viewport_size({"width": width, "height": height})
            page.screenshot(path=f"{path}-{width}-{light}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
