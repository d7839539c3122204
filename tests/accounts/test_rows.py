"""A line that was drawn for many is the line that the template draws for one."""

from __future__ import annotations

import uuid
from itertools import product

import pytest
from django.template.loader import render_to_string
from django.utils import translation

from accounts.models import Account, Domain, Plan
from accounts.rows import Row, draw
from propagation.progress import LIVE, Progress, Stage

SHAPES = list(product([False, True], repeat=3))


def _row(name: str, addresses: list[str], passed_by: bool, fixed: bool, domain: Domain) -> Row:
    account = Account(pk=uuid.uuid4(), name=name, domain=domain)
    return Row(account, LIVE, addresses, passed_by, fixed)


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("self_service", [True, False])
def test_drawn_line_is_the_template_s(language: str, self_service: bool) -> None:
    domain = Domain(name="xn--r8jz45g.example", plan=Plan(self_service=self_service))
    rows = [
        _row(
            f"{name}.{n}", ["info@例え.example", "a{b}&c@x.example"][: 2 * led], over, fixed, domain
        )
        for n, (led, over, fixed) in enumerate(SHAPES)
        for name in ("first", "second")
    ]
    with translation.override(language):
        drawn = list(draw(rows, domain))
        for row, line in zip(rows, drawn, strict=True):
            context = {"row": row, "domain": domain, "self_service": self_service}
            assert line.drawn == render_to_string("accounts/_row.html", context)
            assert row.account.name in (line.drawn or "")
            assert "a{b}&amp;c" in (line.drawn or "") or not row.addresses


def test_line_with_news_is_left_to_the_template() -> None:
    domain = Domain(name="news.example", plan=Plan())
    row = Row(Account(name="news", domain=domain), Progress(Stage.APPLYING), [], False, False)
    assert [line.drawn for line in draw([row], domain)] == [None]
