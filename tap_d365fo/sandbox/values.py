"""Values as they stand on the wire: one row per Edm type of how to write, read and order them.

A row of a table is kept as JSON literals, so that a page is one formatting away. Ordering follows a
database collation, not code points: blanks, then punctuation, then digits, then letters without
regard to case, then everything beyond ASCII. A client that compares keys itself will be found out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tap_d365fo.edm.model import EnumType

NAMESPACE = "Microsoft.Dynamics.DataEntities"
NO_DATE = "1900-01-01T12:00:00Z"
NO_INSTANT = "1900-01-01T00:00:00Z"
END_OF_TIME = "2154-12-31T23:59:59Z"
NO_GUID = "00000000-0000-0000-0000-000000000000"
FIRST_REC_ID = 5637144576

Fold = Callable[[str], str]

_PUNCTUATION = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$"
_COLLATION = [*map(chr, range(32)), " ", *_PUNCTUATION, *"0123456789"]
_COLLATION += [letter for each in "abcdefghijklmnopqrstuvwxyz" for letter in (each, each.upper())]
_RANKS = {ord(each): chr(rank) for rank, each in enumerate(_COLLATION, start=1)}


def fold_insensitive(text: str) -> str:
    """Return what `text` compares as where case does not count."""
    return text.casefold().translate(_RANKS)


def fold_sensitive(text: str) -> str:
    """Return what `text` compares as where case counts (a, A, b, B)."""
    return text.translate(_RANKS)


FOLDS: Mapping[str, Fold] = {"insensitive": fold_insensitive, "sensitive": fold_sensitive}


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of one type are written, read and ordered."""

    name: str
    write: Callable[[Any], str]
    """A Python value to its JSON literal."""
    read: Callable[[str], Any]
    """A JSON literal to the Python value (decimals exact, date-times as text)."""
    empty: str
    """The JSON literal of "no value"."""


def _write_text(value: Any) -> str:
    return json.dumps(str(value), ensure_ascii=False)


def _write_decimal(value: Any) -> str:
    return format(value if isinstance(value, Decimal) else Decimal(str(value)), "f")


def _write_instant(value: Any) -> str:
    if isinstance(value, datetime):
        return f'"{value.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"'
    if isinstance(value, date):
        return f'"{value:%Y-%m-%d}T12:00:00Z"'
    return f'"{value}"'


def _read_text(literal: str) -> Any:
    return json.loads(literal) if "\\" in literal or literal == "null" else literal[1:-1]


def _read_bool(literal: str) -> bool:
    return literal == "true"


def _write_optional(value: Any) -> str:
    return "null" if value is None else _write_text(value)


KINDS: Mapping[str, Kind] = {
    "Edm.String": Kind("string", _write_text, _read_text, '""'),
    "Edm.Int32": Kind("int", lambda value: str(int(value)), int, "0"),
    "Edm.Int64": Kind("int", lambda value: str(int(value)), int, "0"),
    "Edm.Decimal": Kind("decimal", _write_decimal, Decimal, "0"),
    "Edm.DateTimeOffset": Kind("date-time", _write_instant, _read_text, f'"{NO_INSTANT}"'),
    "Edm.Guid": Kind("guid", _write_text, _read_text, f'"{NO_GUID}"'),
    "Edm.Boolean": Kind("boolean", lambda value: "true" if value else "false", _read_bool, "false"),
    "Edm.Binary": Kind("binary", _write_optional, _read_text, "null"),
}
ENUM = Kind("enum", _write_optional, _read_text, "null")


def kind_of(edm_type: str) -> Kind:
    """Return the row for an Edm primitive or, for any other name, the one for enum types."""
    return KINDS.get(edm_type, ENUM)


def ordering(edm_type: str, enum: EnumType | None, fold: Fold) -> Callable[[str], Any]:
    """Return the function from a JSON literal to what it sorts and compares by.

    Enums sort by their number, as the database does; null comes first.
    """
    kind = kind_of(edm_type)
    if kind.name == "string":
        return lambda literal: fold(_read_text(literal))
    if kind.name == "enum":
        ranks = {f'"{member.name}"': member.value for member in enum.members} if enum else {}
        return lambda literal: ranks.get(literal, -1)
    if kind.name == "date-time":
        return lambda literal: literal[1:-2]  # whole-second UTC text orders as time does, the Z apart
    if kind.name in ("guid", "binary"):
        return lambda literal: literal[1:-1].lower()
    return kind.read
