"""Between Airbyte's catalogs and states, and Singer's."""

from __future__ import annotations

import copy
from typing import Any

from tap_d365fo.errors import CatalogError, StateError
from tap_d365fo.messages import DELETED_AT

DELETED_AT_AIRBYTE = "_ab_cdc_deleted_at"
CURSOR_OF_SWEEPS = "_ab_cdc_deleted_at"
INCREMENTAL_METHODS = ("INCREMENTAL", "LOG_BASED")


def to_stream(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a Singer catalog entry as an Airbyte stream."""
    schema = copy.deepcopy(entry["schema"])
    properties = schema["properties"]
    if DELETED_AT in properties:
        properties[DELETED_AT_AIRBYTE] = properties.pop(DELETED_AT)
    for each in properties.values():
        each.pop("contentEncoding", None)
        if each.get("format") == "date-time":
            each["airbyte_type"] = "timestamp_with_timezone"
    stream: dict[str, Any] = {
        "name": entry["stream"],
        "json_schema": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "additionalProperties": True,
            **schema,
        },
        "supported_sync_modes": ["full_refresh"],
        "source_defined_primary_key": [[name] for name in entry["key_properties"]],
        "is_resumable": bool(entry["key_properties"]),
    }
    method = entry.get("replication_method")
    if method in INCREMENTAL_METHODS:
        cursor = entry.get("replication_key") if method == "INCREMENTAL" else CURSOR_OF_SWEEPS
        stream["supported_sync_modes"] = ["full_refresh", "incremental"]
        stream |= {"source_defined_cursor": True, "default_cursor_field": [cursor]}
    return stream


def select(entries: list[dict[str, Any]], configured: dict[str, Any]) -> dict[str, Any]:
    """Return a Singer catalog that selects what an Airbyte catalog configures.

    Raises CatalogError for a stream that the environment does not offer, and for a sync mode it cannot do.
    """
    known = {entry["stream"]: entry for entry in entries}
    selected = []
    for each in _configured_streams(configured):
        name = each["stream"]["name"]
        if name not in known:
            raise CatalogError(
                f"The stream {name} is not offered by this environment.",
                remedy="Refresh the source's schema.",
            )
        selected.append(_selected(known[name], each))
    return {"streams": selected}


def _configured_streams(configured: Any) -> list[dict[str, Any]]:
    try:
        streams = configured["streams"]
        _ = [each["stream"]["name"] for each in streams]
    except (TypeError, KeyError) as exc:
        raise CatalogError(
            "The configured catalog is not one of Airbyte's: it has no `streams` with names."
        ) from exc
    return list(streams)


def _selected(entry: dict[str, Any], configured: dict[str, Any]) -> dict[str, Any]:
    mode = configured.get("sync_mode", "full_refresh")
    if mode not in ("full_refresh", "incremental"):
        raise CatalogError(f"The stream {entry['stream']} cannot be read in sync mode {mode!r}.")
    entry = copy.deepcopy(entry)
    root = next(each["metadata"] for each in entry["metadata"] if not each["breadcrumb"])
    if mode == "incremental" and entry["replication_method"] not in INCREMENTAL_METHODS:
        raise CatalogError(
            f"The stream {entry['stream']} cannot be read incrementally.",
            remedy="Set change_store for change sweeps, or read it as full refresh.",
        )
    if mode == "full_refresh" and entry["replication_method"] != "FULL_TABLE":
        entry["replication_method"] = "FULL_TABLE"
        entry["replication_key"] = None
        for key in ("replication-method", "forced-replication-method", "replication-key"):
            root.pop(key, None)
        root |= {"forced-replication-method": "FULL_TABLE", "method": "full"}
        entry["schema"]["properties"].pop(DELETED_AT, None)
    root["selected"] = True
    _keep_columns(entry, configured["stream"].get("json_schema") or {})
    return entry


def _keep_columns(entry: dict[str, Any], schema: dict[str, Any]) -> None:
    """Deselect the columns that the user took out of the stream's schema."""
    wanted = schema.get("properties")
    if not wanted:
        return
    for each in entry["metadata"]:
        if each["breadcrumb"] and each["metadata"].get("inclusion") != "automatic":
            name = each["breadcrumb"][-1]
            each["metadata"]["selected"] = name in wanted or (
                name == DELETED_AT and DELETED_AT_AIRBYTE in wanted
            )


def to_bookmarks(state: Any) -> dict[str, Any]:
    """Return bookmarks by stream from Airbyte's array of stream states.

    Raises StateError for any other shape.
    """
    if state in (None, {}, []):
        return {}
    try:
        parts = [each["stream"] for each in state if each.get("type", "STREAM") == "STREAM"]
        return {each["stream_descriptor"]["name"]: dict(each.get("stream_state") or {}) for each in parts}
    except (TypeError, KeyError, AttributeError, ValueError) as exc:
        raise StateError(
            "The state is not a list of per-stream states, as this connector writes it.",
            remedy="Reset the connection's state, or give the state that this connector wrote last.",
        ) from exc
