"""Properties -> JSON Schema: what the records of an entity look like to a target.

Every column may be null but those of the key: F&O has no null for most types, yet an empty date becomes one,
and a row that was found deleted has nothing but its key. Enums are open strings.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tap_d365fo.edm.primitives import NUMBERS_WITH_FRACTION, primitive_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_d365fo.edm.model import Property

DELETED_AT = "_sdc_deleted_at"
"""The column that a change sweep adds: when it found the row gone."""


def json_schema(
    properties: Iterable[Property], key: Iterable[str], *, sweep: bool = False, decimals: str = "number"
) -> dict[str, Any]:
    """Return the schema of an entity's records, properties in the wire's order.

    `decimals="string"` is for targets that would read a JSON number as a double; `sweep` adds the column
    that says when a row was found deleted.
    """
    keys = frozenset(key)
    columns = {
        each.name: column_schema(each, is_key=each.name in keys, decimals=decimals) for each in properties
    }
    if sweep:
        columns[DELETED_AT] = {"type": ["string", "null"], "format": "date-time"}
    return {"type": "object", "properties": columns}


def column_schema(column: Property, *, is_key: bool = False, decimals: str = "number") -> dict[str, Any]:
    """Return the schema of one property; its label, or else its help text, is the description."""
    kind, formats = _kind_and_formats(column.type, column.ax_type, decimals)
    schema: dict[str, Any] = {"type": kind if is_key else [kind, "null"], **formats}
    if description := column.label or column.help_text:
        schema["description"] = description
    return schema


@cache  # a few thousand enum types at most, asked for by 67,000 properties
def _kind_and_formats(edm_type: str, ax_type: str | None, decimals: str) -> tuple[str, dict[str, str]]:
    if edm_type in NUMBERS_WITH_FRACTION and decimals == "string":
        return "string", {}
    schema = dict(primitive_of(edm_type, ax_type).schema)
    return schema.pop("type"), schema
