"""Only whole pages are pages."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_d365fo.errors import BrokenAnswerError
from tap_d365fo.odata.payload import read_page


def _page(**extra) -> dict:
    return {"@odata.context": "c", "value": [{"a": 1}, {"a": 2}], **extra}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("indent", [None, 2])
def test_records_are_compact_however_the_page_is_spelled(separators, indent):
    body = json.dumps(_page(), separators=separators, indent=indent).encode()

    page = read_page(body)

    assert [bytes(record) for record in page.records] == [b'{"a":1}', b'{"a":2}']
    assert page.next_link is None


def test_a_byte_order_mark_is_no_trouble():
    assert len(read_page(b"\xef\xbb\xbf" + json.dumps(_page()).encode()).records) == 2


def test_the_next_link_is_kept_as_it_came():
    link = "http://elsewhere/data/X?$skip=2&x=%20"

    assert read_page(json.dumps(_page(**{"@odata.nextLink": link})).encode()).next_link == link


def test_digits_stay_as_the_server_sent_them():
    page = read_page(b'{"value": [\n{"a": 1.500, "b": 123456789012345678901234.10}]}')

    assert bytes(page.records[0]) == b'{"a":1.500,"b":123456789012345678901234.10}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>maintenance</body></html>",
        b'{"error":{"code":"","message":"x"}}',
        b'{"value":[{"a":1}',
        b'{"value":[{"a":1},]}',
        b'{"value":[{"a":"\xff"}]}',
        b'{"value":{"a":1}}',
        b"[]",
        b"null",
    ],
)
def test_anything_else_is_a_broken_answer(body):
    with pytest.raises(BrokenAnswerError):
        read_page(body)


def test_every_cut_of_a_page_is_broken():
    body = json.dumps(_page(), separators=(",", ":")).encode()

    for end in range(len(body)):
        with pytest.raises(BrokenAnswerError):
            read_page(body[:end])


def test_half_a_surrogate_pair_becomes_the_replacement_character():
    page = read_page(rb'{"value":[{"a":"x\ud83dy","b":"\ud83d\ude00","c":"\\ud83d"}]}')

    assert json.loads(bytes(page.records[0])) == {"a": "x\ufffdy", "b": "\U0001f600", "c": "\\ud83d"}


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_read_or_break(body):
    try:
        read_page(body)
    except BrokenAnswerError:
        return
    assert json.loads(body)["value"] is not None
