"""CSDL documents made up for tests: a full-size one of an environment's proportions, in seeded randomness.

Proportions follow what is known of real environments: 3,868 entity sets, 67,388 properties (median 9 a type, at
most 305), some 2,000 enum types, label and AXType annotations on every property, navigation properties on two types
in five, one container at the end, about 50 MB with indentation.
"""

from __future__ import annotations

import random
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "Microsoft.Dynamics.DataEntities"
CORE = "Microsoft.Dynamics.OData.Core.V1"
SETS = 3868
PROPERTIES = 67388
ENUMS = 2000

AX_TYPES = (
    "Container",
    "Date",
    "Enum",
    "Guid",
    "Int32",
    "Int64",
    "Real",
    "Record",
    "String",
    "Time",
    "UtcDateTime",
    "Void",
)

KINDS = (
    # (weight, Edm type, AXType, nullable)
    (46, "Edm.String", "String", True),
    (20, "enum", "Enum", True),
    (14, "Edm.Decimal", "Real", False),
    (5, "Edm.Int32", "Int32", False),
    (5, "Edm.Int64", "Int64", False),
    (5, "Edm.DateTimeOffset", "Date", False),
    (3, "Edm.DateTimeOffset", "UtcDateTime", False),
    (1, "Edm.Guid", "Guid", False),
    (1, "Edm.Int32", "Time", False),
)

HEAD = (
    '\ufeff<?xml version="1.0" encoding="utf-8"?>\n'
    '<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">\n'
    "  <edmx:DataServices>\n"
    f'    <Schema Namespace="{NAMESPACE}" xmlns="http://docs.oasis-open.org/odata/ns/edm">\n'
)
TAIL = (
    "    </Schema>\n"
    f'    <Schema Namespace="{CORE}" xmlns="http://docs.oasis-open.org/odata/ns/edm">\n'
    '      <EnumType Name="AXType">\n'
    + "".join(f'        <Member Name="{name}" Value="{at}" />\n' for at, name in enumerate(AX_TYPES))
    + "      </EnumType>\n    </Schema>\n  </edmx:DataServices>\n</edmx:Edmx>"
)


def full_size(
    *, sets: int = SETS, properties: int = PROPERTIES, enums: int = ENUMS, seed: int = 7
) -> Iterator[bytes]:
    """Yield the document piece by piece; the same seed gives the same bytes."""
    rng = random.Random(seed)
    widths = _widths(rng, sets, properties)
    yield HEAD.encode()
    for at in range(enums):
        yield _enum(rng, at).encode()
    for at, width in enumerate(widths):
        yield _entity_type(rng, at, width, sets=sets, enums=enums).encode()
    for at in range(0, sets, 7):
        yield _action(at).encode()
    yield b'      <EntityContainer Name="Resources">\n'
    for at in range(sets):
        yield _entity_set(at, has_navigation=at % 5 < 2).encode()
    yield b"      </EntityContainer>\n"
    yield TAIL.encode()


def in_chunks(pieces: Iterator[bytes], size: int = 1 << 16) -> Iterator[bytes]:
    """Regroup pieces into chunks of one size, as a network read gives them."""
    held = bytearray()
    for piece in chain(pieces):
        held += piece
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)


def type_name(at: int) -> str:
    return f"SalesLedgerEntity{at:04d}V2"


def set_name(at: int) -> str:
    return f"SalesLedgerEntities{at:04d}V2"


def _widths(rng: random.Random, sets: int, properties: int) -> list[int]:
    widths = [min(300, max(2, round(rng.lognormvariate(2.2, 1.05)))) for _ in range(sets)]
    widths[0] = 305
    short = properties - sum(widths)
    while short:
        at = rng.randrange(1, sets)
        step = 1 if short > 0 else -1
        if 2 <= widths[at] + step <= 300:
            widths[at] += step
            short -= step
    return widths


def _label(text: str, indent: int) -> str:
    return f'{" " * indent}<Annotation Term="{CORE}.LabelId" String="{text}" />\n'


