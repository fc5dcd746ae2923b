"""`$metadata` bytes -> EdmModel, streamed.

Expat sees every byte of the document, so what is not well-formed never becomes a model. Real documents are
50 MB of a few thousand entity types and enum types, and Python code per tag would be slow; so while expat
goes through one of those elements it calls no handlers, and `csdl_scan` reads the same bytes by pattern.
That is sound because of three facts that are checked for each element: its start tag was reported right
below a schema (so the bytes are no comment's), it holds no comment, instruction or CDATA itself, and no
other element of its name. Elements that the patterns do not account for, documents in another encoding, and
everything between those elements go through `csdl_events`, which reads all of CSDL.

Entity sets come last in a document. With `wanted`, types are therefore kept as bytes until the sets are
known, and only those that are wanted are read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

import msgspec

from tap_d365fo.edm import csdl_scan
from tap_d365fo.edm.csdl_events import Declarations, DeclaredType
from tap_d365fo.edm.model import EdmModel, EntitySet, EntityType, EnumType, OfferedSet
from tap_d365fo.errors import MetadataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Wanted = Callable[[str, str, str | None], bool]
    """(entity set, unqualified type name, label as the metadata gives it) -> whether to read it."""

_STEP = 1 << 18
"""Bytes gathered before they are looked at: network chunks are small."""
_LONGEST = 1 << 23
"""An element longer than this goes through events, so that no more than this is ever held back."""
_ELEMENT = re.compile(rb"<(EntityType|EnumType)[ \t\r\n]")
_ENCODINGS = frozenset({"utf-8", "us-ascii"})


def read_model(chunks: Iterable[bytes], *, wanted: Wanted | None = None) -> EdmModel:
    """Read a CSDL document; with `wanted`, only the entity sets for which it says True.

    Raises MetadataError, with element and line, for XML that is broken or cut off, for a document type
    declaration, and for a document that is no CSDL.
    """
    document = _Document(is_lazy=wanted is not None)
    for chunk in chunks:
        document.feed(chunk)
    document.end()
    return _model(document, wanted or (lambda *_names: True))


class _Document:
    """One document going through expat, and what it has declared so far."""

    def __init__(self, *, is_lazy: bool) -> None:
        self.declared = Declarations(self.line)
        self._is_lazy = is_lazy
        self._is_utf8 = True
        self._unread: dict[str, _Element] = {}
        self._unread_enums: dict[str, _Element] = {}
        self._read: dict[str, EntityType] = {}
        self._held = b""
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._fed_bytes = 0
        self._parser = _parser(self.declared)
        self._parser.XmlDeclHandler = self._met_xml_declaration

    def line(self) -> int:
        """Return the number of the line that expat has come to."""
        return int(self._parser.CurrentLineNumber)

    # -- bytes in -----------------------------------------------------------------------------------------

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes, in pieces of any size."""
        self._gathered.append(chunk)
        self._gathered_bytes += len(chunk)
        if self._gathered_bytes >= _STEP:
            self._advance()

    def end(self) -> None:
        """Take what is left, and check that the document is whole."""
        self._advance()
        self._parse(self._held)
        self._parse(b"", is_final=True)

    def _advance(self) -> None:
        """Parse all that has come, but for an element whose end has not."""
        held = b"".join((self._held, *self._gathered))
        self._gathered.clear()
        self._gathered_bytes = 0
        position = 0
        while match := _ELEMENT.search(held, position):
            closing = b"</" + match[1] + b">"
            start, end = match.start(), held.find(closing, match.end()) + len(closing)
            if end < len(closing) and len(held) - start < _LONGEST:
                break
            end = end if end >= len(closing) else len(held)
            self._parse(held[position:start])
            self._parse_element(held[start:end], match[1])
            position = end
        cut = match.start() if match else _before_last_tag(held, position)
        self._parse(held[position:cut])
        self._held = held[cut:]

    def _parse_element(self, element: bytes, tag: bytes) -> None:
        """Parse one element, without handlers inside it where it may be read as a whole."""
        tag_end = element.find(b">") + 1
        line = self.line()
        depth = len(self.declared.path)
        was_in_schema = self.declared.is_in_schema
        self._parse(element[:tag_end])
        has_begun = was_in_schema and self.declared.path[depth:] == [tag.decode()]
        if not has_begun or not self._may_be_read_whole(element, tag):
            self._parse(element[tag_end:])
            return
        closing_start = len(element) - len(tag) - 3
        _listen(self._parser, None)
        self._parse(element[tag_end:closing_start])
        _listen(self._parser, self.declared)
        self._parse(element[closing_start:])
        self._keep(_Element(element, line, self.declared.namespace), is_enum=tag == b"EnumType")

    def _may_be_read_whole(self, element: bytes, tag: bytes) -> bool:
        if not self._is_utf8 or not element.endswith(b"</" + tag + b">") or element.find(b"<" + tag, 1) > 0:
            return False
        # One-byte searches are the quick ones, and these bytes are rare.
        has_others = (b"!" in element and b"<!" in element) or (b"?" in element and b"<?" in element)
        return not has_others

    def _keep(self, element: _Element, *, is_enum: bool) -> None:
        """Put what the element declares in the place of what its start tag alone has declared."""
        name = self.declared.latest
        if self._is_lazy:
            (self._unread_enums if is_enum else self._unread)[name] = element
        elif is_enum:
            self.declared.enums[name] = element.enum_type(name)
        else:
            self.declared.types[name] = element.declared_type(name)

    def _parse(self, piece: bytes, *, is_final: bool = False) -> None:
        try:
            self._parser.Parse(piece, is_final)
        except expat.ExpatError as exc:
            at = max(0, self._parser.ErrorByteIndex - self._fed_bytes)
            raise _not_well_formed(exc, line=exc.lineno, piece=piece, at=at) from exc
        self._fed_bytes += len(piece)

    def _met_xml_declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        self._is_utf8 = (encoding or "utf-8").lower() in _ENCODINGS

    # -- declarations out ---------------------------------------------------------------------------------

    def offered(self) -> Iterator[tuple[OfferedSet, str]]:
        """Yield the entity sets in order, each with the qualified name of its type."""
        for name, written in self.declared.sets:
            qualified = self._qualified(written)
            is_declared = qualified in self.declared.types
            label = self._label(qualified) if is_declared else None
            yield OfferedSet(name, qualified.rpartition(".")[2], label), qualified if is_declared else ""

    def entity_type(self, qualified: str) -> EntityType:
        """Return a type whole: what it declares after what it inherits."""
        if qualified not in self._read:
            self._read[qualified] = self._resolved(qualified)
        return self._read[qualified]

    def enum_types(self, used_by: Iterable[EntitySet]) -> dict[str, EnumType]:
        """Return all enum types that were read, and those kept for later that these sets use."""
        types = {column.type for each in used_by for column in each.entity_type.properties}
        names = {each.rpartition(".")[2] for each in types}
        used = {name: self._unread_enums[name].enum_type(name) for name in names & self._unread_enums.keys()}
        read = {name: each for name, each in self.declared.enums.items() if name not in self._unread_enums}
        return {**read, **used}

    def _resolved(self, qualified: str) -> EntityType:
        own = self._declared(qualified)
        lineage = [own.entity_type]
        names = {qualified}
        while own.base_type:
            base = self._qualified(own.base_type)
            if base in names or base not in self.declared.types:
                raise MetadataError(
                    f"Reading $metadata: the entity type {qualified} extends {base}, which "
                    f"{'extends it in turn' if base in names else 'is not in the document'}."
                )
            names.add(base)
            own = self._declared(base)
            lineage.append(own.entity_type)
        return self._unaliased(_merged(lineage) if len(lineage) > 1 else lineage[0])

    def _declared(self, qualified: str) -> DeclaredType:
        element = self._unread.get(qualified)
        return element.declared_type(qualified) if element else self.declared.types[qualified]

    def _label(self, qualified: str) -> str | None:
        element = self._unread.get(qualified)
        found = csdl_scan.entity_type_label(element.content) if element else None
        return found[0] if found else self._declared(qualified).entity_type.label

    def _qualified(self, name: str) -> str:
        prefix, dot, local = name.rpartition(".")
        return f"{self.declared.aliases.get(prefix, prefix)}{dot}{local}"

    def _unaliased(self, entity_type: EntityType) -> EntityType:
        if not self.declared.aliases:
            return entity_type
        properties = (
            msgspec.structs.replace(each, type=self._qualified(each.type)) for each in entity_type.properties
        )
        return replace(entity_type, properties=tuple(properties))


