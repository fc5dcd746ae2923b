"""A reader as one writes it first: follows next links, retries nothing, believes every 200. The suite must fail it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from singer import Outcome


def naive_sync(
    config: Mapping[str, Any],
    catalog: dict[str, Any],
    state: dict[str, Any] | None = None,
    **_rest: Any,
) -> Outcome:
    """Read every selected stream; whatever goes wrong with one ends that one in silence."""
    out = io.StringIO()
    token = _token(config)
    for entry in catalog["streams"]:
        if not _is_selected(entry):
            continue
        key = entry.get("key_properties", [])
        schema = {
            "type": "SCHEMA",
            "stream": entry["stream"],
            "schema": entry["schema"],
            "key_properties": key,
        }
        out.write(json.dumps(schema) + "\n")
        with contextlib.suppress(requests.RequestException, ValueError, KeyError):
            for row in _rows(config, entry, token):
                record = {"type": "RECORD", "stream": entry["stream"], "record": _plain(row, entry)}
                out.write(json.dumps(record) + "\n")
    return Outcome(out.getvalue())


def _token(config: Mapping[str, Any]) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": config["client_id"],
        "client_secret": config["client_secret"],
        "scope": f"{config['environment_url']}/.default",
    }
    url = f"{config['authority']}/{config['tenant_id']}/oauth2/v2.0/token"
    with contextlib.suppress(requests.RequestException):
        answer = requests.post(url, data=form, timeout=1.0)
        return str(answer.json().get("access_token", "")) if answer.ok else ""
    return ""


def _rows(config: Mapping[str, Any], entry: dict[str, Any], token: str) -> Iterator[dict[str, Any]]:
    order = ",".join(entry.get("key_properties") or entry["schema"]["properties"])
    url: str | None = (
        f"{config['environment_url']}/data/{entry['stream']}?cross-company=true&$orderby={order}"
    )
    headers = {"Authorization": f"Bearer {token}", "Prefer": f"odata.maxpagesize={config['page_size']}"}
    for _ in range(200):
        if not url:
            return
        answer = requests.get(url, headers=headers, timeout=1.0)
        page = json.loads(answer.text, parse_float=str)
        if not page["value"]:
            return
        yield from page["value"]
        url = page.get("@odata.nextLink")


def _plain(row: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(name, row.get(name), entry) for name in entry["schema"]["properties"] if name in row}


def _value(name: str, value: Any, entry: dict[str, Any]) -> Any:
    form = entry["schema"]["properties"][name].get("format")
    if form not in ("date", "date-time") or value is None:
        return value
    if value.startswith("1900-01-01") and name not in entry.get("key_properties", []):
        return None
    return value[:10] if form == "date" else value


def _is_selected(entry: dict[str, Any]) -> bool:
    return any(each["metadata"].get("selected") for each in entry["metadata"] if not each["breadcrumb"])
