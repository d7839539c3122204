"""A line that was drawn for many is the line that the template draws for one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from itertools import product

import pytest
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.test import RequestFactory
from django.utils import timezone, translation

from accounts.listing import Listed
from accounts.models import Domain, Plan
from accounts.rows import Row, draw
from propagation.models import Cause, Change, ChangeState, MailServer
from propagation.progress import LIVE, Progress, Stage
from quota.fill import Fill

MB = 1024 * 1024
SHAPES = list(product([False, True], repeat=4))
FILLS = [None, *(Fill(MB * used // 10, 10 * MB, 1) for used in (0, 85, 99, 105))]
THERE: dict[str, object] = {"mailbox_id": "1"}


def _domain(self_service: bool = True, answers: bool = True) -> Domain:
    server = MailServer(seen_at=timezone.now() if answers else None)
    return Domain(name="xn--r8jz45g.example", plan=Plan(self_service=self_service), server=server)


def _progresses() -> Iterator[Progress]:
    """Yield one of each that a line can have, and of some two that differ by an identity alone."""
    moment = timezone.now()
    yield LIVE
    yield Progress(Stage.LIVE, applied_at=moment - timedelta(minutes=5))
    for minutes, (before, after), renews in product(
        [0, 1, 9], [(None, THERE), (THERE, THERE), (THERE, None)], [False, True]
    ):
        for pk in (7, 8):
            change = Change(
                pk=pk,
                key="mailbox:a",
                before=before,
                after=after,
                due_at=moment + timedelta(minutes=minutes, seconds=-30),
                renews_password=renews,
            )
            yield Progress(Stage.WAITING, change)
    for retry, cause in product([None, moment], ["", *Cause.values]):
        change = Change(
            pk=9,
            key="mailbox:a",
            before=THERE,
            after=THERE,
            due_at=moment,
            state=ChangeState.APPLYING,
            retry_at=retry,
            cause=cause,
        )
        yield Progress(Stage.FAILING if cause else Stage.APPLYING, change)


def _drawn_alike(rows: list[Row], domain: Domain) -> str:
    """Draw the rows; assert that they are those of the template, and return their HTML."""
    request = RequestFactory().get("/domains/a.example/users/", {"q": "a&{b}"})
    drawn = draw(rows, domain, request)
    one_by_one = ""
    for row in rows:
        context = {
            "row": row,
            "domain": domain,
            "self_service": domain.plan.self_service,
            "request": request,
            "csrf_token": get_token(request),
        }
        one_by_one += render_to_string("accounts/_row.html", context)
    # Each form's token is masked anew.
    assert _without_tokens(drawn) == _without_tokens(one_by_one)
    return drawn


def _without_tokens(html: str) -> str:
    start, *forms = html.split('name="csrfmiddlewaretoken" value="')
    return start + "".join(form.partition('"')[2] for form in forms)


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("self_service", [True, False])
def test_drawn_line_is_the_template_s(language: str, self_service: bool) -> None:
    domain = _domain(self_service)
    rows = [
        Row(
            Listed(uuid.uuid4(), f"{name}.{n}", fixed, no_password),
            domain,
            LIVE,
            ["info@例え.example", "a{b}&c@x.example"][: 2 * led],
            over,
            fill,
        )
        for n, (led, over, fixed, no_password) in enumerate(SHAPES)
        for name, fill in zip(("first", "second"), FILLS[n % 4 : n % 4 + 2], strict=True)
    ]
    with translation.override(language):
        html = _drawn_alike(rows, domain)
    assert all(row.account.name in html for row in rows)
    assert "a{b}&amp;c" in html
    assert "10.5 MB / 10 MB (105%)" in html
    assert 'value="100"' in html


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("no_password", [True, False])
def test_drawn_line_with_news_is_the_template_s(
    language: str, answers: bool, fixed: bool, no_password: bool
) -> None:
    domain = _domain(answers=answers)
    rows = [
        Row(Listed(uuid.uuid4(), f"box{n}", fixed, no_password), domain, progress, [], False)
        for n, progress in enumerate(_progresses())
    ]
    with translation.override(language):
        html = _drawn_alike(rows, domain)
    assert 'value="/domains/a.example/users/?q=a%26%7Bb%7D"' in html
    assert "cancel-7" in html


def test_every_form_of_a_drawn_line_has_a_token_that_counts() -> None:
    domain = _domain()
    change = Change(pk=1, key="mailbox:a", after=THERE, due_at=timezone.now())
    row = Row(
        Listed(uuid.uuid4(), "a", False, False),
        domain,
        Progress(Stage.WAITING, change),
        [],
        False,
    )
    request = RequestFactory().get("/")
    html = draw([row], domain, request)
    token = html.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    assert len(token) == 64
    assert "CSRF_COOKIE" in request.META
