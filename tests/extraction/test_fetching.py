"""What a page that cannot be had is given up for, and what is said about it."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from tap_d365fo.edm.model import Property
from tap_d365fo.errors import BrokenAnswerError, UnreadablePageError
from tap_d365fo.extraction.fetching import Fetcher, UnreadableRow, _first_key

KEY = Property("Account", "Edm.String", nullable=False)
CHAIN = SimpleNamespace(asking=SimpleNamespace(key=(KEY,)))


def test_the_key_of_the_row_in_the_way_is_read_as_text():
    assert _first_key(b'{"value":[{"Account":7.10}]}', CHAIN) == {"Account": "7.10"}
    assert _first_key(b'{"value":[]}', CHAIN) is None


@pytest.mark.parametrize(
    "body",
    [
        b"<html>We'll be right back</html>",
        b"",
        b'{"value":[',
        b'{"error":{}}',
        b'{"value":[],"@odata.nextLink":"https://fno.example/data/X?page=2"}',
    ],
    ids=["HTML", "nothing", "cut off", "no page", "empty with a link"],
)
def test_whatever_else_comes_for_a_key_is_asked_for_again(body):
    with pytest.raises(BrokenAnswerError):
        _first_key(body, CHAIN)


def test_no_name_or_value_of_the_servers_begins_a_line_of_its_own(caplog):
    caplog.set_level(logging.INFO)
    forged = "x\nERROR everything was lost\x1b[2J\u2028"
    shape = SimpleNamespace(names=frozenset({"Account"}))
    asking = SimpleNamespace(entity_set="Customers", shape=shape, known_names=frozenset({"Account"}))

    Fetcher(None, asking)._notice_columns(SimpleNamespace(seen=frozenset({"Account", forged})))
    row = UnreadableRow(f"Account={forged}", UnreadablePageError("m", status=500, inner_message=forged))

    assert "everything was lost" in caplog.messages[0]
    assert all(each.isprintable() for each in (*caplog.messages, str(row)))
