"""Between Airbyte's catalogs and Singer's: streams out of entries, and entries out of configured streams.

A discovered stream carries, under one keyword of its `json_schema`, what JSON Schema cannot say: key, method,
and the Edm types that its columns do not give away. A read then needs the configured catalog alone; only for
streams without that keyword (written by hand, or stripped on the way) is the environment asked again.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tap_d365fo.errors import CatalogError
from tap_d365fo.extraction.catalog import inferred_type
from tap_d365fo.extraction.entity import REPLICATION_METHODS
from tap_d365fo.messages import DELETED_AT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

logger = logging.getLogger("tap_d365fo")

HINTS = "x-tap-d365fo"
"""The keyword of what JSON Schema cannot say."""

DELETED_AT_AIRBYTE = "_ab_cdc_deleted_at"
SWEPT_AT = "_ab_cdc_cursor"
"""When a sweep delivered a row: destinations need it to tell a row that was created again from its deletion."""

SWEEP_COLUMNS: Mapping[str, Mapping[str, Any]] = {
    DELETED_AT_AIRBYTE: {
        "type": ["string", "null"],
        "format": "date-time",
        "airbyte_type": "timestamp_with_timezone",
    },
    SWEPT_AT: {"type": "integer"},
}

_AIRBYTE_TYPES = {"date-time": "timestamp_with_timezone", "time": "time_without_timezone"}
_MODES = ("full_refresh", "incremental")
_LABEL_ID = "@"
"""Begins the id of a label whose text is not known: it tells nobody anything, thousands of times."""

_REFRESH = "Refresh the source's schema, and save the connection again."

Entry = dict[str, Any]
"""A stream of a Singer catalog."""


@dataclass(frozen=True, slots=True)
class ConfiguredStream:
    """One stream of a configured catalog: what to read, and how."""

    name: str
    sync_mode: str
    stream: Mapping[str, Any]

    @property
    def schema(self) -> Mapping[str, Any]:
        """The stream's JSON Schema, without the columns that the user took out."""
        schema = self.stream.get("json_schema")
        return schema if isinstance(schema, dict) else {}

    @property
    def columns(self) -> Mapping[str, Any]:
        """The stream's columns by name; none where the catalog does not list any."""
        columns = self.schema.get("properties")
        return columns if isinstance(columns, dict) else {}


# -- entry -> stream -----------------------------------------------------------------------------------------