@dataclass(frozen=True, slots=True)
class _Element:
    """An entity type or enum type as bytes: well-formed, and free of anything but tags and text."""

    content: bytes
    line: int
    namespace: str

    def text(self) -> str:
        return self.content.decode()

    def declared_type(self, qualified: str) -> DeclaredType:
        return csdl_scan.entity_type(self.text()) or self._by_events().types[qualified]

    def enum_type(self, name: str) -> EnumType:
        return csdl_scan.enum_type(self.text()) or self._by_events().enums[name]

    def _by_events(self) -> Declarations:
        def line() -> int:
            return self.line - 1 + int(parser.CurrentLineNumber)

        declared = Declarations(line, within=("Edmx", "DataServices", "Schema"), namespace=self.namespace)
        parser = _parser(declared)
        parser.Parse(self.content, True)
        return declared


def _model(document: _Document, wanted: Wanted) -> EdmModel:
    entity_sets: dict[str, EntitySet] = {}
    offered: list[OfferedSet] = []
    left_out: dict[str, str] = {}
    for names, qualified in document.offered():
        offered.append(names)
        if not wanted(names.name, names.type_name, names.label):
            continue
        if not qualified:
            left_out[names.name] = f"its type {names.type_name} is not in the document"
            continue
        entity_type = document.entity_type(qualified)
        if unknown := set(entity_type.key) - {each.name for each in entity_type.properties}:
            left_out[names.name] = f"its key names {', '.join(sorted(unknown))}, which it does not have"
            continue
        entity_sets[names.name] = EntitySet(names.name, entity_type)
    return EdmModel(
        MappingProxyType(entity_sets),
        MappingProxyType(document.enum_types(entity_sets.values())),
        tuple(offered),
        MappingProxyType(left_out),
    )


