"""Runs the tap in process and keeps what it says; a small reference target applies it."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tap_d365fo.errors import D365FOError
from tap_d365fo.tap import TapD365FO


@dataclass
class Outcome:
    """Everything that one run wrote, and how it ended."""

    text: str
    error: BaseException | None = None
    messages: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.messages = [json.loads(line, parse_float=Decimal) for line in self.text.split("\n") if line]

    def of(self, kind: str, stream: str | None = None) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["type"] == kind and stream in (None, m.get("stream"))]

    def records(self, stream: str) -> list[dict[str, Any]]:
        return [m["record"] for m in self.of("RECORD", stream)]

    @property
    def state(self) -> dict[str, Any]:
        return self.of("STATE")[-1]["value"]


def discover(config: dict[str, Any]) -> dict[str, Any]:
    """Return the catalog that the tap would write."""
    return json.loads(TapD365FO(config=dict(config), setup_mapper=False).catalog_json_text)


def select(catalog: dict[str, Any], *streams: str) -> dict[str, Any]:
    """Select these streams and no other."""
    for entry in catalog["streams"]:
        root = next(each for each in entry["metadata"] if not each["breadcrumb"])
        root["metadata"]["selected"] = entry["stream"] in streams
    return catalog


def sync(
    config: dict[str, Any], catalog: dict[str, Any] | None = None, state: dict[str, Any] | None = None
) -> Outcome:
    """Run the tap once."""
    out = io.StringIO()
    try:
        with redirect_stdout(out):
            TapD365FO(config=dict(config), catalog=catalog, state=state).sync_all()
    except (D365FOError, SystemExit) as exc:
        return Outcome(out.getvalue(), exc)
    return Outcome(out.getvalue())


class Target:
    """What a target that understands keys, deletes and versions would hold."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        self.versions: dict[str, dict[tuple[Any, ...], int | None]] = {}
        self.keys: dict[str, list[str]] = {}
        self.state: dict[str, Any] | None = None
        self.count = 0

    def apply(self, messages: list[dict[str, Any]]) -> Target:
        for message in messages:
            getattr(self, f"_{message['type'].lower()}")(message)
        return self

    def _schema(self, message: dict[str, Any]) -> None:
        self.keys[message["stream"]] = message["key_properties"]
        self.rows.setdefault(message["stream"], {})
        self.versions.setdefault(message["stream"], {})

    def _record(self, message: dict[str, Any]) -> None:
        stream, record = message["stream"], dict(message["record"])
        names = self.keys[stream]
        self.count += 1
        key = tuple(record[name] for name in names) if names else (self.count,)
        if record.pop("_sdc_deleted_at", None):
            self.rows[stream].pop(key, None)
        else:
            self.rows[stream][key] = record
        self.versions[stream][key] = message.get("version")

    def _activate_version(self, message: dict[str, Any]) -> None:
        stream = message["stream"]
        stale = [key for key in self.rows[stream] if self.versions[stream].get(key) != message["version"]]
        for key in stale:
            del self.rows[stream][key]

    def _state(self, message: dict[str, Any]) -> None:
        self.state = message["value"]
