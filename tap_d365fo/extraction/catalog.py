"""DataEntity -> Singer catalog, and back.

We write the catalog ourselves. It carries what the SDK's own does not: per stream `method`, `method-reason`,
`label` and `aot-name`, per property `edm-type` and `ax-type`, so that a sync with a catalog never needs the
environment's metadata. And we read it from its text, for two reasons: the SDK drops what it does not know,
and of thousands of entries most are not selected, so those are looked at and not built.

Catalogs of other origin are read too: hand-made, stripped, or written by another tap. What they do not say
is taken from the JSON Schema.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from tap_d365fo.edm.model import Property
from tap_d365fo.edm.primitives import DATE_TIME
from tap_d365fo.edm.schema import DELETED_AT, json_schema
from tap_d365fo.errors import CatalogError
from tap_d365fo.extraction.discovery import with_method
from tap_d365fo.extraction.entity import REPLICATION_METHODS, DataEntity
from tap_d365fo.extraction.methods import Choice, Impossible, choose_asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tap_d365fo.config import Config

_OURS = ("_sdc_", "_ab_")
"""Columns that taps and targets add; the environment has none of them."""

# -- entity -> catalog ---------------------------------------------------------------------------------------


def catalog_entry(entity: DataEntity, config: Config) -> dict[str, Any]:
    """Return the entity as a stream of a Singer catalog."""
    return {
        "tap_stream_id": entity.name,
        "stream": entity.name,
        "key_properties": list(entity.key),
        "replication_method": entity.replication_method,
        **({"replication_key": entity.replication_key} if entity.replication_key else {}),
        "schema": json_schema(
            entity.properties, entity.key, sweep=entity.method == "sweep", decimals=config.decimals
        ),
        "metadata": [
            {"breadcrumb": [], "metadata": _stream_metadata(entity)},
            *_property_metadata(entity, include_binary=config.include_binary),
        ],
    }


def write_catalog(entities: Iterable[DataEntity], config: Config) -> Iterator[bytes]:
    """Yield the catalog as JSON text, one stream a line."""
    encode = msgspec.json.Encoder().encode
    separator = b'{"streams":[\n'
    for entity in entities:
        yield separator + encode(catalog_entry(entity, config))
        separator = b",\n"
    yield b"\n]}\n" if separator == b",\n" else b'{"streams":[]}\n'


def _stream_metadata(entity: DataEntity) -> dict[str, Any]:
    metadata = {
        "inclusion": "available",
        "selected": entity.selected_by_default,
        "selected-by-default": entity.selected_by_default,
        "table-key-properties": list(entity.key),
        "forced-replication-method": entity.replication_method,
        "valid-replication-keys": [entity.replication_key] if entity.replication_key else None,
        "method": entity.method,
        "method-reason": entity.why,
        "type-name": entity.type_name,
        "label": entity.label,
        "aot-name": entity.aot_name,
        "category": entity.category,
    }
    return {name: value for name, value in metadata.items() if value is not None}


def _property_metadata(entity: DataEntity, *, include_binary: bool) -> Iterator[dict[str, Any]]:
    automatic = {*entity.key, entity.replication_key}
    for column in entity.properties:
        metadata: dict[str, Any] = {
            "inclusion": "automatic" if column.name in automatic else "available",
            "selected-by-default": include_binary or column.type != "Edm.Binary",
            "edm-type": column.type,
        }
        if column.ax_type:
            metadata["ax-type"] = column.ax_type
        yield {"breadcrumb": ["properties", column.name], "metadata": metadata}
    if entity.method == "sweep":
        yield {"breadcrumb": ["properties", DELETED_AT], "metadata": {"inclusion": "automatic"}}


# -- catalog -> entity ---------------------------------------------------------------------------------------


def entity_from_catalog(entry: Mapping[str, Any], config: Config) -> tuple[DataEntity, frozenset[str]]:
    """Return the entity of a catalog entry and the names of its selected properties.

    Key columns and the replication key are always among them. The method is that of `entity_options`, else
    that of the entry's edited `replication-method`, else the one that discovery wrote. Raises CatalogError.
    """
    name = _name(entry)
    metadata = _metadata(entry, name)
    root = metadata.get((), {})
    columns = _columns(entry, name)
    key = _key(entry, root, name)
    entity = DataEntity(
        name=name,
        type_name=_text(root.get("type-name")) or name,
        key=key,
        properties=tuple(
            _property(each, schema, metadata.get(("properties", each), {}), is_key=each in key)
            for each, schema in columns.items()
            if not each.startswith(_OURS)
        ),
        label=_text(root.get("label")),
        aot_name=_text(root.get("aot-name")),
        category=_text(root.get("category")),
        selected_by_default=True,
    )
    if missing := [each for each in key if entity.find(each) is None]:
        raise _unfit(name, f"its key names {', '.join(missing)}, which its schema does not have")
    entity = _with_method(entity, entry, root, config)
    automatic = {*key, entity.replication_key}
    selected = frozenset(
        each.name
        for each in entity.properties
        if each.name in automatic
        or _is_column_selected(metadata.get(("properties", each.name), {}), columns[each.name])
    )
    return entity, selected


def _with_method(
    entity: DataEntity, entry: Mapping[str, Any], root: Mapping[str, Any], config: Config
) -> DataEntity:
    options = config.options_for(entity.name)
    try:
        if options.method or options.replication_key:
            return with_method(entity, config)
        choice = _choice(entity, entry, root, has_change_store=config.change_store is not None)
    except Impossible as exc:
        raise _unfit(entity.name, str(exc)) from exc
    return replace(entity, method=choice.method, why=choice.why, replication_key=choice.replication_key)


def _choice(
    entity: DataEntity, entry: Mapping[str, Any], root: Mapping[str, Any], *, has_change_store: bool
) -> Choice:
    ours = _text(root.get("method"))
    key = _text(root.get("replication-key")) or _text(entry.get("replication_key"))
    method = _edited_method(entry, root) or ours or ("incremental" if key else "full")
    if method == "sweep" and ours == "package":
        method = ours
    is_incremental = method in ("incremental", "timestamp", "sequence")
    choice = choose_asked(
        entity,
        None if is_incremental else method,
        key if is_incremental else None,
        by="The catalog",
        has_change_store=has_change_store,
    )
    reason = _text(root.get("method-reason"))
    discovered_key = root.get("valid-replication-keys", [None])
    is_as_discovered = choice.method == ours and discovered_key == [choice.replication_key]
    return replace(choice, why=reason) if reason and is_as_discovered else choice


_METHODS = MappingProxyType(
    {
        "FULL_TABLE": "full",
        "INCREMENTAL": "incremental",
        "LOG_BASED": "sweep",
        **{method.upper(): method for method in REPLICATION_METHODS},
    }
)
"""What people write as a replication method; which incremental one is meant shows in the replication key."""


def _edited_method(entry: Mapping[str, Any], root: Mapping[str, Any]) -> str | None:
    """Return the method that a person put in, or that stands there alone; None where ours stands.

    Three places may say it, and we wrote two of them: one that contradicts what we wrote was edited.
    """
    ours = REPLICATION_METHODS.get(_text(root.get("method")) or "")
    written = (
        root.get("replication-method"),
        entry.get("replication_method"),
        root.get("forced-replication-method"),
    )
    given = (str(each).upper().replace("-", "_") for each in written if each)
    edited = next((each for each in given if each != ours), None)
    return None if edited is None else _METHODS.get(edited, edited)


def _name(entry: Mapping[str, Any]) -> str:
    name = entry.get("tap_stream_id") or entry.get("stream")
    if not isinstance(name, str) or not name:
        raise CatalogError("The catalog has a stream without a name (tap_stream_id).", remedy=_REMEDY)
    return name


def _columns(entry: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    schema = entry.get("schema")
    columns = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(columns, dict) or not columns:
        raise _unfit(name, "it has no schema with properties")
    return {each: column if isinstance(column, dict) else {} for each, column in columns.items()}


def _key(entry: Mapping[str, Any], root: Mapping[str, Any], name: str) -> tuple[str, ...]:
    written = entry.get("key_properties")
    key = written if written is not None else root.get("table-key-properties") or []
    if not isinstance(key, list) or not all(isinstance(each, str) for each in key):
        raise _unfit(name, "its key_properties are not a list of names")
    return tuple(key)


def _metadata(entry: Mapping[str, Any], name: str) -> dict[tuple[str, ...], dict[str, Any]]:
    try:
        return {
            tuple(str(part) for part in each["breadcrumb"]): dict(each["metadata"])
            for each in entry.get("metadata") or []
        }
    except (TypeError, ValueError, KeyError) as exc:
        raise _unfit(name, "its metadata is not a list of breadcrumbs with metadata") from exc


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _unfit(name: str, what: str) -> CatalogError:
    return CatalogError(f"The catalog's stream {name} cannot be read: {what}.", remedy=_REMEDY)


_REMEDY = "Run tap-d365fo --discover again and select in the catalog that it writes."

# -- properties ----------------------------------------------------------------------------------------------

_BY_FORMAT: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        "date": (DATE_TIME, "Date"),
        "date-time": (DATE_TIME, None),
        "uuid": ("Edm.Guid", None),
    }
)
_BY_TYPE: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        "integer": ("Edm.Int64", None),
        "number": ("Edm.Decimal", None),
        "boolean": ("Edm.Boolean", None),
    }
)


def _property(name: str, schema: Mapping[str, Any], metadata: Mapping[str, Any], *, is_key: bool) -> Property:
    """Return a property as metadata describes it, or else as its JSON Schema suggests."""
    edm_type, ax_type = _text(metadata.get("edm-type")), _text(metadata.get("ax-type"))
    if edm_type is None:
        edm_type, ax_type = inferred_type(schema)
    return Property(name, edm_type, not is_key, ax_type, _text(schema.get("description")))


def inferred_type(schema: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the Edm type and AXType that a column's JSON Schema suggests."""
    kinds, formats = _kinds(schema)
    if schema.get("contentEncoding") == "base64":
        return "Edm.Binary", None
    by_format = (_BY_FORMAT[each] for each in formats if each in _BY_FORMAT)
    by_type = (row for kind, row in _BY_TYPE.items() if kind in kinds)
    return next(chain(by_format, by_type), ("Edm.String", None))


