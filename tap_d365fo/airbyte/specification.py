"""The connection form: the one declaration of settings as Airbyte draws it."""

from __future__ import annotations

from typing import Any

from tap_d365fo.config import SETTINGS, Setting, config_jsonschema

DOCUMENTATION = "https://github.com/tap-d365fo/tap-d365fo/blob/main/docs/airbyte.md"
CREDENTIAL = "credential"
"""The one nested field: which kind of credential, and its parts."""

_KINDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("client_secret", "Client secret", ("client_secret",)),
    ("client_certificate", "Certificate", ("client_certificate", "client_certificate_password")),
    ("federated_token", "Workload identity", ("federated_token_file",)),
)
"""Value of the choice, its title, and its settings; the first is what most people have."""

_HIDDEN = frozenset({"metrics_file"})
"""Settings that make no sense inside a container that is thrown away."""


def specification() -> dict[str, Any]:
    """Return the connection specification."""
    schemas = config_jsonschema()["properties"]
    by_name = {setting.name: setting for setting in SETTINGS}
    in_credential = {name for _, _, names in _KINDS for name in names}
    plain = [each for each in SETTINGS if each.name not in in_credential and each.name not in _HIDDEN]
    properties = {each.name: _drawable(each, schemas[each.name]) for each in plain}
    names = list(properties)
    names.insert(names.index("client_id") + 1, CREDENTIAL)
    properties[CREDENTIAL] = _credential(by_name, schemas)
    return {
        "documentationUrl": DOCUMENTATION,
        "connectionSpecification": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Dynamics 365 Finance & Operations",
            "type": "object",
            "required": ["environment_url", "tenant_id", "client_id", CREDENTIAL],
            "groups": [{"id": group.lower().replace(" ", "_"), "title": group} for group in _groups()],
            "properties": {name: {**properties[name], "order": order} for order, name in enumerate(names)},
        },
        "supportsNormalization": False,
        "supportsDBT": False,
        "supported_destination_sync_modes": [],
    }


def _groups() -> list[str]:
    return list(dict.fromkeys(each.group for each in SETTINGS if each.group != "Credential"))


def _drawable(setting: Setting, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a setting as one field: a single type, no null, secrets marked Airbyte's way."""
    kind = schema["type"][0]
    kept = {"title", "description", "default", "minimum", "maximum", "examples", "items"}
    field = {"type": kind, **{name: value for name, value in schema.items() if name in kept}}
    if setting.choices:
        field["enum"] = list(setting.choices)
    if setting.kind == "date-time":
        field["pattern"] = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9:]+)?)?$"
        field["examples"] = ["2024-01-01T00:00:00Z"]
    if setting.kind == "object":
        field["additionalProperties"] = True
    if setting.secret:
        field["airbyte_secret"] = True
    elif setting.name.endswith(("_token", "_file", "_key")):
        field["airbyte_secret"] = False
    if setting.group != "Credential":
        field["group"] = setting.group.lower().replace(" ", "_")
    return field


def _credential(by_name: dict[str, Setting], schemas: dict[str, Any]) -> dict[str, Any]:
    choices = []
    for value, title, names in _KINDS:
        fields = {name: _drawable(by_name[name], schemas[name]) for name in names}
        kind = {"type": "string", "const": value, "default": value, "order": 0}
        choices.append(
            {
                "title": title,
                "type": "object",
                "required": ["kind", names[0]],
                "properties": {"kind": kind, **fields},
            }
        )
    return {
        "title": "Credential",
        "description": "The credential of your app registration.",
        "type": "object",
        "group": "connection",
        "oneOf": choices,
    }


def settings_from(config: dict[str, Any]) -> dict[str, Any]:
    """Return the tap's settings from a filled form; keys that a platform adds (`__...`) are left out.

    A flat configuration, as the tap takes it, is as good.
    """
    kept = {name: value for name, value in config.items() if not name.startswith("__") and name != CREDENTIAL}
    credential = config.get(CREDENTIAL)
    if isinstance(credential, dict):
        kept |= {name: value for name, value in credential.items() if name != "kind"}
    return kept
