"""CSDL declarations read by pattern: the quick lane for elements that look as F&O writes them.

Rule: every function takes one element that a parser has already found well-formed and free of comments,
processing instructions and CDATA, so that each `<` begins a tag. A pattern must account for every tag of
the element; where one is left over (another facet, another order, an escaped character), the answer is
None and the element is read by events instead. So the patterns may be narrow, but never wrong.
"""

from __future__ import annotations

import re
from sys import intern
from typing import TYPE_CHECKING

from tap_d365fo.edm.csdl_events import DeclaredType
from tap_d365fo.edm.model import EntityType, EnumMember, EnumType, NavigationProperty, Property

if TYPE_CHECKING:
    from collections.abc import Iterator

_VALUE = r'"([^"&\t\n\r]*)"'
_SOME = r'"[^"]*"'
_CORE = r"Microsoft\.Dynamics\.OData\.Core\.V1\."
_LABEL = rf'<Annotation Term="{_CORE}LabelId" String={_VALUE}\s*/>'
_HELP = rf'<Annotation Term="{_CORE}HelpTextId" String={_VALUE}\s*/>'
_AX_TYPE = (
    rf'<Annotation Term="{_CORE}AXType"\s*>\s*'
    rf"<EnumMember>\s*{_CORE}AXType/(\w+)\s*</EnumMember>\s*</Annotation>"
)
_OTHER = (
    rf'<Annotation Term="(?!(?:[^"]*\.)?(?:LabelId|HelpTextId|AXType)"){_SOME[1:]}(?: \w+={_SOME})?\s*'
    r"(?:/>|>\s*<Collection>(?:\s*<String>[^<]*</String>)*\s*</Collection>\s*</Annotation>)"
)
_OTHERS = rf"(?:\s*{_OTHER})*"

_OPENING = re.compile(r'<EntityType Name="([^"&\s]+)"\s*>')
_KEY = re.compile(rf"\s*<Key\s*>((?:\s*<PropertyRef Name={_SOME}\s*/>)+)\s*</Key>")
_KEY_PART = re.compile(rf"Name={_VALUE}")
_PROPERTY = re.compile(
    rf'<Property Name={_VALUE} Type={_VALUE}(?: Nullable="(true|false)")?\s*>'
    rf"(?:\s*{_LABEL})?(?:\s*{_HELP})?{_OTHERS}(?:\s*{_AX_TYPE})?{_OTHERS}\s*</Property>"
)
_NAVIGATION = re.compile(
    rf"\s*<NavigationProperty Name={_VALUE} Type={_VALUE}(?: Nullable={_SOME})?(?: Partner={_VALUE})?\s*"
    r"(?:/>|>((?:\s*<ReferentialConstraint [^>]*/>)*)"
    rf"{_OTHERS}\s*</NavigationProperty>)"
)
_CONSTRAINT = re.compile(rf"<ReferentialConstraint Property={_VALUE} ReferencedProperty={_VALUE}\s*/>")
_CHILDREN = (b"</Key>", b"</Property>", b"</NavigationProperty>")
_LONE_CHILD = b"<NavigationProperty "
"""A child that may have no end tag."""
_END = 1024
"""Bytes in which an entity type's own annotations mostly stand, and its last property."""
_CLOSING = re.compile(rf"{_OTHERS}(?:\s*{_LABEL})?{_OTHERS}\s*</EntityType>")

_ENUM_OPENING = re.compile(rf'<EnumType Name="([^"&\s]+)"\s*>(?:\s*{_LABEL})?{_OTHERS}')
_MEMBER = re.compile(
    rf'<Member Name={_VALUE} Value="(-?\d+)"\s*(?:/>|>(?:\s*{_LABEL})?{_OTHERS}\s*</Member>)'
)
_ENUM_CLOSING = re.compile(rf"(?:\s*{_LABEL})?{_OTHERS}\s*</EnumType>")


def entity_type(element: str) -> DeclaredType | None:
    """Return the declaration of an `<EntityType>` element, or None where it looks unusual."""
    opening = _OPENING.match(element)
    if opening is None:
        return None
    key, position = _key(element, opening.end())
    properties: list[Property] = []
    for match in _contiguous(_PROPERTY, element, position):
        properties.append(_property(match))
        position = match.end()
    navigation: list[NavigationProperty] = []
    while match_ := _NAVIGATION.match(element, position):
        relation = _navigation(match_)
        if relation is None:
            return None
        navigation.append(relation)
        position = match_.end()
    closing = _CLOSING.fullmatch(element, position)
    if closing is None:
        return None
    own = EntityType(opening[1], key, tuple(properties), tuple(navigation), label=closing[1] or None)
    return DeclaredType(own)


def entity_type_label(element: bytes) -> tuple[str | None] | None:
    """Return the label of an `<EntityType>` element alone, in a tuple, or None where it looks unusual.

    It stands behind the last property, so the whole element is looked through only where its end has none.
    """
    end = element[-_END:]
    last = _after_last_child(end) or _after_last_child(end := element)
    closing = _CLOSING.fullmatch(end[last:].decode())
    return (closing[1] or None,) if closing else None


def _after_last_child(element: bytes) -> int:
    """Return where the last child of an entity type has ended, 0 where there is none."""
    ended = max((at + len(tag) for tag in _CHILDREN if (at := element.rfind(tag)) >= 0), default=0)
    lone = element.rfind(_LONE_CHILD, ended)
    return element.find(b"/>", lone) + 2 if lone >= 0 else ended


def enum_type(element: str) -> EnumType | None:
    """Return the declaration of an `<EnumType>` element, or None where it looks unusual."""
    opening = _ENUM_OPENING.match(element)
    if opening is None:
        return None
    members: list[EnumMember] = []
    position = opening.end()
    for match in _contiguous(_MEMBER, element, position):
        members.append(EnumMember(match[1], int(match[2]), match[3] or None))
        position = match.end()
    return EnumType(opening[1], tuple(members)) if _ENUM_CLOSING.fullmatch(element, position) else None


def _contiguous(pattern: re.Pattern[str], element: str, position: int) -> Iterator[re.Match[str]]:
    """Yield matches for as long as nothing but white space parts them."""
    for match in pattern.finditer(element, position):
        start = match.start()
        if start != position and not element[position:start].isspace():
            return
        yield match
        position = match.end()


def _key(element: str, position: int) -> tuple[tuple[str, ...], int]:
    match = _KEY.match(element, position)
    return (tuple(_KEY_PART.findall(match[1])), match.end()) if match else ((), position)


def _property(match: re.Match[str]) -> Property:
    name, edm_type, nullable, label, help_text, ax_type = match.groups()
    return Property(
        name,
        intern(edm_type),  # a few names for tens of thousands of properties
        nullable != "false",
        intern(ax_type) if ax_type else None,
        label or None,
        help_text or None,
    )


def _navigation(match: re.Match[str]) -> NavigationProperty | None:
    name, target, partner, inside = match.groups()
    constraints = tuple(_CONSTRAINT.findall(inside or ""))
    if inside and len(constraints) != inside.count("<"):
        return None
    inner = target.removeprefix("Collection(").removesuffix(")")
    return NavigationProperty(name, inner, inner != target, partner, constraints)
