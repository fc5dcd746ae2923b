"""The table of primitives: schemas, literals, and what can stand in a keyset comparison."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_d365fo.edm.model import Property
from tap_d365fo.edm.primitives import (
    PRIMITIVES,
    is_comparable,
    is_date,
    is_instant,
    literal,
    primitive,
)
from tap_d365fo.errors import D365FOError

NO_YES = "Microsoft.Dynamics.DataEntities.NoYes"


@pytest.mark.parametrize(
    ("edm_type", "value", "text"),
    [
        ("Edm.String", "US-001", "'US-001'"),
        ("Edm.String", " RFI-TEST-001", "' RFI-TEST-001'"),
        ("Edm.String", "O'Brien & 'co'", "'O''Brien & ''co'''"),
        ("Edm.String", "", "''"),
        ("Edm.Int16", -3, "-3"),
        ("Edm.Int32", 0, "0"),
        ("Edm.Int64", 5637144576, "5637144576"),
        ("Edm.Int64", 9223372036854775807, "9223372036854775807"),
        ("Edm.Int64", "9007199254740993", "9007199254740993"),
        ("Edm.Decimal", Decimal("1234.560000"), "1234.560000"),
        ("Edm.Decimal", Decimal("1E+3"), "1000"),
        ("Edm.Decimal", Decimal("1E-7"), "0.0000001"),
        ("Edm.Decimal", 7, "7"),
        ("Edm.Decimal", "12345678901234567890.123456", "12345678901234567890.123456"),
        ("Edm.Boolean", True, "true"),
        ("Edm.Boolean", "false", "false"),
        ("Edm.DateTimeOffset", "2026-07-14T12:00:00Z", "2026-07-14T12:00:00Z"),
        ("Edm.Date", "2026-07-14", "2026-07-14"),
        (
            "Edm.Guid",
            "02C74274-0000-4000-8000-0123456789AB",
            "02C74274-0000-4000-8000-0123456789AB",
        ),
        (NO_YES, "Yes", f"{NO_YES}'Yes'"),
        (NO_YES, None, "null"),
        ("Edm.String", None, "null"),
    ],
)
def test_a_value_is_written_in_its_literal_form(edm_type, value, text):
    assert literal(edm_type, value) == text
    assert literal(Property("X", edm_type), value) == text


@pytest.mark.parametrize(
    ("edm_type", "value"),
    [
        ("Edm.Int64", "1 or 1 eq 1"),
        ("Edm.Int64", Decimal("1.5")),
        ("Edm.Int64", True),
        ("Edm.Int32", "٣x"),
        ("Edm.Decimal", "NaN"),
        ("Edm.Decimal", Decimal("Infinity")),
        ("Edm.Decimal", 0.1),
        ("Edm.String", 5),
        ("Edm.DateTimeOffset", "yesterday"),
        ("Edm.DateTimeOffset", "2026-07-14T12:00:00Z\n"),
        ("Edm.Guid", "{02C74274-0000-4000-8000-0123456789AB}"),
        ("Edm.Boolean", 1),
        (NO_YES, "Yes' or 'a' eq 'a"),
        ("Collection(Edm.String)", "x"),
    ],
)
def test_a_value_of_another_type_never_gets_into_a_filter(edm_type, value):
    with pytest.raises(D365FOError, match=re.escape(edm_type)):
        literal(edm_type, value)


@given(st.text())
def test_a_string_literal_holds_the_string_and_ends_where_it_ends(text):
    written = literal("Edm.String", text)

    assert written[0] == written[-1] == "'"
    assert written[1:-1].replace("''", "'") == text
    assert "'" not in written[1:-1].replace("''", "")


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_integers_keep_every_digit(number):
    assert int(literal("Edm.Int64", number)) == number
    assert literal("Edm.Int64", str(number)) == literal("Edm.Int64", number)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6))
def test_decimals_keep_every_digit_and_have_no_exponent(number):
    written = literal("Edm.Decimal", number)

    assert "E" not in written.upper()
    assert Decimal(written).as_tuple() == number.as_tuple() or number == 0


@given(
    st.sampled_from([*PRIMITIVES, NO_YES, "Collection(Edm.String)", "Edm.Unheard"]),
    st.one_of(st.text(), st.integers(), st.decimals(), st.booleans()),
)
def test_whatever_the_value_the_answer_is_a_literal_or_our_own_error(edm_type, value):
    try:
        written = literal(edm_type, value)
    except D365FOError:
        return
    assert written.startswith("'") or " " not in written


@pytest.mark.parametrize(
    ("edm_type", "comparable"),
    [
        ("Edm.String", True),
        ("Edm.Int16", True),
        ("Edm.Int32", True),
        ("Edm.Int64", True),
        ("Edm.Decimal", True),
        ("Edm.DateTimeOffset", True),
        ("Edm.Date", True),
        ("Edm.Guid", False),
        ("Edm.Boolean", False),
        ("Edm.Binary", False),
        ("Edm.Double", False),
        (NO_YES, False),
        ("Collection(Edm.String)", False),
    ],
)
def test_only_some_types_can_take_part_in_a_keyset(edm_type, comparable):
    assert is_comparable(edm_type) is comparable
    assert is_comparable(Property("X", edm_type)) is comparable


def test_axtype_tells_a_calendar_date_from_an_instant():
    day = Property("InvoiceDate", "Edm.DateTimeOffset", ax_type="Date")
    moment = Property("ModifiedOn", "Edm.DateTimeOffset", ax_type="UtcDateTime")

    assert (is_date(day), is_instant(day)) == (True, False)
    assert (is_date(moment), is_instant(moment)) == (False, True)
    assert is_date(Property("Day", "Edm.Date"))
    assert is_comparable(day)


@pytest.mark.parametrize("edm_type", PRIMITIVES)
def test_every_primitive_has_a_schema_of_one_type(edm_type):
    assert primitive(Property("X", edm_type)).schema["type"] in {"string", "integer", "number", "boolean"}