def _enum(rng: random.Random, at: int) -> str:
    members = "".join(
        f'        <Member Name="Choice{number}" Value="{number}">\n'
        + _label(f"@AccountsReceivable:Choice{rng.randrange(10**6)}", 10)
        + "        </Member>\n"
        for number in range(min(150, 2 + round(rng.lognormvariate(2.4, 0.9))))
    )
    return f'      <EnumType Name="LedgerPostingChoice{at:04d}">\n{members}      </EnumType>\n'


def _property(rng: random.Random, name: str, edm: str, ax: str, *, nullable: bool) -> str:
    facet = "" if nullable else ' Nullable="false"'
    extra = (
        f'          <Annotation Term="{CORE}.HelpTextId" String="@AccountsReceivable:CustomerInvoicePostingHelpText{rng.randrange(10**5)}" />\n'
        if rng.random() < 0.11
        else ""
    )
    extra += "".join(
        f'          <Annotation Term="{CORE}.{term}" Bool="{value}" />\n'
        for share, term, value in (
            (0.78, "ConfigurationKeyEnabled", "true"),
            (0.14, "AllowEdit", "false"),
            (0.05, "AllowEditOnCreate", "false"),
            (0.08, "IsRequired", "true"),
        )
        if rng.random() < share
    )
    if rng.random() < 0.13:
        extra += f'          <Annotation Term="{CORE}.CountryRegionCodes" String="BR,MX,IN,RU,CN" />\n'
    return (
        f'        <Property Name="{name}" Type="{edm}"{facet}>\n'
        + _label(f"@AccountsReceivable:CustomerInvoicePostingLabel{rng.randrange(10**5)}", 10)
        + extra
        + f'          <Annotation Term="{CORE}.AXType">\n'
        f"            <EnumMember>{CORE}.AXType/{ax}</EnumMember>\n          </Annotation>\n        </Property>\n"
    )


def _entity_type(rng: random.Random, at: int, width: int, *, sets: int, enums: int) -> str:
    keys = ("dataAreaId", "RecordIdentification") if at % 3 else ("RecordIdentification",)
    parts = [f'      <EntityType Name="{type_name(at)}">\n        <Key>\n']
    parts += [f'          <PropertyRef Name="{key}" />\n' for key in keys]
    parts.append("        </Key>\n")
    parts += [_property(rng, key, "Edm.String", "String", nullable=False) for key in keys]
    kinds = rng.choices(KINDS, [kind[0] for kind in KINDS], k=max(0, width - len(keys)))
    for number, (_, edm, ax, nullable) in enumerate(kinds):
        shown = f"{NAMESPACE}.LedgerPostingChoice{rng.randrange(enums):04d}" if edm == "enum" else edm
        parts.append(
            _property(rng, f"DefaultCustomerInvoicePosting{ax}Column{number}", shown, ax, nullable=nullable)
        )
    if at % 5 < 2:
        other = rng.randrange(sets)
        parts += [
            f'        <NavigationProperty Name="Related{number}" Type="{NAMESPACE}.{type_name(other)}" '
            f'Nullable="false" Partner="Related{number}">\n'
            '          <ReferentialConstraint Property="dataAreaId" ReferencedProperty="dataAreaId" />\n'
            "        </NavigationProperty>\n"
            for number in range(4)
        ]
    parts.append(_label(f"@AccountsReceivable:{type_name(at)}", 8) + "      </EntityType>\n")
    return "".join(parts)


def _action(at: int) -> str:
    return (
        f'      <Action Name="recalculate{at}" IsBound="true">\n'
        f'        <Parameter Name="it" Type="{NAMESPACE}.{type_name(at)}" />\n'
        '        <ReturnType Type="Edm.Boolean" Nullable="false" />\n      </Action>\n'
    )


def _entity_set(at: int, *, has_navigation: bool) -> str:
    opening = f'        <EntitySet Name="{set_name(at)}" EntityType="{NAMESPACE}.{type_name(at)}"'
    if not has_navigation:
        return f"{opening} />\n"
    bindings = "".join(
        f'          <NavigationPropertyBinding Path="Related{number}" Target="{set_name(at)}" />\n'
        for number in range(4)
    )
    return f"{opening}>\n{bindings}        </EntitySet>\n"
