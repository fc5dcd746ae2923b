"""The explorer: one page that holds a whole environment's entities, to search, to look through, to choose from.

What a browser need not know is left out, and what repeats is a number: 3,868 entity sets with 67,000 columns
stay near four megabytes. The page asks nothing of any server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tap_d365fo.edm.model import EnumType, NavigationProperty, Property
    from tap_d365fo.extraction.entity import DataEntity

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_CALENDAR_DATE = "Date"


def page(
    environment_url: str,
    entities: Sequence[DataEntity],
    enums: Mapping[str, EnumType],
    rows: Sequence[Mapping[str, Any]],
) -> str:
    """Return the page; `rows` are the entities as the list shows them."""
    template = resources.files("tap_d365fo.cli").joinpath("explorer.html").read_text(encoding="utf-8")
    data = json.dumps(
        _data(environment_url, entities, enums, rows), separators=(",", ":"), ensure_ascii=False
    )
    # In a script element only `<` could end it, or open a comment; in JSON it stands in texts alone.
    return template.replace("{{DATA}}", data.replace("<", "\\u003c"))


def _data(
    environment_url: str,
    entities: Sequence[DataEntity],
    enums: Mapping[str, EnumType],
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    types, whys = _Numbered(), _Numbered()
    packed = [
        [
            entity.name,
            entity.type_name,
            entity.aot_name or "",
            "" if (entity.label or "").startswith("@") else entity.label or "",
            entity.category or "",
            int(entity.is_company_scoped),
            entity.method,
            entity.replication_key or "",
            whys[entity.why],
            list(entity.key),
            " ".join(f"{column.name}:{_base36(types[_type(column)])}" for column in entity.properties),
            [_relation(each) for each in entity.navigation_properties],
            row["rows"],
            row["bytes_per_row"],
            len(entity.properties),
        ]
        for entity, row in zip(entities, rows, strict=True)
    ]
    used = {name: enums[name] for name in types.values if name in enums}
    return {
        "environment": urlsplit(environment_url).netloc,
        "columns": sum(len(each.properties) for each in entities),
        "types": types.values,
        "whys": whys.values,
        "enums": {name: _members(enum) for name, enum in used.items()},
        "entities": packed,
    }


class _Numbered:
    """Gives each value the number of its first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __getitem__(self, value: str) -> int:
        return self._numbers.setdefault(value, len(self._numbers))

    @property
    def values(self) -> list[str]:
        return list(self._numbers)


def _type(column: Property) -> str:
    """Name a type as people do: without its namespace, and a calendar date as one."""
    name = column.type.rpartition(".")[2]
    return _CALENDAR_DATE if column.ax_type == _CALENDAR_DATE else name


def _relation(each: NavigationProperty) -> list[Any]:
    by = ", ".join(f"{here} = {there}" for here, there in each.constraints)
    return [each.name, each.type.rpartition(".")[2], int(each.is_collection), by]


def _members(enum: EnumType) -> str:
    return " ".join(f"{each.name}={each.value}" for each in enum.members)


def _base36(number: int) -> str:
    digits = ""
    while number >= len(_DIGITS):
        number, left = divmod(number, len(_DIGITS))
        digits = _DIGITS[left] + digits
    return _DIGITS[number] + digits
