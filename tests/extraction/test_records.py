"""All lanes give equal records, and nothing but what is asked for changes on the way."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_d365fo.edm.model import Property
from tap_d365fo.errors import BrokenAnswerError
from tap_d365fo.extraction.records import RecordShape

COMPANY = Property("dataAreaId", "Edm.String")
START = Property("StartDate", "Edm.DateTimeOffset", ax_type="Date")
DAY = Property("Day", "Edm.DateTimeOffset", ax_type="Date")
INSTANT = Property("ChangedOn", "Edm.DateTimeOffset", ax_type="UtcDateTime")
NOTES = Property("Notes", "Edm.String")
AMOUNT = Property("Amount", "Edm.Decimal")
RECORD_ID = Property("RecId1", "Edm.Int64")
COLUMNS = (COMPANY, START, DAY, INSTANT, NOTES, AMOUNT, RECORD_ID)
KEY = (COMPANY, START)
ROW = {
    "@odata.etag": 'W/"JzEsNTYzNzE0NDU3Nic="',
    "dataAreaId": "usmf",
    "StartDate": "1900-01-01T12:00:00Z",
    "Day": "1900-01-01T12:00:00Z",
    "ChangedOn": "1900-01-01T00:00:00Z",
    "Notes": "1900-01-01T00:00:00Z",
    "Amount": 0,
    "RecId1": 9007199254740993,
}


def _body(*rows, **dumps) -> bytes:
    return json.dumps(
        {"@odata.context": "c", "value": list(rows)}, **{"separators": (",", ":"), **dumps}
    ).encode()


def _lines(shape: RecordShape, body: bytes) -> list[dict]:
    text = b"".join(shape.block(body).lines(b"{", b"}\n")).decode()
    return [json.loads(line, parse_float=Decimal) for line in text.split("\n")[:-1]]


def test_empty_dates_become_null_but_in_keys_and_in_text():
    (record,) = _lines(RecordShape(COLUMNS, KEY), _body(ROW))

    assert record == {
        "dataAreaId": "usmf",
        "StartDate": "1900-01-01",
        "Day": None,
        "ChangedOn": None,
        "Notes": "1900-01-01T00:00:00Z",
        "Amount": 0,
        "RecId1": 9007199254740993,
    }


def test_without_null_dates_the_empty_date_stays_a_date():
    (record,) = _lines(RecordShape(COLUMNS, KEY, null_dates=False), _body(ROW))

    assert (record["Day"], record["ChangedOn"]) == ("1900-01-01", "1900-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("sent", "day"),
    [
        ("2026-07-14T12:00:00Z", "2026-07-14"),
        ("2026-07-14T00:00:00Z", "2026-07-14"),
        ("2154-12-31T23:59:59Z", "2154-12-31"),
        ("2026-07-14T12:00:00.000Z", "2026-07-14"),
    ],
)
def test_an_ax_date_is_its_day_whatever_its_hour(sent, day):
    (record,) = _lines(RecordShape(COLUMNS, KEY), _body({**ROW, "Day": sent, "ChangedOn": sent}))

    assert (record["Day"], record["ChangedOn"]) == (day, sent)


def test_digits_reach_the_output_as_sent():
    body = _body({**ROW, "Amount": 1}).replace(b'"Amount":1', b'"Amount":12345678901234567890.123450')

    (lines,) = RecordShape(COLUMNS, KEY).block(body).lines(b"{", b"}\n")
    assert b'"Amount":12345678901234567890.123450' in lines


def test_numbers_sent_as_text_become_numbers():
    (record,) = _lines(
        RecordShape(COLUMNS, KEY), _body({**ROW, "Amount": "12.50", "RecId1": "9007199254740993"})
    )

    assert (str(record["Amount"]), record["RecId1"]) == ("12.50", 9007199254740993)


def test_decimals_leave_as_text_where_that_is_asked_for():
    body = _body({**ROW, "Amount": 1}).replace(b'"Amount":1', b'"Amount":1.2300')

    (record,) = _lines(RecordShape(COLUMNS, KEY, decimals_as_strings=True), body)

    assert record["Amount"] == "1.2300"


@pytest.mark.parametrize("extra", ["Surplus", "Amount@odata.type", "@odata.id"])
def test_what_was_not_asked_for_is_left_out(extra):
    (record,) = _lines(RecordShape(COLUMNS, KEY), _body({**ROW, extra: "x"}))

    assert extra not in record
    assert record["Notes"] == ROW["Notes"]


def test_the_cursor_keeps_every_digit_and_blank():
    block = RecordShape((NOTES, AMOUNT), (NOTES, AMOUNT)).block(
        b'{"value":[{"Notes":" x\\"","Amount":3.5000}]}'
    )

    assert block.cursor() == {"Notes": ' x"', "Amount": "3.5000"}


def test_the_highest_stamp_is_told_by_company_and_ignores_the_empty_one():
    shape = RecordShape(COLUMNS, KEY, replication_key="ChangedOn", company_column="dataAreaId")
    rows = [
        {**ROW, "ChangedOn": "2026-01-02T00:00:00Z"},
        {**ROW, "ChangedOn": "2026-01-01T00:00:00Z"},
        {**ROW, "dataAreaId": "DAT", "ChangedOn": "2025-01-01T00:00:00Z"},
        {**ROW, "dataAreaId": "x"},
    ]

    assert shape.block(_body(*rows)).highest() == {
        "usmf": "2026-01-02T00:00:00Z",
        "dat": "2025-01-01T00:00:00Z",
    }


@pytest.mark.parametrize("rows", ["[1]", '{"a":1},2', '{"@odata.etag":"x","a":1},[]', '{"Surplus":1},null'])
def test_rows_that_are_no_objects_are_broken(rows):
    with pytest.raises(BrokenAnswerError):
        RecordShape((Property("a", "Edm.Int32"),)).block(b'{"value":[' + rows.encode() + b"]}")


_text = st.text(st.characters(codec="utf-8"), max_size=30)
_hostile = st.one_of(
    _text,
    st.sampled_from(
        [
            '"},{"@odata.etag":"W/',
            '","Day":"1900-01-01T12:00:00Z"',
            '":"1900-01-01T00:00:00Z"',
            "1900-01-01T00:00:00Z",
            '\\"Day\\":\\"1900-01-01T12:00:00Z\\"',
            '{"value":[',
            "\\",
            '"',
            "\n\t\r",
            "\u2028",
            "\U0001f600",
        ]
    ),
)
_date = st.sampled_from(
    ["1900-01-01T12:00:00Z", "1900-01-01T00:00:00Z", "2026-07-14T12:00:00Z", "2154-12-31T23:59:59Z"]
)
_rows = st.lists(
    st.fixed_dictionaries(
        {
            "@odata.etag": st.one_of(st.just(ROW["@odata.etag"]), _hostile),
            "dataAreaId": _hostile,
            "StartDate": _date,
            "Day": _date,
            "ChangedOn": _date,
            "Notes": _hostile,
            "Amount": st.integers(-5, 5),
            "RecId1": st.integers(-(2**63), 2**63 - 1),
        }
    ),
    max_size=4,
)


def _expected(row: dict) -> dict:
    def value(column: Property):
        sent = row[column.name]
        if column.type != "Edm.DateTimeOffset":
            return sent
        if sent.startswith("1900-01-01") and column not in KEY:
            return None
        return sent[:10] if column.ax_type == "Date" else sent

    return {column.name: value(column) for column in COLUMNS}


@given(_rows, st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")]), st.sampled_from([None, 1]))
def test_every_lane_gives_equal_records_for_hostile_text(rows, ascii_only, separators, indent):
    raw = _body(*rows, ensure_ascii=ascii_only, separators=separators, indent=indent)
    surplus = _body(*({**row, "Surplus": "1900-01-01T00:00:00Z"} for row in rows), ensure_ascii=ascii_only)
    as_text = _body(*({**row, "Amount": str(row["Amount"])} for row in rows), ensure_ascii=ascii_only)

    shape = RecordShape(COLUMNS, KEY)

    expected = [_expected(row) for row in rows]
    assert _lines(shape, raw) == expected
    assert _lines(shape, surplus) == expected
    assert _lines(shape, as_text) == expected
    assert list(shape.block(raw).records()) == expected


def test_an_etag_that_does_not_come_first_is_cut_off_wherever_it_stands():
    late = {name: ROW[name] for name in ("dataAreaId", "@odata.etag", "Notes")}
    escaped = {"@odata.etag": 'a",b', "dataAreaId": "usmf", "Notes": "x"}
    shape = RecordShape(COLUMNS, KEY)

    for rows in ([ROW, late], [ROW] * 300 + [escaped, late]):
        records = _lines(shape, _body(*rows))
        assert [each["Notes"] for each in records] == [each["Notes"] for each in rows]
        assert not any("@odata.etag" in each for each in records)


@pytest.mark.parametrize("name", ["Day", "OtherDay", "yDay"])
def test_a_text_of_a_name_that_ends_like_a_dates_keeps_its_value(name):
    other = Property(name if name != "Day" else "Note", "Edm.String")
    shape = RecordShape((COMPANY, DAY, other), (COMPANY,))
    rows = [
        {"dataAreaId": "usmf", "Day": f"20{at:02}-01-01T12:00:00Z", other.name: f"20{at:02}-01-01T12:00:00Z"}
        for at in range(99)
    ]
    rows.append({"dataAreaId": "usmf", "Day": "1900-01-01T12:00:00Z", other.name: "1900-01-01T12:00:00Z"})

    records = _lines(shape, _body(*rows))

    assert [each["Day"] for each in records] == [*(row["Day"][:10] for row in rows[:-1]), None]
    assert [each[other.name] for each in records] == [row[other.name] for row in rows]


def test_dates_of_a_long_page_are_rewritten_in_all_its_parts():
    rows = [{**ROW, "Day": f"19{at % 100:02}-02-03T12:00:00Z", "Notes": "a},{b" * 40} for at in range(2000)]

    records = _lines(RecordShape(COLUMNS, KEY), _body(*rows))

    assert [each["Day"] for each in records] == [each["Day"][:10] for each in rows]
    assert all(each["ChangedOn"] is None and each["Notes"] == "a},{b" * 40 for each in records)