def _kinds(schema: Mapping[str, Any]) -> tuple[set[str], list[str]]:
    """Return the JSON types and formats of a schema, those of its alternatives included."""
    branches = [schema]
    for word in ("anyOf", "oneOf"):
        among = schema.get(word)
        branches += [each for each in among if isinstance(each, dict)] if isinstance(among, list) else []
    kinds: set[str] = set()
    for each in branches:
        kind = each.get("type")
        kinds.update(str(part) for part in (kind if isinstance(kind, list) else [kind]))
    return kinds, [each["format"] for each in branches if isinstance(each.get("format"), str)]


def _is_column_selected(metadata: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    """Say whether a property of a selected stream is selected: as told, else by default, else with it."""
    if metadata.get("inclusion") in ("automatic", "unsupported"):
        return bool(metadata["inclusion"] == "automatic")
    told = (metadata.get("selected"), schema.get("selected"), metadata.get("selected-by-default"))
    return next((bool(each) for each in told if each is not None), True)


# -- selection -----------------------------------------------------------------------------------------------


class _Told(msgspec.Struct, rename="kebab", gc=False):
    """What metadata or a schema says of selection; everything else is passed over undecoded."""

    selected: bool | None = None
    selected_by_default: bool | None = None
    inclusion: str | None = None


class _Item(msgspec.Struct, gc=False):
    """Of tens of thousands only the streams' own are looked into."""

    breadcrumb: msgspec.Raw
    metadata: msgspec.Raw

    @property
    def is_of_stream(self) -> bool:
        return not bytes(self.breadcrumb).strip(b"[] \t\r\n")


class _Catalog(msgspec.Struct):
    streams: list[dict[str, msgspec.Raw]]


_decode_catalog = msgspec.json.Decoder(_Catalog).decode
_BREADCRUMB = b'"breadcrumb"'
_decode_item = msgspec.json.Decoder(_Item).decode
_decode_items = msgspec.json.Decoder(list[_Item] | None).decode
_decode_told = msgspec.json.Decoder(_Told | None).decode
_NULL = msgspec.Raw(b"null")


def selected_entries(catalog: bytes | str | Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of a catalog whose stream is selected, in its order.

    From text, the thousands of entries that are not selected are scanned and not built. Raises CatalogError
    for what is no catalog.
    """
    if not isinstance(catalog, bytes | str):
        return [each for each in _streams(catalog) if _is_selected_as_told(each)]
    try:
        parts = _decode_catalog(catalog).streams
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        raise _no_catalog(str(exc)) from exc
    return [entry for entry in map(_entry_if_selected, parts) if entry is not None]


def _entry_if_selected(parts: Mapping[str, msgspec.Raw]) -> dict[str, Any] | None:
    try:
        if not _is_selected_as_written(parts):
            return None
    except msgspec.ValidationError:  # said in a form that Singer does not know, such as "selected": "true"
        entry = _built(parts)
        return entry if _is_selected_as_told(entry) else None
    return _built(parts)


def _built(parts: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    return {name: msgspec.json.decode(value) for name, value in parts.items()}


def _is_selected_as_written(parts: Mapping[str, msgspec.Raw]) -> bool:
    """Say whether an entry is selected; its schema, the most of it, is looked into where that has a say."""
    items = _first_item(parts) or _decode_items(parts.get("metadata", _NULL))
    own = next((_decode_told(each.metadata) for each in items or () if each.is_of_stream), None)
    return _is_selected(own, lambda: _decode_told(parts.get("schema", _NULL)), has_metadata=bool(items))


def _streams(catalog: Mapping[str, Any]) -> list[dict[str, Any]]:
    streams = catalog.get("streams") if isinstance(catalog, dict) else None
    if not isinstance(streams, list) or not all(isinstance(each, dict) for each in streams):
        raise _no_catalog("it has no list of streams")
    return streams


def _first_item(parts: Mapping[str, msgspec.Raw]) -> list[_Item]:
    """Return the first item of an entry's metadata if it is the stream's own, as it mostly is, else none.

    It ends with the last brace before the next item begins, so that the columns' items stay unread.
    """
    text = bytes(parts.get("metadata", _NULL))
    end = text.rfind(b"}", 0, text.find(_BREADCRUMB, len(_BREADCRUMB) + 2)) + 1
    try:
        item = _decode_item(text[text.find(b"{") : end])
    except msgspec.DecodeError:
        return []
    return [item] if item.is_of_stream else []


def _is_selected_as_told(entry: Mapping[str, Any]) -> bool:
    """Say whether an entry that was built, or says it in an unusual form, is selected."""
    metadata, schema = _metadata(entry, _name(entry)), entry.get("schema")
    own = next((_told_by(each) for breadcrumb, each in metadata.items() if not breadcrumb), None)
    legacy = _told_by(schema) if isinstance(schema, dict) else None
    return _is_selected(own, lambda: legacy, has_metadata=bool(metadata))


def _told_by(said: Mapping[str, Any]) -> _Told:
    return _Told(
        _truth(said.get("selected")), _truth(said.get("selected-by-default")), _text(said.get("inclusion"))
    )


def _truth(value: Any) -> bool | None:
    return None if value is None else str(value).lower() not in ("false", "0", "")


def _is_selected(own: _Told | None, schema: Callable[[], _Told | None], *, has_metadata: bool) -> bool:
    """Say whether a stream is selected: as told, else by default; one of which nothing is told is."""
    own = own or _Told()
    if own.inclusion == "unsupported" or own.selected is not None:
        return bool(own.selected) and own.inclusion != "unsupported"
    told = ((schema() or _Told()).selected, own.selected_by_default)
    return next((each for each in told if each is not None), not has_metadata)


def _no_catalog(what: str) -> CatalogError:
    return CatalogError(f"The file given as catalog is no Singer catalog: {what}.", remedy=_REMEDY)
