"""What an entity of the sandbox is: its names, columns and key, and how its rows are made up.

Columns are written in a short form, `Name:code`, where the code is the AXType's initial (see `_CODES`)
or an enum's name. F&O sends columns keys first and then in an order that looks like a hash; so do we.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tap_d365fo.edm.model import DATA_AREA_ID, EntityType, EnumMember, EnumType, NavigationProperty, Property
from tap_d365fo.sandbox.values import NAMESPACE

Row = Mapping[str, Any]
MakeRow = Callable[[Random, str, int], Row]
"""(random, legal entity, number) to the columns that matter; the rest is filled in."""

_CODES = {
    "s": ("Edm.String", "String"),
    "r": ("Edm.Decimal", "Real"),
    "i": ("Edm.Int32", "Int32"),
    "l": ("Edm.Int64", "Int64"),
    "d": ("Edm.DateTimeOffset", "Date"),
    "u": ("Edm.DateTimeOffset", "UtcDateTime"),
    "g": ("Edm.Guid", "Guid"),
    "t": ("Edm.Int32", "Time"),
    "b": ("Edm.Boolean", "Enum"),
    "x": ("Edm.Binary", "Container"),
    "n": (f"{NAMESPACE}.NoYes", "Enum"),
}


@dataclass(frozen=True, slots=True)
class EntityDefinition:
    """One entity set of the sandbox."""

    name: str
    """The entity set's name."""
    entity_type: EntityType
    aot_name: str = ""
    category: str | None = "Master"
    enums: tuple[EnumType, ...] = ()
    """The enum types that its columns use."""
    etag_pairs: int = 1
    """Data sources joined, the root table first; 0 for an entity that sends no etag."""
    modified: str | None = None
    """The column that an update of the root table moves."""
    created: str | None = None
    append_only: bool = False
    virtual: frozenset[str] = frozenset()
    """Columns computed row by row: they can be neither filtered nor sorted."""
    refuses_functions: bool = False
    template: Row = field(default_factory=dict, compare=False)
    """What a column holds in a row that says nothing of it."""
    rows: Callable[[], Iterable[Row]] | None = field(default=None, compare=False)
    """The rows at the start."""
    make: MakeRow | None = field(default=None, compare=False)
    """One more row, for rounds of change."""
    touch: tuple[str, ...] = ()
    """Columns that a round of change updates."""

    @property
    def is_company_scoped(self) -> bool:
        """Tell whether rows belong to a legal entity."""
        return self.entity_type.property(DATA_AREA_ID) is not None

    @property
    def key(self) -> tuple[str, ...]:
        """Return the key's columns in order; none for a keyless entity."""
        return self.entity_type.key

    def enum_of(self, column: Property) -> EnumType | None:
        """Return the enum type of a column, or None where it is a primitive."""
        wanted = column.type.removeprefix(NAMESPACE + ".")
        return next((each for each in self.enums if each.name == wanted), None)


def enum(name: str, members: str) -> EnumType:
    """Return an enum type from its members' names; values count from 0."""
    return EnumType(
        name,
        tuple(EnumMember(each, value, f"@{name}:{each}") for value, each in enumerate(members.split())),
    )


NO_YES = EnumType("NoYes", (EnumMember("No", 0, "@sys2048"), EnumMember("Yes", 1, "@sys5461")))


def columns(spec: str, *, key: tuple[str, ...] = (), module: str = "Sandbox") -> tuple[Property, ...]:
    """Read columns from their short form, in the order given."""
    return tuple(_column(each, key, module) for each in spec.split())


def _column(item: str, key: tuple[str, ...], module: str) -> Property:
    name, _, code = item.partition(":")
    code = code or "s"
    edm_type, ax_type = _CODES.get(code, (f"{NAMESPACE}.{code}", "Enum"))
    # Strings, enum types and containers are nullable in F&O's CSDL, and nothing else; keys never are.
    is_loose = edm_type in ("Edm.String", "Edm.Binary") or not edm_type.startswith("Edm.")
    label = "@SYS13342" if name == DATA_AREA_ID else f"@{module}:{name}"
    help_text = f"@{module}:{name}Help" if zlib.crc32(name.encode()) % 9 == 0 else None
    return Property(
        name,
        edm_type,
        nullable=is_loose and name not in key,
        ax_type=ax_type,
        label=label,
        help_text=help_text,
    )


def hashed(spec: str, *, key: tuple[str, ...] = ()) -> str:
    """Put columns in an order that looks like F&O's: keys first, the rest by a hash of the name."""
    items = {each.partition(":")[0]: each for each in spec.split()}
    rest = sorted((each for each in items if each not in key), key=_number)
    return " ".join(items[each] for each in [*key, *rest])


def define(
    name: str,
    type_name: str,
    key: str,
    spec: str,
    *,
    enums: Iterable[EnumType] = (),
    navigation: tuple[NavigationProperty, ...] = (),
    module: str = "Sandbox",
    in_order: bool = False,
    **rest: Any,
) -> EntityDefinition:
    """Return a definition from short forms.

    `key` names columns apart by blanks; `spec` lists columns as `Name:code`, put into a hash-like order
    unless `in_order`. What is left goes to `EntityDefinition`.
    """
    keys = tuple(key.split())
    properties = columns(spec if in_order else hashed(spec, key=keys), key=keys, module=module)
    known = {each.name: each for each in (NO_YES, *enums)}
    used = [each.type.removeprefix(NAMESPACE + ".") for each in properties]
    entity_type = EntityType(type_name, keys, properties, navigation, f"@{module}:{name}")
    rest.setdefault("aot_name", f"{type_name}Entity")
    return EntityDefinition(
        name,
        entity_type,
        enums=tuple(known[each] for each in dict.fromkeys(used) if each in known),
        **rest,
    )


def _number(text: str) -> int:
    return zlib.crc32(text.encode())
