"""What each Edm primitive is in JSON Schema, as a literal of a filter, and in the order of a key.

One table, `PRIMITIVES`, and one row of its own for enum types; F&O's `AXType` refines the schema where the
Edm type says too little (a calendar date and an instant are both `Edm.DateTimeOffset`). Nothing here reads
rows: values come in as JSON gave them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tap_d365fo.edm.model import Property
from tap_d365fo.errors import D365FOError

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = str | int | Decimal | bool | None
"""A JSON value of a property, or its text: cursors hold text only."""

_INTEGER = re.compile(r"-?\d+")
_DECIMAL = re.compile(r"-?\d+(?:\.\d+)?")
_FLOAT = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_BOOLEAN = re.compile(r"true|false")
_DATE = re.compile(r"-?\d{4,}-\d\d-\d\d")
_DATE_TIME = re.compile(r"-?\d{4,}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)")
_TIME = re.compile(r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?")
_GUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_MEMBER = re.compile(r"[^\W\d]\w*(?:,[^\W\d]\w*)*|-?\d+")
_DURATION = re.compile(r"-?P[0-9DTHMS.]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_=-]*")


@dataclass(frozen=True, slots=True)
class Primitive:
    """One row: a type in JSON Schema, in filters, and in keys."""

    schema: Mapping[str, Any]
    """JSON Schema of a value that is there; whether null is allowed is the property's affair."""
    text: re.Pattern[str] | None = None
    """What the text of a value must look like as a bare literal; None for strings, which are quoted."""
    wrap: str = "{}"
    """The literal around that text."""
    is_comparable: bool = False
    """Whether F&O compares it by `gt` and `lt` in the order in which it sorts."""


def _row(
    kind: str,
    *,
    wrap: str = "{}",
    comparable: bool = False,
    text: re.Pattern[str] | None = None,
    **schema: str,
) -> Primitive:
    return Primitive(MappingProxyType({"type": kind, **schema}), text, wrap, comparable)


PRIMITIVES: Mapping[str, Primitive] = MappingProxyType(
    {
        "Edm.String": _row("string", comparable=True),
        "Edm.Boolean": _row("boolean", text=_BOOLEAN),
        "Edm.Byte": _row("integer", text=_INTEGER, comparable=True),
        "Edm.SByte": _row("integer", text=_INTEGER, comparable=True),
        "Edm.Int16": _row("integer", text=_INTEGER, comparable=True),
        "Edm.Int32": _row("integer", text=_INTEGER, comparable=True),
        "Edm.Int64": _row("integer", text=_INTEGER, comparable=True),
        "Edm.Decimal": _row("number", text=_DECIMAL, comparable=True),
        "Edm.Single": _row("number", text=_FLOAT),
        "Edm.Double": _row("number", text=_FLOAT),
        "Edm.DateTimeOffset": _row("string", text=_DATE_TIME, comparable=True, format="date-time"),
        "Edm.Date": _row("string", text=_DATE, comparable=True, format="date"),
        "Edm.TimeOfDay": _row("string", text=_TIME, format="time"),
        "Edm.Duration": _row("string", text=_DURATION, wrap="duration'{}'"),
        "Edm.Guid": _row("string", text=_GUID, format="uuid"),
        "Edm.Binary": _row("string", text=_BASE64, wrap="binary'{}'", contentEncoding="base64"),
    }
)

ENUM = _row("string", text=_MEMBER)
"""Every enum type: an open string, since an environment may have other members tomorrow."""

AX_DATE = _row("string", text=_DATE_TIME, comparable=True, format="date")
"""A calendar date that travels as noon UTC (`AXType` Date), and leaves us as a plain date."""

COLLECTION = _row("array")
COMPLEX = _row("object")
"""Structured types; F&O has none so far."""

INTEGERS = frozenset(name for name, row in PRIMITIVES.items() if row.schema["type"] == "integer")
NUMBERS_WITH_FRACTION = frozenset(name for name, row in PRIMITIVES.items() if row.schema["type"] == "number")

DATE_TIME = "Edm.DateTimeOffset"


def primitive(column: Property) -> Primitive:
    """Return the row of a property."""
    return primitive_of(column.type, column.ax_type)


def primitive_of(edm_type: str, ax_type: str | None = None) -> Primitive:
    """Return the row of a type name, and of its AXType where the name says too little.

    A qualified name that is not Edm's is an enum type's.
    """
    if edm_type == DATE_TIME and ax_type == "Date":
        return AX_DATE
    row = PRIMITIVES.get(edm_type)
    if row is not None:
        return row
    if edm_type.startswith("Collection("):
        return COLLECTION
    return COMPLEX if edm_type.startswith("Edm.") else ENUM


def is_date(column: Property) -> bool:
    """Say whether the property is a calendar date, in whichever way it travels."""
    return primitive(column).schema.get("format") == "date"


def is_instant(column: Property) -> bool:
    """Say whether the property is a moment in time."""
    return column.type == DATE_TIME and column.ax_type != "Date"


def is_comparable(column: Property | str) -> bool:
    """Say whether a property (or type) can take part in keyset comparison."""
    return (primitive(column) if isinstance(column, Property) else primitive_of(column)).is_comparable


def literal(column: Property | str, value: Value) -> str:
    """Return a value as it is written in a filter, digits and blanks as they are.

    `column` is a property or a type name. Raises D365FOError for a value that is none of that type: nothing
    but a literal ever gets into the filter.
    """
    edm_type = column.type if isinstance(column, Property) else column
    if value is None:
        return "null"
    row = primitive_of(edm_type)
    if row.text is None:
        return _quoted(edm_type, value)
    text = _text(value)
    if text is None or not row.text.fullmatch(text):
        raise _misfit(edm_type, value)
    return f"{edm_type}'{text}'" if row is ENUM else row.wrap.format(text)


def _quoted(edm_type: str, value: Value) -> str:
    if edm_type != "Edm.String" or not isinstance(value, str):
        raise _misfit(edm_type, value)
    return "'" + value.replace("'", "''") + "'"


def _text(value: Value) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"  # never an exponent, every digit kept
    return str(value) if isinstance(value, int | str) else None


def _misfit(edm_type: str, value: object) -> D365FOError:
    return D365FOError(f"Writing a filter: {value!r} is no value of {edm_type}.")
