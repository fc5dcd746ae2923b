"""`$metadata`: entity definitions written as CSDL, in the order and with the annotations F&O uses.

The document begins with a byte order mark; enum types come first, then entity types, actions and one
container named Resources. There are no facets: neither lengths nor precisions can be learnt from it.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from tap_d365fo.sandbox.values import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_d365fo.edm.model import EnumType, NavigationProperty, Property
    from tap_d365fo.sandbox.definition import EntityDefinition

CORE = "Microsoft.Dynamics.OData.Core.V1"
AX_TYPES = [
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
]  # in the order of their numbers

_HEAD = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">\n'
    "  <edmx:DataServices>\n"
    f'    <Schema Namespace="{NAMESPACE}" xmlns="http://docs.oasis-open.org/odata/ns/edm">\n'
)
_ACTION = """\
      <Action Name="GetApplicationVersion" IsBound="true" EntitySetPath="{set}">
        <Parameter Name="{set}" Type="Collection({namespace}.DataManagementEntity)" />
        <ReturnType Type="Edm.String" />
      </Action>
"""


def csdl(definitions: Iterable[EntityDefinition]) -> bytes:
    """Return the whole document."""
    return b"\xef\xbb\xbf" + "".join(_document(tuple(definitions))).encode()


def _document(definitions: tuple[EntityDefinition, ...]) -> Iterator[str]:
    yield _HEAD
    enums = {each.name: each for definition in definitions for each in definition.enums}
    yield from map(_enum_type, enums.values())
    yield from map(_entity_type, definitions)
    if any(each.name == "DataManagementEntities" for each in definitions):
        yield _ACTION.format(set="DataManagementEntities", namespace=NAMESPACE)
    yield '      <EntityContainer Name="Resources">\n'
    sets = {each.entity_type.name: each.name for each in definitions}
    for each in definitions:
        yield _entity_set(each, sets)
    yield "      </EntityContainer>\n    </Schema>\n"
    yield f'    <Schema Namespace="{CORE}" xmlns="http://docs.oasis-open.org/odata/ns/edm">\n'
    yield '      <EnumType Name="AXType">\n'
    for value, name in enumerate(AX_TYPES):
        yield f'        <Member Name="{name}" Value="{value}" />\n'
    yield "      </EnumType>\n    </Schema>\n  </edmx:DataServices>\n</edmx:Edmx>"


def _annotation(term: str, label: str, indent: str) -> str:
    return f'{indent}<Annotation Term="{CORE}.{term}" String={quoteattr(label)} />\n'


def _flag(term: str, indent: str, value: str = "true") -> str:
    return f'{indent}<Annotation Term="{CORE}.{term}" Bool="{value}" />\n'


def _enum_type(enum: EnumType) -> str:
    members = "".join(
        f'        <Member Name="{each.name}" Value="{each.value}">\n'
        f"{_annotation('LabelId', each.label or each.name, ' ' * 10)}        </Member>\n"
        for each in enum.members
    )
    return f'      <EnumType Name="{enum.name}">\n{members}      </EnumType>\n'


def _entity_type(definition: EntityDefinition) -> str:
    entity_type = definition.entity_type
    parts = [f'      <EntityType Name="{entity_type.name}">\n']
    if entity_type.key:
        refs = "".join(f'          <PropertyRef Name="{each}" />\n' for each in entity_type.key)
        parts.append(f"        <Key>\n{refs}        </Key>\n")
    keys = frozenset(entity_type.key)
    parts += [_property(each, is_key=each.name in keys) for each in entity_type.properties]
    parts += [_navigation(each) for each in entity_type.navigation_properties]
    if entity_type.label:
        parts.append(_annotation("LabelId", entity_type.label, " " * 8))
    parts += [_flag("ConfigurationKeyEnabled", " " * 8), "      </EntityType>\n"]
    return "".join(parts)


def _property(column: Property, *, is_key: bool) -> str:
    loose = "" if column.nullable else ' Nullable="false"'
    parts = [f'        <Property Name="{column.name}" Type="{column.type}"{loose}>\n']
    if column.label:
        parts.append(_annotation("LabelId", column.label, " " * 10))
    if column.help_text:
        parts.append(_annotation("HelpTextId", column.help_text, " " * 10))
    if not is_key or column.name != "dataAreaId":
        parts.append(_flag("ConfigurationKeyEnabled", " " * 10))
    chance = zlib.crc32(column.name.encode()) % 7  # some columns say more of themselves, always the same ones
    if chance == 0:
        parts.append(f'          <Annotation Term="{CORE}.CountryRegionCodes" String="BR,IN,MX" />\n')
    if chance == 1 and not is_key:
        parts.append(_flag("AllowEdit", " " * 10, "false"))
        parts.append(_flag("AllowEditOnCreate", " " * 10, "false"))
    if is_key:
        parts.append(_flag("IsRequired", " " * 10))
        parts.append(_flag("AllowEdit", " " * 10, "false"))
    parts.append(
        f'          <Annotation Term="{CORE}.AXType">\n'
        f"            <EnumMember>{CORE}.AXType/{column.ax_type}</EnumMember>\n"
        "          </Annotation>\n        </Property>\n"
    )
    return "".join(parts)


def _navigation(relation: NavigationProperty) -> str:
    target = f"Collection({relation.type})" if relation.is_collection else relation.type
    loose = "" if relation.is_collection else ' Nullable="false"'
    partner = f' Partner="{relation.partner}"' if relation.partner else ""
    head = f'        <NavigationProperty Name="{relation.name}" Type="{target}"{loose}{partner}'
    if relation.is_collection or not relation.constraints:
        return head + " />\n"
    pairs = "".join(
        f'          <ReferentialConstraint Property="{here}" ReferencedProperty="{there}" />\n'
        for here, there in relation.constraints
    )
    return f"{head}>\n{pairs}        </NavigationProperty>\n"


def _entity_set(definition: EntityDefinition, sets: dict[str, str]) -> str:
    entity_type = definition.entity_type
    head = f'        <EntitySet Name="{definition.name}" EntityType="{NAMESPACE}.{entity_type.name}"'
    bound = [
        (each.name, sets[each.type.rpartition(".")[2]])
        for each in entity_type.navigation_properties
        if each.type.rpartition(".")[2] in sets
    ]
    if not bound:
        return head + " />\n"
    bindings = "".join(
        f'          <NavigationPropertyBinding Path="{path}" Target="{target}" />\n' for path, target in bound
    )
    return f"{head}>\n{bindings}        </EntitySet>\n"
