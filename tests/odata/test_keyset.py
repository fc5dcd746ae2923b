"""Seek predicates select exactly the rows after, or up to, a key."""

from __future__ import annotations

import re
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_d365fo.edm.model import Property
from tap_d365fo.odata.keyset import after, can_seek, can_stand_at, up_to

TEXT = Property("A", "Edm.String")
NUMBER = Property("B", "Edm.Int64")
DAY = Property("D", "Edm.DateTimeOffset", ax_type="Date")
INSTANT = Property("T", "Edm.DateTimeOffset", ax_type="UtcDateTime")
KEYS = [(TEXT,), (NUMBER,), (TEXT, NUMBER), (NUMBER, TEXT, INSTANT), (DAY,), (TEXT, DAY, NUMBER)]

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|[()]|[^\s()']+)")


def _evaluate(text: str, row: dict) -> bool:
    """A reference evaluator of the few forms that predicates use; it knows nothing of how they are made."""
    tokens = _TOKEN.findall(text)

    def value(token: str):
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if re.fullmatch(r"-?\d+", token):
            return int(token)
        return datetime.fromisoformat(token.replace("Z", "+00:00"))

    def factor():
        if tokens[0] == "(":
            tokens.pop(0)
            result = either()
            assert tokens.pop(0) == ")"
            return result
        name, operator, literal = tokens.pop(0), tokens.pop(0), value(tokens.pop(0))
        found = row[name]
        return {"eq": found == literal, "gt": found > literal, "ge": found >= literal, "lt": found < literal}[
            operator
        ]

    def both():
        result = factor()
        while tokens and tokens[0] == "and":
            tokens.pop(0)
            right = factor()
            result = result and right
        return result

    def either():
        result = both()
        while tokens and tokens[0] == "or":
            tokens.pop(0)
            right = both()
            result = result or right
        return result

    result = either()
    assert tokens == []
    return result


def _noon(day: int) -> datetime:
    return datetime(2024, 1, day, 12, tzinfo=timezone.utc)


_VALUES = {
    "A": st.sampled_from(["", " ", "a", "b'c", "z", "é"]),
    "B": st.integers(-2, 2),
    "D": st.integers(1, 4).map(_noon),
    "T": st.integers(1, 4).map(_noon),
}


def _cursor(row: dict, key) -> dict[str, str]:
    def text(value) -> str:
        return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else str(value)

    return {column.name: text(row[column.name]) for column in key}


@given(st.sampled_from(KEYS), st.data())
def test_predicates_agree_with_the_order_of_tuples(key, data):
    rows = st.fixed_dictionaries({column.name: _VALUES[column.name] for column in key})
    here, there = data.draw(rows), data.draw(rows)
    order_here, order_there = ([row[column.name] for column in key] for row in (here, there))

    assert _evaluate(after(_cursor(here, key), key), there) == (order_there > order_here)
    assert _evaluate(up_to(_cursor(here, key), key), there) == (order_there <= order_here)


@pytest.mark.parametrize("hour", [0, 12])
def test_a_day_is_the_same_day_whether_the_server_keeps_midnight_or_noon(hour):
    stored = {"A": "x", "D": datetime(2024, 1, 2, hour, tzinfo=timezone.utc), "B": 2}
    key = (TEXT, DAY, NUMBER)

    assert _evaluate(after({"A": "x", "D": "2024-01-02", "B": "1"}, key), stored)
    assert not _evaluate(after({"A": "x", "D": "2024-01-02", "B": "2"}, key), stored)


def test_the_last_day_of_the_calendar_has_no_next_day():
    assert after({"D": "9999-12-31T12:00:00Z"}, (DAY,)) == "D ge 9999-12-31T00:00:00Z"


@pytest.mark.parametrize(
    "kind", ["Edm.Guid", "Edm.Boolean", "Edm.Binary", "Microsoft.Dynamics.DataEntities.NoYes"]
)
def test_keys_that_cannot_be_compared_cannot_be_sought(kind):
    assert not can_seek((TEXT, Property("E", kind)))


def test_a_keyless_entity_cannot_be_sought():
    assert not can_seek(())


def test_a_star_in_a_string_key_would_be_a_wildcard():
    assert not can_stand_at({"A": "a*"}, (TEXT,))
    assert can_stand_at({"A": "a"}, (TEXT,))
