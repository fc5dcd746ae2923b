"""Seek predicates: the rows after a key, the rows up to a key, in the order of the whole key.

F&O compares strings by a database collation, so nothing here compares keys: the text lets the server do
it. AX dates are compared by whole days, because whether F&O takes their noon form for equality is not
known (facts section 3.1, AX date literal); ranges by day hold either way.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from tap_d365fo.edm.primitives import is_comparable, literal
from tap_d365fo.odata.query import all_of, any_of, grouped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tap_d365fo.edm.model import Property

Cursor = dict[str, str]
"""A key by property name, every value as text: JSON numbers lose digits in other people's state files."""


def can_seek(key: Sequence[Property]) -> bool:
    """Say whether rows can be asked for in ranges of this key."""
    return bool(key) and all(is_comparable(column) for column in key)


def can_stand_at(cursor: Mapping[str, str], key: Sequence[Property]) -> bool:
    """Say whether a predicate can name this key: a `*` in a string would be read as a wildcard."""
    return all("*" not in cursor[column.name] for column in key if column.type == "Edm.String")


def after(cursor: Mapping[str, str], key: Sequence[Property]) -> str:
    """Return the predicate of the rows that follow `cursor` in key order."""
    return _lexicographic(cursor, key, _greater)


def up_to(cursor: Mapping[str, str], key: Sequence[Property]) -> str:
    """Return the predicate of the rows that precede `cursor` in key order, and of `cursor` itself."""
    return any_of(_lexicographic(cursor, key, _less), grouped(exactly(cursor, key)))


def exactly(cursor: Mapping[str, str], key: Sequence[Property]) -> str:
    """Return the predicate of the one row with this key; a `*` in it may let others through."""
    return all_of(*(_equal(column, cursor[column.name]) for column in key))


def _lexicographic(cursor: Mapping[str, str], key: Sequence[Property], beyond: _Comparison) -> str:
    terms = []
    for position, column in enumerate(key):
        equals = [_equal(earlier, cursor[earlier.name]) for earlier in key[:position]]
        terms.append(all_of(*equals, beyond(column, cursor[column.name])))
    return terms[0] if len(terms) == 1 else any_of(*(grouped(term) for term in terms))


def _greater(column: Property, value: str) -> str:
    if column.ax_type == "Date":
        return f"{column.name} ge {_midnight(value, days=1)}"
    return f"{column.name} gt {literal(column, value)}"


def _less(column: Property, value: str) -> str:
    if column.ax_type == "Date":
        return f"{column.name} lt {_midnight(value)}"
    return f"{column.name} lt {literal(column, value)}"


def _equal(column: Property, value: str) -> str:
    if column.ax_type == "Date":
        return f"{column.name} ge {_midnight(value)} and {column.name} lt {_midnight(value, days=1)}"
    return f"{column.name} eq {literal(column, value)}"


def _midnight(value: str, *, days: int = 0) -> str:
    """Return the midnight that begins a day, or a later one; 9999-12-31 has no next day and stays."""
    day = date.fromisoformat(value[:10])
    day = min(day, date.max - timedelta(days=days)) + timedelta(days=days)
    return f"{day.isoformat()}T00:00:00Z"


if TYPE_CHECKING:
    from collections.abc import Callable

    _Comparison = Callable[[Property, str], str]
