"""CSDL declarations read from XML events: the lane that reads everything.

`Declarations` is told of elements as they open and close, and collects what they declare. Its two tables
say which elements matter and below which; all others are passed over with everything inside them. Prefixes
are taken off, since a document may bind CSDL's namespace to any.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from tap_d365fo.edm.model import EntityType, EnumMember, EnumType, NavigationProperty, Property
from tap_d365fo.errors import MetadataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PASSED_OVER = "?"

MAX_DEPTH = 32
"""CSDL nests ten deep at most; a document that goes further is none."""


@dataclass(frozen=True, slots=True)
class DeclaredType:
    """An entity type's own part, and the qualified name of the type that it extends."""

    entity_type: EntityType
    base_type: str | None = None


@dataclass(slots=True)
class _Draft:
    """An element under construction: its attributes, its annotations, and what it holds so far."""

    attributes: dict[str, str]
    annotations: dict[str, str] = field(default_factory=dict)
    key: list[str] = field(default_factory=list)
    properties: list[Property] = field(default_factory=list)
    navigation: list[NavigationProperty] = field(default_factory=list)
    constraints: list[tuple[str, str]] = field(default_factory=list)
    members: list[EnumMember] = field(default_factory=list)


class Declarations:
    """What a document (or one element of it) declares, as far as it has been read."""

    def __init__(self, line: Callable[[], int], *, within: tuple[str, ...] = (), namespace: str = "") -> None:
        """Begin at the top of a document, or `within` elements that are open already."""
        self.types: dict[str, DeclaredType] = {}
        """By qualified name."""
        self.enums: dict[str, EnumType] = {}
        """By unqualified name."""
        self.sets: list[tuple[str, str]] = []
        """Entity sets in the document's order, with the type name as written."""
        self.aliases: dict[str, str] = {}
        self.namespace = namespace
        self.latest = ""
        """The key, in `types` or `enums`, of what was declared last."""
        self.path: list[str] = list(within)
        self._line = line
        self._drafts: list[_Draft] = []
        self._term = ""
        self._text: list[str] | None = None

    @property
    def is_in_schema(self) -> bool:
        """Say whether the next element would be a child of a schema."""
        return bool(self.path) and self.path[-1] == "Schema"

    def opened(self, name: str, attributes: dict[str, str]) -> None:
        """Take note of a start tag."""
        local = name.rpartition(":")[2]
        path = self.path
        act = self._OPENED.get((path[-1] if path else "", local))
        path.append(local if act else _PASSED_OVER)
        if act is not None:
            act(self, attributes)
        elif len(path) == 1:
            raise self._unreadable(local, "is where an Edmx document should begin")
        elif len(path) > MAX_DEPTH:
            raise self._unreadable(local, f"is nested deeper than {MAX_DEPTH}")

    def closed(self, _name: str) -> None:
        """Take note of an end tag."""
        local = self.path.pop()
        act = self._CLOSED.get((self.path[-1], local)) if self.path else None
        if act is not None:
            act(self)

    def text(self, text: str) -> None:
        """Take note of character data; it matters in one place only."""
        if self._text is not None:
            self._text.append(text)

    # -- start tags ---------------------------------------------------------------------------------------

    def _enter(self, _attributes: dict[str, str]) -> None:
        """Look inside; the element itself says nothing."""

    def _schema(self, attributes: dict[str, str]) -> None:
        self.namespace = self._required(attributes, "Schema", "Namespace")
        if alias := attributes.get("Alias"):
            self.aliases[alias] = self.namespace

    def _draft(self, attributes: dict[str, str]) -> None:
        self._drafts.append(_Draft(attributes))

    def _key_part(self, attributes: dict[str, str]) -> None:
        self._drafts[-1].key.append(self._required(attributes, "PropertyRef", "Name"))

    def _constraint(self, attributes: dict[str, str]) -> None:
        pair = (attributes.get("Property", ""), attributes.get("ReferencedProperty", ""))
        self._drafts[-1].constraints.append(pair)

    def _annotation(self, attributes: dict[str, str]) -> None:
        self._term = attributes.get("Term", "").rpartition(".")[2]
        value = attributes.get("String", attributes.get("EnumMember"))
        if value:
            self._drafts[-1].annotations[self._term] = value

    def _value(self, _attributes: dict[str, str]) -> None:
        self._text = []

    def _entity_set(self, attributes: dict[str, str]) -> None:
        name = self._required(attributes, "EntitySet", "Name")
        self.sets.append((name, self._required(attributes, f'EntitySet Name="{name}"', "EntityType")))

    # -- end tags -----------------------------------------------------------------------------------------

    def _annotated(self) -> None:
        if self._text is not None:
            self._drafts[-1].annotations[self._term] = "".join(self._text).strip()
            self._text = None

    def _property(self) -> None:
        draft = self._drafts.pop()
        name = self._required(draft.attributes, "Property", "Name")
        ax_type = draft.annotations.get("AXType")
        self._drafts[-1].properties.append(
            Property(
                name,
                self._required(draft.attributes, f'Property Name="{name}"', "Type"),
                draft.attributes.get("Nullable") != "false",
                ax_type.rpartition("/")[2] if ax_type else None,
                draft.annotations.get("LabelId"),
                draft.annotations.get("HelpTextId"),
            )
        )

    def _navigation(self) -> None:
        draft = self._drafts.pop()
        name = self._required(draft.attributes, "NavigationProperty", "Name")
        target = self._required(draft.attributes, f'NavigationProperty Name="{name}"', "Type")
        inner = target.removeprefix("Collection(").removesuffix(")")
        partner = draft.attributes.get("Partner")
        self._drafts[-1].navigation.append(
            NavigationProperty(name, inner, inner != target, partner, tuple(draft.constraints))
        )

    def _entity_type(self) -> None:
        draft = self._drafts.pop()
        name = self._required(draft.attributes, "EntityType", "Name")
        entity_type = EntityType(
            name,
            tuple(draft.key),
            tuple(draft.properties),
            tuple(draft.navigation),
            draft.annotations.get("LabelId"),
        )
        declared = DeclaredType(entity_type, draft.attributes.get("BaseType"))
        self.latest = f"{self.namespace}.{name}"
        self.types[self.latest] = declared

    def _member(self) -> None:
        draft = self._drafts.pop()
        name = self._required(draft.attributes, "Member", "Name")
        members = self._drafts[-1].members
        value = draft.attributes.get("Value")
        try:  # a member without a value counts on from the one before
            number = int(value) if value is not None else (members[-1].value + 1 if members else 0)
        except ValueError as exc:
            raise self._unreadable(f'Member Name="{name}"', f"has the value {value!r}") from exc
        members.append(EnumMember(name, number, draft.annotations.get("LabelId")))

    def _enum_type(self) -> None:
        draft = self._drafts.pop()
        name = self._required(draft.attributes, "EnumType", "Name")
        self.latest = name
        self.enums[name] = EnumType(name, tuple(draft.members))

    # -- what is missing ----------------------------------------------------------------------------------

    def _required(self, attributes: dict[str, str], element: str, attribute: str) -> str:
        value = attributes.get(attribute)
        if not value:
            raise self._unreadable(element, f"has no {attribute}")
        return value

    def _unreadable(self, element: str, what: str) -> MetadataError:
        return MetadataError(f"Reading $metadata: <{element}> in line {self._line()} {what}.")

    # -- which elements matter, by what they stand in ------------------------------------------------------

    _OPENED: ClassVar[Mapping[tuple[str, str], Callable[[Declarations, dict[str, str]], None]]] = {
        ("", "Edmx"): _enter,
        ("Edmx", "DataServices"): _enter,
        ("DataServices", "Schema"): _schema,
        ("Schema", "EnumType"): _draft,
        ("EnumType", "Member"): _draft,
        ("Member", "Annotation"): _annotation,
        ("Schema", "EntityType"): _draft,
        ("EntityType", "Annotation"): _annotation,
        ("EntityType", "Key"): _enter,
        ("Key", "PropertyRef"): _key_part,
        ("EntityType", "Property"): _draft,
        ("Property", "Annotation"): _annotation,
        ("Annotation", "EnumMember"): _value,
        ("EntityType", "NavigationProperty"): _draft,
        ("NavigationProperty", "ReferentialConstraint"): _constraint,
        ("Schema", "EntityContainer"): _enter,
        ("EntityContainer", "EntitySet"): _entity_set,
    }
    _CLOSED: ClassVar[Mapping[tuple[str, str], Callable[[Declarations], None]]] = {
        ("Schema", "EnumType"): _enum_type,
        ("EnumType", "Member"): _member,
        ("Schema", "EntityType"): _entity_type,
        ("EntityType", "Property"): _property,
        ("Annotation", "EnumMember"): _annotated,
        ("EntityType", "NavigationProperty"): _navigation,
    }