def _merged(lineage: list[EntityType]) -> EntityType:
    """Join a type and its base types, nearest first, into one: the root's part comes first."""
    own = lineage[0]
    return EntityType(
        own.name,
        next((each.key for each in lineage if each.key), ()),
        tuple(column for each in reversed(lineage) for column in each.properties),
        tuple(relation for each in reversed(lineage) for relation in each.navigation_properties),
        own.label,
    )


# -- expat --------------------------------------------------------------------------------------------------


def _parser(declared: Declarations) -> expat.XMLParserType:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_document_type
    _listen(parser, declared)
    return parser


def _listen(parser: expat.XMLParserType, declared: Declarations | None) -> None:
    parser.StartElementHandler = declared.opened if declared else None
    parser.EndElementHandler = declared.closed if declared else None
    parser.CharacterDataHandler = declared.text if declared else None


def _refuse_document_type(*_declaration: Any) -> None:
    # CSDL has none; in the wild it is how entity expansion and outside files get into a parser.
    raise MetadataError(
        "Reading $metadata: the document has a document type declaration, which CSDL never has."
    )


def _before_last_tag(held: bytes, position: int) -> int:
    """Return where a tag begins that may not have come whole; the end where it is too long to be one."""
    last = held.rfind(b"<", position)
    return last if last >= 0 and len(held) - last < _LONGEST else len(held)


def _not_well_formed(exc: expat.ExpatError, *, line: int, piece: bytes, at: int) -> MetadataError:
    before = piece[: at + 1]
    tag = piece[max(before.rfind(b"<"), 0) :][:100].partition(b"\n")[0].decode(errors="replace").strip()
    what = expat.ErrorString(exc.code)
    near = f", near {tag}" if tag else ""
    return MetadataError(
        f"Reading $metadata: the document is broken in line {line}{near}: {what}.",
        remedy="If it happens again, look at what a browser shows for /data/$metadata of this environment.",
    )
