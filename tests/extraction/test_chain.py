"""Where a read goes on after a page, and where it has ended."""

from __future__ import annotations

import json

from tap_d365fo.edm.model import Property
from tap_d365fo.extraction.chain import Asking, Chain
from tap_d365fo.extraction.page_size import PageSize
from tap_d365fo.extraction.records import RecordBlock, RecordShape
from tap_d365fo.extraction.segment import Segment

KEY = Property("Account", "Edm.String", nullable=False)
SHAPE = RecordShape((KEY,), (KEY,))


def chain(*, page_size: int) -> Chain:
    asking = Asking(
        entity_set="Customers",
        service_root="https://fno.example/data",
        key=(KEY,),
        shape=SHAPE,
        page_size=PageSize(page_size, columns=1),
        known_names=frozenset({"Account"}),
    )
    return Chain(asking, Segment())


def rows(number: int) -> RecordBlock:
    return SHAPE.block(json.dumps({"value": [{"Account": f"A{at:03}"} for at in range(number)]}).encode())


def test_a_page_as_large_as_it_was_asked_for_is_not_the_last_though_it_holds_less_than_the_limit():
    reading = chain(page_size=40)
    reading.limit = 10
    reading.asking.page_size.shrink()
    reading.asking.page_size.shrink()
    reading.asking.page_size.shrink()

    request = reading.request()
    reading.advance(rows(5))

    assert "maxpagesize=5" in request.headers["Prefer"]
    assert not reading.finished


def test_a_page_smaller_than_it_was_asked_for_is_the_last_where_no_link_follows():
    for limit in (None, 10):
        reading = chain(page_size=40)
        reading.limit = limit
        reading.request()
        reading.advance(rows(5))
        assert reading.finished