def to_stream(entry: Entry) -> dict[str, Any]:
    """Return a Singer catalog entry as an Airbyte stream.

    Airbyte selects every column that it is offered, so those are left out that are not selected by default.
    """
    metadata = {tuple(each["breadcrumb"]): each["metadata"] for each in entry["metadata"]}
    root = metadata[()]
    columns = {
        name: _column(schema)
        for name, schema in entry["schema"]["properties"].items()
        if name != DELETED_AT and metadata["properties", name].get("selected-by-default", True)
    }
    hints = {
        "key": entry["key_properties"],
        "method": root["method"],
        "type-name": root.get("type-name", entry["stream"]),
        "types": _types_not_shown(columns, metadata),
    }
    stream: dict[str, Any] = {
        "name": entry["stream"],
        "json_schema": {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"},
        "supported_sync_modes": ["full_refresh"],
        "source_defined_primary_key": [[name] for name in entry["key_properties"]],
        "is_resumable": bool(entry["key_properties"]),
    }
    cursor = entry.get("replication_key")
    if entry["replication_method"] == "LOG_BASED":
        cursor = SWEPT_AT
        columns |= {name: dict(schema) for name, schema in SWEEP_COLUMNS.items()}
    if cursor:
        stream["supported_sync_modes"] = list(_MODES)
        stream |= {"source_defined_cursor": True, "default_cursor_field": [cursor]}
        hints["cursor"] = cursor
    stream["json_schema"] |= {"additionalProperties": True, "properties": columns, HINTS: hints}
    return stream


def _column(schema: Mapping[str, Any]) -> dict[str, Any]:
    column = {name: value for name, value in schema.items() if name != "contentEncoding"}
    if str(column.get("description", "")).startswith(_LABEL_ID):
        del column["description"]
    if airbyte_type := _AIRBYTE_TYPES.get(str(column.get("format"))):
        column["airbyte_type"] = airbyte_type
    return column


def _types_not_shown(
    columns: Mapping[str, Mapping[str, Any]], metadata: Mapping[tuple[str, ...], Mapping[str, Any]]
) -> dict[str, list[str]]:
    """Return the names of columns by Edm type (and AXType), where their JSON Schema suggests another."""
    types: dict[str, list[str]] = {}
    for name, schema in columns.items():
        told = metadata["properties", name]
        edm_type, ax_type = told["edm-type"], told.get("ax-type")
        suggested_type, suggested_ax_type = inferred_type(schema)
        # Of AXTypes only Date changes what a value means.
        if (edm_type, ax_type == "Date") != (suggested_type, suggested_ax_type == "Date"):
            types.setdefault(f"{edm_type} {ax_type}" if ax_type else edm_type, []).append(name)
    return types


# -- configured stream -> entry ------------------------------------------------------------------------------


def configured_streams(catalog: Any) -> list[ConfiguredStream]:
    """Return the streams of a configured catalog; raises CatalogError for what is none."""
    try:
        streams = [
            ConfiguredStream(
                str(each["stream"]["name"]), each.get("sync_mode", "full_refresh"), each["stream"]
            )
            for each in catalog["streams"]
        ]
    except (TypeError, KeyError, AttributeError) as exc:
        raise CatalogError(
            "The configured catalog is not one of Airbyte's: it has no `streams` with names.", remedy=_REFRESH
        ) from exc
    for each in streams:
        if each.sync_mode not in _MODES:
            raise CatalogError(
                f"The stream {each.name} cannot be read in sync mode {each.sync_mode!r}; "
                f"there are {' and '.join(_MODES)}."
            )
    return streams


def singer_catalog(
    configured: Iterable[ConfiguredStream], discover: Callable[[list[str]], Iterable[Entry]]
) -> dict[str, Any]:
    """Return a Singer catalog that selects what is configured.

    `discover` is asked for the entries of those streams alone that do not describe themselves. Raises
    CatalogError for a stream that the environment does not offer.
    """
    configured = list(configured)
    entries = {each.name: to_entry(each) for each in configured}
    missing = [name for name, entry in entries.items() if entry is None]
    if missing:
        entries |= {entry["stream"]: entry for entry in discover(missing) if entry["stream"] in missing}
    if unknown := [name for name, entry in entries.items() if entry is None]:
        raise CatalogError(f"This environment does not offer {', '.join(unknown)}.", remedy=_REFRESH)
    return {"streams": [_selected(entries[each.name] or {}, each) for each in configured]}


def to_entry(configured: ConfiguredStream) -> Entry | None:
    """Return the Singer catalog entry of a stream that describes itself, None for any other."""
    hints = configured.schema.get(HINTS)
    try:
        return _entry(configured, hints) if hints and configured.columns else None
    except (TypeError, KeyError, AttributeError, ValueError):
        return None  # changed on the way; the environment knows


def _entry(configured: ConfiguredStream, hints: Mapping[str, Any]) -> Entry:
    key, method = list(hints["key"]), hints["method"]
    cursor = hints.get("cursor") if method != "sweep" else None
    types = {name: text.split(" ") for text, names in hints["types"].items() for name in names}
    columns = {name: schema for name, schema in configured.columns.items() if name not in SWEEP_COLUMNS}
    if not {*key, *([cursor] if cursor else ())} <= columns.keys():
        raise KeyError(configured.name)
    root = {
        "table-key-properties": key,
        "forced-replication-method": REPLICATION_METHODS[method],
        "method": method,
        "type-name": hints["type-name"],
        **({"valid-replication-keys": [cursor]} if cursor else {}),
    }
    return {
        "tap_stream_id": configured.name,
        "stream": configured.name,
        "key_properties": key,
        "replication_method": REPLICATION_METHODS[method],
        **({"replication_key": cursor} if cursor else {}),
        "schema": {"type": "object", "properties": copy.deepcopy(columns)},
        "metadata": [
            {"breadcrumb": [], "metadata": root},
            *(_property_metadata(name, types.get(name)) for name in columns),
        ],
    }


def _property_metadata(name: str, types: list[str] | None) -> dict[str, Any]:
    told = dict(zip(("edm-type", "ax-type"), types or (), strict=False))
    return {"breadcrumb": ["properties", name], "metadata": {"selected": True, **told}}


def _selected(entry: Entry, configured: ConfiguredStream) -> Entry:
    entry = copy.deepcopy(entry)
    is_full = entry["replication_method"] == "FULL_TABLE"
    if is_full and configured.sync_mode == "incremental":
        # PyAirbyte asks for every stream in this way, whatever modes it was offered.
        logger.info("%s cannot be read incrementally; all its rows are read.", configured.name)
    root = next(each["metadata"] for each in entry["metadata"] if not each["breadcrumb"])
    root["selected"] = True
    if configured.sync_mode == "full_refresh" and not is_full:
        entry |= {"replication_method": "FULL_TABLE", "replication_key": None}
        entry["schema"]["properties"].pop(DELETED_AT, None)
        root |= {"forced-replication-method": "FULL_TABLE", "method": "full"}
    if wanted := configured.columns:
        _keep_columns(entry, wanted)
    return entry


def _keep_columns(entry: Entry, wanted: Mapping[str, Any]) -> None:
    """Deselect the columns that the user took out of the stream's schema."""
    for each in entry["metadata"]:
        if each["breadcrumb"] and each["metadata"].get("inclusion") != "automatic":
            each["metadata"]["selected"] = each["breadcrumb"][-1] in wanted
