"""The nouns of CSDL as frozen values: what a service says it has.

Nothing here parses or fetches; `csdl.py` builds these from `$metadata`. Names are CSDL's own.

A real environment has 67,000 properties and tens of thousands of enum members. Those two are msgspec
structs and not dataclasses: built in a tenth of the time, and no burden on the garbage collector, which
they need not be (they hold text alone). Otherwise the two kinds of value behave alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA_AREA_ID = "dataAreaId"
"""The property that names a row's legal entity; where it is part of a key it comes first."""


class Property(msgspec.Struct, frozen=True, gc=False):
    """A structural property of an entity type."""

    name: str
    type: str
    """Edm primitive (`Edm.String`) or the qualified name of an enum type."""
    nullable: bool = True
    ax_type: str | None = None
    """The member of F&O's `AXType` annotation: `Date`, `UtcDateTime`, `Real`, ..."""
    label: str | None = None
    """The `LabelId` annotation as the metadata gives it: a label id, sometimes literal text."""
    help_text: str | None = None


class EnumMember(msgspec.Struct, frozen=True, gc=False):
    """One member of an enum type."""

    name: str
    value: int
    label: str | None = None


@dataclass(frozen=True, slots=True)
class EnumType:
    """An enum type. Members are extensible: an environment may hold others tomorrow."""

    name: str
    members: tuple[EnumMember, ...] = ()


@dataclass(frozen=True, slots=True)
class NavigationProperty:
    """A relation to another entity type."""

    name: str
    type: str
    """Qualified entity type name, `Collection(...)` taken off."""
    is_collection: bool = False
    partner: str | None = None
    constraints: tuple[tuple[str, str], ...] = ()
    """Pairs of (property here, property there)."""


@dataclass(frozen=True, slots=True)
class EntityType:
    """An entity type: its key in CSDL's order and its properties in the wire's order."""

    name: str
    key: tuple[str, ...] = ()
    properties: tuple[Property, ...] = ()
    navigation_properties: tuple[NavigationProperty, ...] = ()
    label: str | None = None

    def property(self, name: str) -> Property | None:
        """Return the property of that exact name, or None."""
        return next((each for each in self.properties if each.name == name), None)


@dataclass(frozen=True, slots=True)
class EntitySet:
    """A named collection of one entity type, as the container offers it."""

    name: str
    entity_type: EntityType


@dataclass(frozen=True, slots=True)
class OfferedSet:
    """An entity set by its names alone: what a document offers, whether it was read or not."""

    name: str
    type_name: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class EdmModel:
    """All that was read from one `$metadata` document (or the part of it that was asked for)."""

    entity_sets: Mapping[str, EntitySet] = field(default_factory=lambda: MappingProxyType({}))
    """In the container's order."""
    enum_types: Mapping[str, EnumType] = field(default_factory=lambda: MappingProxyType({}))
    """By unqualified name."""
    offered: tuple[OfferedSet, ...] = ()
    """Every entity set of the document, those left unread included."""
    left_out: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Entity sets that the document names but does not describe, each with the reason."""
