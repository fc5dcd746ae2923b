"""Bare rows are asked for where that shows what is left out, and believed where it shows that nothing else is."""

from __future__ import annotations

import json

import pytest

from tap_d365fo.edm.model import Property
from tap_d365fo.extraction.bare import Bareness, Form
from tap_d365fo.extraction.records import RecordBlock, RecordShape

SHAPE = RecordShape((Property("Account", "Edm.String"),))


def page(*, count: int | None = None, link: bool = False, etag: bool = False, rows: int = 3) -> RecordBlock:
    row = {"@odata.etag": 'W/"Jzsn"', "Account": "A"} if etag else {"Account": "A"}
    told = {"@odata.count": count} if count is not None else {}
    after = {"@odata.nextLink": "https://fno.example/data/X?$skip=3"} if link else {}
    return SHAPE.block(json.dumps({**told, "value": [row] * rows, **after}).encode())


def asked(form: Form, *, shows: bool = True) -> str:
    return form.accept(shows=shows).partition("metadata=")[2]


def test_bare_rows_are_asked_for_where_the_answer_shows_whether_links_are_kept():
    known = Bareness()
    form, other = Form(may_be_bare=True, known=known), Form(may_be_bare=True, known=known)

    assert [asked(form), asked(other, shows=False)] == ["none", "minimal"]
    assert form.believes(page(link=True), ends=False)
    assert asked(other, shows=False) == "none"
    assert asked(Form(may_be_bare=False, known=known)) == "minimal"


@pytest.mark.parametrize(
    ("came", "ends", "believed"),
    [
        (page(count=3), True, True),
        (page(count=4), True, False),
        (page(), True, False),
        (page(rows=0), True, False),
        (page(), False, True),
        (page(etag=True), True, True),
        (page(count=9, link=True), False, True),
    ],
    ids=["counted", "more counted", "not counted", "empty", "a full page", "not bare after all", "linked"],
)
def test_a_bare_page_without_a_link_is_the_last_where_something_shows_it(came, ends, believed):
    form = Form(may_be_bare=True, known=Bareness())
    asked(form)

    assert form.believes(came, ends=ends) is believed
    assert asked(form) == ("none" if believed else "minimal")


def test_a_page_in_the_usual_form_is_believed():
    form = Form(may_be_bare=False, known=Bareness())
    asked(form)

    assert form.believes(page(count=9), ends=True)


@pytest.mark.parametrize(
    ("bare", "usual", "left"),
    [
        (page(count=9), page(count=9, link=True), "minimal"),
        (page(), page(count=3), "minimal"),
        (page(count=9), page(count=9), "none"),
        (page(), page(), "none"),
    ],
    ids=["a link was left out", "a count was left out", "the count grew meanwhile", "it was the last page"],
)
def test_a_run_asks_for_bare_rows_no_more_where_they_lacked_more_than_etags(bare, usual, left):
    known = Bareness()
    form, other = Form(may_be_bare=True, known=known), Form(may_be_bare=True, known=known)
    asked(form)

    assert not form.believes(bare, ends=True)
    assert asked(form) == "minimal"
    assert form.believes(usual, ends=usual.page.next_link is None)
    assert asked(other) == left


@pytest.mark.parametrize(("for_all", "left"), [(True, "minimal"), (False, "none")])
def test_what_is_refused_is_given_up_once(for_all, left):
    known = Bareness()
    form, other = Form(may_be_bare=True, known=known), Form(may_be_bare=True, known=known)
    asked(form)

    assert form.give_up(for_all=for_all)
    assert asked(form) == "minimal"
    assert not form.give_up(for_all=for_all)
    assert asked(other) == left
